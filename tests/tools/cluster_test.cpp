// SPDX-License-Identifier: Apache-2.0
// Commands against a cluster. Its kubectl and helm are scripts here, which say what a real one was seen to say and keep what was asked of
// them; tests/cluster has the real ones.
#include "tools/warren/cluster_check.h"
#include "tools/warren/cluster_status.h"

#include "tests/tools/cli_fixture.h"

#include <algorithm>

using namespace warren::tools;

namespace {

const std::string kStatus = R"({"ready":true,"node":"n1","instance":"i","version":"0.1.0","uptime_seconds":5,"waiting_for":[],
  "mesh":{"source":"xds","from":"x","synced":true,"connected":true},"enrolment":{"enrolled":3,"waiting":0,"failing":0,"refused":0},
  "tunnel":{"connected":[{"pods":3}]},"kernel":{"release":"6.1","hooks":[],"unrepaired":[]},"flows":{"open":7,"closed":1},"pods":[]})";

Json pod(const std::string& app, const std::string& name, const std::string& node, bool ready = true) {
    return {{"metadata", {{"namespace", "warren-system"}, {"name", name}, {"labels", {{"app", app}}}}},
            {"spec", {{"nodeName", node}, {"containers", {{{"name", "first"}}}}}},
            {"status",
             {{"phase", "Running"},
              {"conditions", {{{"type", "Ready"}, {"status", ready ? "True" : "False"}, {"message", ready ? "" : "not yet"}}}}}}};
}

// kubectl and helm in front of PATH while it lives.
class StandIns {
  public:
    explicit StandIns(const Json& pods) {
        folder_.write("pods.json", Json{{"items", pods}}.dump());
        folder_.write("version.json", R"({"major":"1","minor":"31","gitVersion":"v1.31.0"})");
        folder_.write(
            "nodes.json",
            R"({"items":[{"metadata":{"name":"n1"},"status":{"nodeInfo":{"operatingSystem":"linux","kernelVersion":"6.1.0"}}}]})");
        folder_.write("sets.json", R"({"items":[]})");
        folder_.write("apis.json", R"({"groups":[{"name":"gateway.networking.k8s.io"}]})");
        script("kubectl", R"(
case "$*" in
  *"get --raw /version"*) cat "$here/version.json" ;;
  *"get --raw /api/v1/nodes"*) cat "$here/nodes.json" ;;
  *"get --raw /apis/apps/v1/daemonsets"*) cat "$here/sets.json" ;;
  *"get --raw /apis"*) cat "$here/apis.json" ;;
  *"get --raw"*pods*) cat "$here/pods.json" ;;
  *"config current-context"*) [ -f "$here/context" ] && cat "$here/context" || { echo "error: current-context is not set" >&2; exit 1; } ;;
  *port-forward*) [ -f "$here/way" ] || { echo "error: unable to forward port" >&2; exit 1; }
     echo "Forwarding from $(cat "$here/way") -> 1"; exec sleep 600 ;;
  *exec*) cat "$here/exec" ;;
esac)");
        script("helm", "exit 0");
        old_ = std::getenv("PATH");
        ::setenv("PATH", (folder_.path.string() + ":" + old_).c_str(), 1);
    }
    ~StandIns() { ::setenv("PATH", old_.c_str(), 1); }
    void say(const std::string& name, const std::string& text) const { folder_.write(name, text); }
    void leads_to(const std::string& address) const { say("way", address); }
    // Command lines, the program's name first.
    std::vector<std::string> asked() const {
        std::istringstream in(read_all(folder_.path / "asked"));
        std::vector<std::string> out;
        for (std::string line; std::getline(in, line);) out.push_back(line);
        return out;
    }
    bool was_asked(const std::string& line) const {
        const auto all = asked();
        return std::find(all.begin(), all.end(), line) != all.end();
    }
    size_t count(const std::string& part) const {
        const auto all = asked();
        return static_cast<size_t>(
            std::count_if(all.begin(), all.end(), [&](const auto& line) { return line.find(part) != std::string::npos; }));
    }

  private:
    void script(const std::string& name, const std::string& body) {
        const std::string path = folder_.write(
            name, "#!/bin/sh\nhere=" + folder_.path.string() + "\necho \"" + name + " $*\" >>\"$here/asked\"\n" + body + "\n");
        std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    }
    Folder folder_;
    std::string old_;
};

const Json kTwoNodes = {pod("warren-agent", "a1", "n1"), pod("warren-ztunnel", "t1", "n1"),    pod("warren-agent", "a2", "n2"),
                        pod("ztunnel", "t2", "n2"),      pod("warren-controller", "c1", "n2"), pod("istiod", "theirs", "n2")};

}  // namespace

TEST_CASE("cluster: its daemons are known by their labels, the ready one of two first") {
    Json pods = kTwoNodes;
    pods.push_back(pod("warren-ztunnel", "t0", "n1", false));
    Json leaving = pod("warren-agent", "a0", "n1");
    leaving["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z";
    pods.push_back(leaving);
    std::vector<std::string> names;
    for (const MeshPod& p : mesh_pods({{"items", pods}})) names.push_back(p.name);
    CHECK(names == std::vector<std::string>{"a1", "t1", "t0", "a2", "t2", "c1"});
    const auto all = mesh_pods({{"items", pods}});
    CHECK(all[2].why == "not yet");
    CHECK(all[0].container == "first");
}

TEST_CASE("cluster: status is a row a node, from its agent") {
    const StandIns programs(kTwoNodes);
    const FakeDaemon agent({{"/status", kStatus}});
    programs.leads_to(agent.address());
    const CliRun run = cli({"--cluster", "--context", "c", "--kubeconfig", "/k", "status"});
    CHECK(run.err.empty());
    CHECK(run.code == kOk);
    CHECK(run.out.find("n1    ready  ready   3     7     0.1.0") != std::string::npos);
    CHECK(run.out.find("n2    ready  ready   3     7     0.1.0") != std::string::npos);
    CHECK(run.out.find("warren-system/c1  n2    ready") != std::string::npos);
    CHECK(agent.asked().size() == 2);
    CHECK(programs.was_asked("kubectl --kubeconfig /k --context c port-forward --address 127.0.0.1 -n warren-system pod/a2 :15030"));
    const CliRun json = cli({"--cluster", "-o", "json", "status"});
    const Json said = Json::parse(json.out);
    CHECK(said["nodes"].size() == 2);
    CHECK(said["nodes"][1]["inOrder"] == true);
    CHECK(said["controllers"][0]["pod"] == "c1");
}

TEST_CASE("cluster: what is not in order is in the row, and in the exit code") {
    Json pods = {pod("warren-agent", "a1", "n1"), pod("warren-ztunnel", "t1", "n1", false), pod("warren-ztunnel", "t2", "n2")};
    const StandIns programs(pods);
    const FakeDaemon agent({{"/status", kStatus}});
    programs.leads_to(agent.address());
    const CliRun run = cli({"--cluster", "status"});
    CHECK(run.code == kFindings);
    CHECK(run.out.find("not ready  3     7     0.1.0    not yet") != std::string::npos);
    CHECK(run.out.find("no agent runs there") != std::string::npos);
    // Nobody answers.
    const StandIns mute(kTwoNodes);
    const CliRun none = cli({"--cluster", "status"});
    CHECK(none.code == kFindings);
    CHECK(none.out.find("error: unable to forward port") != std::string::npos);
}

TEST_CASE("cluster: a node's questions go to its pods by a way each") {
    const StandIns programs(kTwoNodes);
    const FakeDaemon tunnel({{"/config_dump", R"({"workloads":[],"version":{"version":"1"}})"}, {"/status", kStatus}});
    programs.leads_to(tunnel.address());
    const CliRun run = cli({"--on-node", "n2", "workloads"});
    CHECK(run.code == kOk);
    CHECK(run.err.empty());
    CHECK(programs.count("port-forward") == 1);
    CHECK(programs.count("pod/t2 :15000") == 1);
    const CliRun version = cli({"--cluster", "version"});
    CHECK(version.err == "warren: asking node n1; --on-node names another of n1, n2\n");
    CHECK(programs.count("pod/a1 :15030") == 1);
    CHECK(programs.count("pod/c1 :9876") == 1);
    const CliRun wrong = cli({"--on-node", "n9", "certs"});
    CHECK(wrong.code == kFailed);
    CHECK(wrong.err.find("\"n9\"; they run on n1, n2") != std::string::npos);
}

TEST_CASE("cluster: without an agent here the cluster that kubectl knows is asked, and it is said") {
    const StandIns programs(kTwoNodes);
    const FakeDaemon agent({{"/status", kStatus}, {"/config_dump", R"({"workloads":[]})"}});
    programs.leads_to(agent.address());
    const CliRun local = cli({"--timeout", "1", "workloads"});
    CHECK(local.code == kFailed);
    CHECK(programs.count("port-forward") == 0);
    programs.say("context", "prod\n");
    const CliRun run = cli({"--timeout", "20", "workloads"});
    CHECK(run.code == kOk);
    CHECK(run.err.find("no agent on this machine: asking the cluster of context prod\n") != std::string::npos);
    CHECK(programs.count("port-forward") == 1);
    // Not where a daemon is named.
    CHECK(cli({"--tunnel", agent.address(), "workloads"}).err.empty());
    CHECK(programs.count("port-forward") == 1);
}

TEST_CASE("cluster: the live stream is read where its socket is") {
    const StandIns programs(kTwoNodes);
    const std::string log = read_all(kCliGolden + "flows.log");
    programs.say("exec", log);
    const CliRun run = cli({"--on-node", "n1", "-o", "json", "flows", "--follow", "--limit", "1"});
    CHECK(run.code == kOk);
    CHECK(std::count(run.out.begin(), run.out.end(), '\n') == 1);
    CHECK(programs.was_asked("kubectl exec -n warren-system a1 -c first -- warren flows --follow -o json"));
}

TEST_CASE("cluster: without the mesh, and without kubectl, it says what to do") {
    const StandIns programs(Json::array());
    const CliRun run = cli({"--cluster", "status"});
    CHECK(run.code == kFailed);
    CHECK(run.err.find("no pod of the mesh is in this cluster; `warren install` installs it") != std::string::npos);
    const std::string path = std::getenv("PATH");
    ::setenv("PATH", "/nonexistent", 1);
    const CliRun none = cli({"--cluster", "status"});
    ::setenv("PATH", path.c_str(), 1);
    CHECK(none.code == kFailed);
    CHECK(none.err.find("kubectl is not in PATH") != std::string::npos);
}

TEST_CASE("cluster: findings before an installation") {
    Findings found;
    check_version(Json::parse(R"({"major":"1","minor":"25+","gitVersion":"v1.25.3"})"), found);
    REQUIRE(found.size() == 1);
    CHECK(found[0].severity == Severity::Error);
    CHECK(found[0].what == "Kubernetes v1.25.3 is older than 1.26");
    found.clear();
    check_nodes(Json::parse(R"({"items":[
        {"metadata":{"name":"a"},"status":{"nodeInfo":{"operatingSystem":"linux","kernelVersion":"5.10.0-30-cloud"}}},
        {"metadata":{"name":"b"},"status":{"nodeInfo":{"operatingSystem":"windows","kernelVersion":"10.0.17763"}}},
        {"metadata":{"name":"c"},"status":{"nodeInfo":{"operatingSystem":"linux","kernelVersion":"6.12.1"}}}]})"),
                found);
    REQUIRE(found.size() == 3);
    CHECK(found[0].what == "Linux 5.10.0-30-cloud on a is older than 5.15");
    CHECK(found[1].severity == Severity::Note);
    CHECK(found[2].what == "1 with Linux 5.15 or later");
    found.clear();
    check_others(Json::parse(R"({"items":[
        {"metadata":{"namespace":"istio-system","name":"istio-cni-node","labels":{"k8s-app":"istio-cni-node"}}},
        {"metadata":{"namespace":"istio-system","name":"ztunnel","labels":{"app":"ztunnel"}}},
        {"metadata":{"namespace":"kube-system","name":"cilium","labels":{"k8s-app":"cilium"}}},
        {"metadata":{"namespace":"warren-system","name":"ztunnel","labels":{"app":"ztunnel","app.kubernetes.io/part-of":"warren"}}}]})"),
                 found);
    REQUIRE(found.size() == 3);
    CHECK(found[0].severity == Severity::Error);
    CHECK(found[1].severity == Severity::Error);
    CHECK(found[2].severity == Severity::Warning);
}

TEST_CASE("cluster: check tells of pods that are not ready and agents that do not answer") {
    const StandIns programs(Json{pod("warren-agent", "a1", "n1", false), pod("warren-ztunnel", "t1", "n1")});
    const CliRun run = cli({"--cluster", "check"});
    CHECK(run.code == kFindings);
    CHECK(run.out.find("pod warren-system/a1 on node n1 is not ready: not yet") != std::string::npos);
    CHECK(run.out.find("node n1: no way to warren-system/a1 port 15030") != std::string::npos);
    const FakeDaemon agent({{"/status", kStatus}});
    const StandIns fine(kTwoNodes);
    fine.leads_to(agent.address());
    const CliRun good = cli({"--cluster", "check"});
    CHECK(good.code == kOk);
    CHECK(good.out.find("agents answer on n1, n2") != std::string::npos);
}

TEST_CASE("cluster: install looks first, makes the namespace, and has helm do it") {
    const StandIns programs(Json::array());
    const std::string chart = WARREN_SOURCE_DIR "/charts/warren";
    const CliRun run = cli({"install", "--chart", chart, "--set", "agent.sameNode=encrypted", "-f", "/v.yaml", "--kubeconfig", "/k"});
    CHECK(run.err.empty());
    CHECK(run.code == kOk);
    CHECK(programs.was_asked(
        "kubectl --kubeconfig /k label --overwrite namespace warren-system pod-security.kubernetes.io/enforce=privileged"));
    CHECK(programs.was_asked("helm --kubeconfig /k install warren " + chart +
                             " --namespace warren-system --values /v.yaml --set agent.sameNode=encrypted --wait --timeout 5m"));
    // What speaks against it keeps everything as it was.
    programs.say("sets.json", R"({"items":[{"metadata":{"namespace":"i","name":"z","labels":{"app":"ztunnel"}}}]})");
    const size_t before = programs.asked().size();
    const CliRun refused = cli({"install", "--chart", chart});
    CHECK(refused.code == kFindings);
    CHECK(refused.err.find("DaemonSet i/z is a stock node tunnel") != std::string::npos);
    CHECK(programs.count("helm install") == 0);
    CHECK(programs.count("label") == 1);
    CHECK(programs.asked().size() > before);
    CHECK(cli({"install", "--chart", chart, "--force", "--dry-run"}).code == kOk);
    CHECK(programs.was_asked("helm install warren " + chart + " --namespace warren-system --dry-run=server"));
    CHECK(cli({"upgrade", "--chart", chart, "--mesh-namespace", "istio-system", "--release", "w"}).code == kOk);
    CHECK(programs.was_asked("helm upgrade w " + chart + " --namespace istio-system --reset-then-reuse-values --wait --timeout 5m"));
    CHECK(cli({"uninstall", "--wait", "1m"}).code == kOk);
    CHECK(programs.was_asked("helm uninstall warren --namespace warren-system --wait --timeout 1m"));
    const CliRun no_chart = cli({"install", "--chart", "/nonexistent"});
    CHECK(no_chart.code == kFailed);
    CHECK(no_chart.err.find("--chart: /nonexistent is neither") != std::string::npos);
}
