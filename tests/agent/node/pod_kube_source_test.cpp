// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_kube_source.h"

#include "agent/cni/agent_call.h"
#include "agent/cni/node_state.h"
#include "agent/node/cni_server.h"
#include "agent/node/kube_pod.h"
#include "agent/node/pod_processes.h"
#include "tests/agent/kube/http_server.h"
#include "tests/ztunnel/temp_dir.h"

#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;
using kube::eventually;
using Json = nlohmann::json;
using Verdict = cni::Answer::Verdict;

namespace {

using namespace std::chrono_literals;

// Pods, namespaces and NetworkPolicies as an API server has them: list, watch, get, and the patch of an annotation. One mutex.
class Api {
  public:
    Json pod(const std::string& ns, const std::string& name, const std::string& ip, Json annotations = Json::object()) {
        Json metadata = {{"namespace", ns}, {"name", name}, {"uid", "uid-" + name}, {"annotations", std::move(annotations)}};
        return {{"metadata", std::move(metadata)}, {"spec", {{"nodeName", "n1"}}}, {"status", {{"phase", "Running"}, {"podIP", ip}}}};
    }
    void put(const std::string& kind, Json object, const std::string& type = "ADDED") {
        const std::lock_guard lock(mutex_);
        put_locked(kind, std::move(object), type);
    }
    void put_namespace(const std::string& name, const std::string& mode) {
        Json labels = Json::object();
        if (!mode.empty()) labels["istio.io/dataplane-mode"] = mode;
        put("namespaces", {{"metadata", {{"name", name}, {"uid", "ns-" + name}, {"labels", labels}}}}, "MODIFIED");
    }
    void remove(const std::string& kind, const std::string& ns, const std::string& name) {
        const std::lock_guard lock(mutex_);
        const Json gone = objects_[kind].at(ns + "/" + name);
        put_locked(kind, gone, "DELETED");
    }
    std::string annotation(const std::string& ns, const std::string& name) {
        const std::lock_guard lock(mutex_);
        return objects_["pods"].at(ns + "/" + name)["metadata"]["annotations"].value("ambient.istio.io/redirection", "");
    }
    std::vector<std::string> patches() {
        const std::lock_guard lock(mutex_);
        return patches_;
    }
    // Of NetworkPolicies: what the server says instead of its list; 0: the list.
    void refuse_policies(int status) {
        const std::lock_guard lock(mutex_);
        refuse_policies_ = status;
    }
    bool silent_watch = false;  // set before the source starts

    void answer(const kube::HttpServer::Request& request, kube::HttpServer::Connection& to) {
        const std::string kind = request.target.find("/namespaces?") != std::string::npos        ? "namespaces"
                                 : request.target.find("/networkpolicies?") != std::string::npos ? "networkpolicies"
                                                                                                 : "pods";
        if (request.target.find("watch=") != std::string::npos) return stream(kind, to);
        if (request.method == "PATCH") return patch(request, to);
        const size_t query = request.target.find('?');
        if (query == std::string::npos) return get(request.target, to);
        const std::lock_guard lock(mutex_);
        if (kind == "networkpolicies" && refuse_policies_ != 0) {
            to.answer(refuse_policies_, R"({"kind":"Status","message":"networkpolicies is forbidden"})");
            return;
        }
        Json items = Json::array();
        if (!(silent_watch && kind == "pods"))
            for (const auto& [key, object] : objects_[kind]) items.push_back(object);
        to.answer(200, Json{{"kind", "List"}, {"metadata", {{"resourceVersion", std::to_string(version_)}}}, {"items", items}}.dump());
    }

  private:
    void put_locked(const std::string& kind, Json object, const std::string& type) {
        object["metadata"]["resourceVersion"] = std::to_string(++version_);
        const std::string key = object["metadata"].value("namespace", "") + "/" + object["metadata"]["name"].get<std::string>();
        events_[kind].push_back(Json{{"type", type}, {"object", object}}.dump() + "\n");
        if (type == "DELETED")
            objects_[kind].erase(key);
        else
            objects_[kind][key] = std::move(object);
    }
    void stream(const std::string& kind, kube::HttpServer::Connection& to) {
        to.stream();
        size_t told = 0;
        for (;;) {
            std::string text;
            {
                const std::lock_guard lock(mutex_);
                if (!(silent_watch && kind == "pods"))
                    for (; told < events_[kind].size(); ++told) text += events_[kind][told];
            }
            if (!text.empty() && !to.write(text)) return;
            if (!to.pause()) return;
        }
    }
    void get(const std::string& target, kube::HttpServer::Connection& to) {
        const std::lock_guard lock(mutex_);
        for (const auto& [key, object] : objects_["pods"]) {
            const size_t slash = key.find('/');
            if (target == "/api/v1/namespaces/" + key.substr(0, slash) + "/pods/" + key.substr(slash + 1)) {
                to.answer(200, object.dump());
                return;
            }
        }
        to.answer(404, R"({"kind":"Status","message":"not found"})");
    }
    void patch(const kube::HttpServer::Request& request, kube::HttpServer::Connection& to) {
        const std::lock_guard lock(mutex_);
        const Json body = Json::parse(request.body);
        for (auto [key, object] : objects_["pods"]) {
            const size_t slash = key.find('/');
            if (request.target != "/api/v1/namespaces/" + key.substr(0, slash) + "/pods/" + key.substr(slash + 1) + "/status") continue;
            if (object["metadata"]["uid"] != body["metadata"]["uid"]) break;
            object.merge_patch(body);
            patches_.push_back(key + "=" + object["metadata"]["annotations"].value("ambient.istio.io/redirection", ""));
            put_locked("pods", object, "MODIFIED");
            to.answer(200, object.dump());
            return;
        }
        to.answer(409, R"({"kind":"Status","message":"the uid is another one"})");
    }

    std::mutex mutex_;
    uint64_t version_ = 1;
    int refuse_policies_ = 0;
    std::map<std::string, std::map<std::string, Json>> objects_;
    std::map<std::string, std::vector<std::string>> events_;
    std::vector<std::string> patches_;
};

// Enrolment's part: captures what it is told of, at once or when it is let.
struct Captures final : PodEvents {
    std::mutex mutex;
    std::map<std::string, PodPtr> pods;
    int synced = 0;
    std::shared_ptr<EnrolmentListener> listener;

    void pod_changed(PodPtr pod) override {
        const std::lock_guard lock(mutex);
        pods[pod->uid] = std::move(pod);
    }
    void pod_removed(std::string uid) override {
        const std::lock_guard lock(mutex);
        pods.erase(uid);
    }
    void pods_synced() override {
        const std::lock_guard lock(mutex);
        ++synced;
    }
    PodPtr find(const std::string& uid) {
        const std::lock_guard lock(mutex);
        const auto found = pods.find(uid);
        return found == pods.end() ? nullptr : found->second;
    }
    void capture(const std::string& uid, bool acknowledged = true) {
        const PodPtr pod = find(uid);
        REQUIRE(pod);
        listener->captured(
            {.pod = pod, .id = 1, .netns = 1, .namespace_handle = pod->netns.opened, .addresses = {}, .tunnel_acknowledged = acknowledged});
    }
};

// A network namespace of a thread that has ended: its loopback is down and it has no address.
std::shared_ptr<const base::Netns> fresh_netns() {
    std::shared_ptr<const base::Netns> made;
    std::thread([&made] {
        if (::unshare(CLONE_NEWNET) == 0)
            if (auto netns = base::Netns::current()) made = std::make_shared<const base::Netns>(*std::move(netns));
    }).join();
    REQUIRE(made);
    return made;
}

struct World {
    TempDir dir;
    Api api;
    Captures captures;
    std::unique_ptr<kube::HttpServer> server;
    std::unique_ptr<PodKubeSource> source;
    bool network_policies = true;

    void start() {
        server = std::make_unique<kube::HttpServer>(
            [this](const kube::HttpServer::Request& request, kube::HttpServer::Connection& to) { api.answer(request, to); });
        kube::KubeConfig config;
        config.server = server->url();
        PodKubeOptions options;
        options.node_name = "n1";
        options.node_netns = "/proc/self/ns/net";
        options.state_file = dir.file("state.json");
        options.network_policies = network_policies;
        options.watch.backoff_base = options.watch.missing_confirm = options.watch.missing_poll = 50ms;
        auto made = PodKubeSource::create(*kube::Endpoint::create(config), options);
        REQUIRE(made);
        source = *std::move(made);
        captures.listener = source->listener();
        REQUIRE(source->start(captures));
        REQUIRE(eventually([this] { return source->status().synced; }));
    }
    ~World() {
        source.reset();
        server.reset();
    }
    cni::Answer ask(const std::string& ns, const std::string& pod, std::shared_ptr<const base::Netns> netns,
                    std::chrono::milliseconds patience = 5s) {
        cni::Question q;
        q.ns = ns;
        q.pod = pod;
        q.container = "c-" + pod;
        return source->add(q, std::move(netns), std::chrono::steady_clock::now() + patience);
    }
};

}  // namespace

TEST_CASE("kube source: a new pod of the mesh waits until it is captured, and is announced after that") {
    require_root();
    World w;
    w.api.put_namespace("prod", "ambient");
    w.start();
    w.api.put("pods", w.api.pod("prod", "web", ""));
    const auto netns = fresh_netns();
    cni::Answer answer;
    std::thread plugin([&] { answer = w.ask("prod", "web", netns); });
    REQUIRE(eventually([&] { return w.captures.find("uid-web") != nullptr; }));
    CHECK(*w.captures.find("uid-web")->netns.opened == *netns);
    CHECK(w.api.annotation("prod", "web").empty());
    w.captures.capture("uid-web", false);  // the tunnel does not listen in it yet
    REQUIRE(eventually([&] { return w.api.annotation("prod", "web") == "pending"; }));
    w.captures.capture("uid-web");
    plugin.join();
    CHECK(answer.verdict == Verdict::Captured);
    REQUIRE(eventually([&] { return w.api.annotation("prod", "web") == "enabled"; }));

    SECTION("its own annotation is no reason to tell of it again, and its end is told") {
        const PodPtr before = w.captures.find("uid-web");
        w.api.remove("pods", "prod", "web");
        REQUIRE(eventually([&] { return w.captures.find("uid-web") == nullptr; }));
        CHECK_FALSE(before->annotations.contains(kRedirectionAnnotation));
    }
    SECTION("a namespace that leaves the mesh: first the annotation goes, then the capture") {
        w.api.put_namespace("prod", "");
        REQUIRE(eventually([&] { return w.captures.find("uid-web") == nullptr; }));
        CHECK(w.api.annotation("prod", "web").empty());
    }
    SECTION("a pod that has ended is let go") {
        Json done = w.api.pod("prod", "web", "");
        done["status"]["phase"] = "Succeeded";
        w.api.put("pods", done, "MODIFIED");
        REQUIRE(eventually([&] { return w.captures.find("uid-web") == nullptr; }));
    }
    SECTION("the end of its sandbox lets it go, that of another one does not") {
        cni::Question q{.kind = cni::Question::Kind::Del, .ns = "prod", .pod = "web", .uid = "", .container = "c-old"};
        w.source->del(q);
        CHECK(w.captures.find("uid-web"));
        q.container = "c-web";
        w.source->del(q);
        CHECK_FALSE(w.captures.find("uid-web"));
    }
}

TEST_CASE("kube source: an agent that begins again never takes back what an earlier one announced of a captured pod") {
    require_root();
    World w;
    w.api.put_namespace("prod", "ambient");
    w.api.put("pods", w.api.pod("prod", "web", "", {{kRedirectionAnnotation, "enabled"}}));
    w.api.put("pods", w.api.pod("prod", "half", "", {{kRedirectionAnnotation, "pending"}}));
    w.start();
    // Found again; the tunnel has not said yet that it serves them.
    std::vector<std::thread> asking;
    for (const char* pod : {"web", "half"})
        asking.emplace_back([&w, pod, netns = fresh_netns()] { CHECK(w.ask("prod", pod, netns, 60s).verdict == Verdict::Captured); });
    REQUIRE(eventually([&] { return w.captures.find("uid-web") != nullptr && w.captures.find("uid-half") != nullptr; }));
    CHECK(w.api.patches().empty());
    w.captures.capture("uid-web", false);
    w.captures.capture("uid-half", false);
    // A patch comes after whatever was decided of web.
    w.captures.capture("uid-half");
    REQUIRE(eventually([&] { return w.api.annotation("prod", "half") == "enabled"; }));
    CHECK(w.api.annotation("prod", "web") == "enabled");
    w.captures.capture("uid-web");
    for (std::thread& thread : asking) thread.join();
    CHECK(w.api.patches() == std::vector<std::string>{"prod/half=enabled"});

    // Out of the mesh it is still taken back.
    w.api.put_namespace("prod", "");
    CHECK(eventually([&] { return w.api.annotation("prod", "web").empty() && w.api.annotation("prod", "half").empty(); }));
}

TEST_CASE("kube source: who is asked about but not of the mesh passes at once") {
    require_root();
    World w;
    w.api.put_namespace("prod", "ambient");
    w.api.put_namespace("tools", "");
    w.api.put("pods", w.api.pod("tools", "job", ""));
    Json out = w.api.pod("prod", "out", "");
    out["metadata"]["labels"] = {{"istio.io/dataplane-mode", "none"}};
    w.api.put("pods", out);
    Json injected = w.api.pod("prod", "side", "", {{"sidecar.istio.io/status", "{}"}});
    w.api.put("pods", injected);
    w.start();
    for (const auto& [ns, pod] : {std::pair{"tools", "job"}, {"prod", "out"}, {"prod", "side"}, {"kube-system", "unheard-of"}})
        CHECK(w.ask(ns, pod, nullptr).verdict == Verdict::Pass);
    CHECK(w.captures.pods.empty());
    // The plugin without the agent: the same namespaces.
    const auto state = cni::read_node_state(w.dir.file("state.json"));
    REQUIRE(state);
    CHECK(state->waits("prod"));
    CHECK_FALSE(state->waits("tools"));
}

TEST_CASE("kube source: a pod that is not captured in time does not start, and says why") {
    require_root();
    World w;
    w.api.put_namespace("prod", "ambient");
    w.api.put("pods", w.api.pod("prod", "web", ""));
    w.start();
    CHECK(w.ask("prod", "web", nullptr).verdict == Verdict::Later);
    const auto netns = fresh_netns();
    CHECK(w.ask("prod", "web", netns, 100ms).verdict == Verdict::Later);
    w.captures.capture("uid-web", false);
    const cni::Answer answer = w.ask("prod", "web", netns, 100ms);
    CHECK(answer.verdict == Verdict::Later);
    CHECK(answer.why.find("tunnel") != std::string::npos);
    // Captured in an earlier sandbox's namespace is not captured.
    w.captures.capture("uid-web");
    CHECK(w.ask("prod", "web", fresh_netns(), 100ms).verdict == Verdict::Later);
}

TEST_CASE("kube source: a pod of which the watch has not told is fetched; one that nobody knows is judged by its namespace") {
    require_root();
    World w;
    w.api.silent_watch = true;
    w.api.put_namespace("prod", "ambient");
    w.api.put_namespace("tools", "");
    w.api.put("pods", w.api.pod("prod", "web", ""));
    w.start();
    const auto netns = fresh_netns();
    cni::Answer answer;
    std::thread plugin([&] { answer = w.ask("prod", "web", netns); });
    REQUIRE(eventually([&] { return w.captures.find("uid-web") != nullptr; }));
    w.captures.capture("uid-web");
    plugin.join();
    CHECK(answer.verdict == Verdict::Captured);
    CHECK(w.ask("prod", "nobody", netns).verdict == Verdict::Later);
    CHECK(w.ask("tools", "nobody", netns).verdict == Verdict::Pass);
    CHECK(w.source->status().cni_fallbacks == 2);
}

TEST_CASE("pod processes: the oldest process of a pod counts, and none in the node's own namespace") {
    require_root();
    const TempDir proc;
    const auto sandbox = fresh_netns(), inner = fresh_netns();
    const base::Netns node = *base::Netns::current();
    const std::string uid = "12345678-90ab-cdef-1234-567890abcdef";
    const auto process = [&proc, &uid](const std::string& pid, int start, const base::Netns& netns) {
        std::filesystem::create_directories(proc.file(pid) + "/ns");
        std::ofstream(proc.file(pid) + "/cgroup") << "0::/kubepods/pod" << uid << "/x\n";
        std::ofstream(proc.file(pid) + "/stat") << pid << " (a ) name) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 " << start << " 0 0\n";
        std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(netns.fd()), proc.file(pid) + "/ns/net");
    };
    // Whatever order the folder is read in, there are younger ones before and after.
    for (int pid = 10; pid < 40; ++pid) process(std::to_string(pid), 700 + pid, *inner);
    process("40", 500, *sandbox);
    for (int pid = 41; pid < 60; ++pid) process(std::to_string(pid), 600 + pid, *inner);
    process("60", 1, node);
    const auto found = find_pod_namespaces(proc.path(), node, {uid});
    REQUIRE(found);
    REQUIRE(found->size() == 1);
    CHECK(*found->at(uid) == *sandbox);
    CHECK(find_pod_namespaces(proc.path(), node, {"another"})->empty());
}

TEST_CASE("kube source: an annotation without a pod behind it is removed, another product's is not") {
    require_root();
    World w;
    w.api.put_namespace("tools", "");
    w.api.put("pods", w.api.pod("tools", "stale", "", {{"ambient.istio.io/redirection", "enabled"}}));
    w.api.put("pods", w.api.pod("tools", "other", "", {{"ambient.istio.io/redirection", "disabled"}}));
    w.start();
    REQUIRE(eventually([&] { return w.api.annotation("tools", "stale").empty(); }));
    CHECK(w.api.annotation("tools", "other") == "disabled");
    CHECK(w.api.patches().size() == 1);
}

TEST_CASE("cni server: a question over the socket, those that are none, and the end of the agent") {
    require_root();
    World w;
    w.api.put_namespace("prod", "ambient");
    w.api.put("pods", w.api.pod("prod", "web", ""));
    w.start();
    CniServerOptions options;
    options.path = w.dir.file("cni.sock");
    auto server = CniServer::start(options, *w.source);
    REQUIRE(server);
    const auto netns = fresh_netns();
    cni::Question q;
    q.ns = "prod";
    q.pod = "web";
    q.container = "c";
    q.patience = 10s;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    std::optional<base::Result<cni::Answer>> answer;
    std::thread plugin([&] { answer = cni::ask_agent(options.path, q, netns->fd(), deadline); });
    REQUIRE(eventually([&] { return w.captures.find("uid-web") != nullptr; }));
    SECTION("captured") {
        w.captures.capture("uid-web");
        plugin.join();
        REQUIRE(*answer);
        CHECK((*answer)->verdict == Verdict::Captured);
        CHECK((*server)->stats().captured == 1);
        cni::Question bad = q;
        bad.ns.clear();
        CHECK(cni::ask_agent(options.path, bad, -1, deadline)->verdict == Verdict::Later);
        CHECK((*server)->stats().malformed == 1);
    }
    SECTION("an agent that ends does not keep the plugin waiting") {
        server->reset();
        plugin.join();
        REQUIRE(*answer);
        CHECK((*answer)->verdict == Verdict::Later);
        CHECK(cni::ask_agent(options.path, q, -1, deadline).error().code == base::Errc::Unavailable);
    }
}

namespace {

Json network_policy(const std::string& name, const char* spec) {
    return {{"metadata", {{"namespace", "prod"}, {"name", name}}}, {"spec", Json::parse(spec)}};
}

// The TCP ports that are left open from one told pod to another; "?": told without.
std::string open(World& w, const std::string& from, const std::string& to) {
    const PodPtr a = w.captures.find("uid-" + from), b = w.captures.find("uid-" + to);
    if (!a || !b || !a->network.pod || !b->network.pod) return "?";
    const Ports ports = open_ports(*a->network.pod, *b->network.pod).ports;
    return all_ports(ports) ? "all" : ports.empty() ? "none" : std::to_string(ports.front().first);
}

// Two pods of the mesh, found.
void begin_with_two(World& w, std::vector<std::thread>& asking) {
    w.api.put_namespace("prod", "ambient");
    Json web = w.api.pod("prod", "web", "");
    web["metadata"]["labels"] = {{"app", "web"}};
    web["spec"]["containers"] = Json::parse(R"([{"ports":[{"name":"http","containerPort":8080}]}])");
    w.api.put("pods", web);
    w.api.put("pods", w.api.pod("prod", "cart", ""));
    w.start();
    for (const char* pod : {"web", "cart"})
        asking.emplace_back([&w, pod, netns = fresh_netns()] { CHECK(w.ask("prod", pod, netns, 60s).verdict == Verdict::Captured); });
    REQUIRE(eventually([&] { return w.captures.find("uid-web") && w.captures.find("uid-cart"); }));
    for (const char* pod : {"uid-web", "uid-cart"}) w.captures.capture(pod);
    for (std::thread& thread : asking) thread.join();
}

}  // namespace

TEST_CASE("kube source: pods are told with the network policies before them, and again when one changes or goes") {
    require_root();
    World w;
    std::vector<std::thread> asking;
    w.api.put("networkpolicies", network_policy("p", R"({"podSelector":{"matchLabels":{"app":"web"}}})"));
    begin_with_two(w, asking);
    CHECK(open(w, "cart", "web") == "none");  // known before anybody is told that all pods are
    CHECK(open(w, "web", "cart") == "all");
    const PodPtr before = w.captures.find("uid-web");

    // By the name of a container's port, and from pods with a label that cart has not yet.
    const char* spec =
        R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchLabels":{"role":"x"}}}],"ports":[{"port":"http"}]}]})";
    w.api.put("networkpolicies", network_policy("p", spec), "MODIFIED");
    REQUIRE(eventually([&] { return w.captures.find("uid-web") != before && open(w, "web", "cart") == "none"; }));
    CHECK(open(w, "cart", "web") == "none");
    Json cart = w.api.pod("prod", "cart", "");
    cart["metadata"]["labels"] = {{"role", "x"}};
    w.api.put("pods", cart, "MODIFIED");
    REQUIRE(eventually([&] { return open(w, "cart", "web") == "8080"; }));
    CHECK(w.source->status().network_policies.known);
    CHECK(w.source->status().network_policies.policies == 1);

    SECTION("one that does not read shuts its namespace and is reported") {
        w.api.put("networkpolicies", network_policy("q", R"({"podSelector":"all"})"));
        REQUIRE(eventually([&] { return w.source->status().network_policies.unread == 1; }));
        REQUIRE(eventually([&] { return open(w, "cart", "web") == "none"; }));  // cart may not send
        CHECK(w.source->status().network_policies.error.find("prod/q") != std::string::npos);
    }
    SECTION("without any, nobody is looked at") {
        w.api.remove("networkpolicies", "prod", "p");
        REQUIRE(eventually([&] { return open(w, "cart", "web") == "?" && open(w, "web", "cart") == "?"; }));
        CHECK(w.source->status().network_policies.policies == 0);
    }
}

TEST_CASE("kube source: network policies that may not be read hold nothing up, are reported, and count once they may") {
    require_root();
    World w;
    std::vector<std::thread> asking;
    w.api.put("networkpolicies", network_policy("p", R"({"podSelector":{}})"));
    w.api.refuse_policies(403);
    begin_with_two(w, asking);
    NetworkPolicyStatus status = w.source->status().network_policies;
    CHECK(status.watched);
    CHECK_FALSE(status.known);
    CHECK(status.error.find("forbidden") != std::string::npos);
    CHECK(w.source->status().error.empty());  // of pods nothing is wrong
    CHECK(open(w, "cart", "web") == "?");
    w.api.refuse_policies(0);
    REQUIRE(eventually([&] { return open(w, "cart", "web") == "none"; }));
    status = w.source->status().network_policies;
    CHECK(status.known);
    CHECK(status.error.empty());
}

TEST_CASE("kube source: an API server without network policies, and an agent that is not to look at them") {
    require_root();
    World w;
    std::vector<std::thread> asking;
    w.network_policies = GENERATE(true, false);
    w.api.put("networkpolicies", network_policy("p", R"({"podSelector":{}})"));
    w.api.refuse_policies(404);
    begin_with_two(w, asking);
    const NetworkPolicyStatus status = w.source->status().network_policies;
    CHECK(status.watched == w.network_policies);
    CHECK(status.missing == w.network_policies);
    CHECK(status.error.empty());
    CHECK(open(w, "cart", "web") == "?");
}
