// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/cli_fixture.h"
#include "tools/warren/check_cluster.h"
#include "tools/warren/check_daemons.h"
#include "tools/warren/check_host.h"
#include "tools/warren/run_program.h"

using namespace warren::tools;
using namespace std::chrono_literals;

namespace {

Severity worst(const Findings& findings) {
    Severity out = Severity::Ok;
    for (const Finding& f : findings) out = std::max(out, f.severity);
    return out;
}

template <class... Arguments>
Findings of(void (*check)(Arguments...), auto&&... arguments) {
    Findings out;
    check(arguments..., out);
    return out;
}

}  // namespace

TEST_CASE("check: kernels from 5.15 on") {
    for (const char* good : {"5.15.0-91-generic", "6.1.0", "6.18.44"})
        CHECK(worst(of(check_kernel_release, std::string(good))) == Severity::Ok);
    for (const char* bad : {"5.14.21", "4.19.0", "", "x"}) CHECK(worst(of(check_kernel_release, std::string(bad))) == Severity::Error);
}

TEST_CASE("check: mounts that are missing come with the command that mounts them") {
    const std::string both = "36 25 0:31 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n37 25 0:32 / /sys/fs/bpf rw - bpf bpf rw\n";
    CHECK(worst(of(check_mounts, both)) == Severity::Ok);
    const Findings none = of(check_mounts, std::string("36 25 0:31 / /a rw - ext4 cgroup2 rw\n"));
    REQUIRE(none.size() == 2);
    CHECK(none[0].severity == Severity::Error);
    CHECK(none[1].fix == "mount -t bpf bpf /sys/fs/bpf");
}

TEST_CASE("check: ports are ours, free, or somebody's") {
    const std::string text =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:3A98 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n"
        "   1: 0100007F:3AB6 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100 0 0 10 0\n";
    CHECK(listeners(text) == std::map<uint16_t, uint64_t>{{15000, 4242}});
    Findings out;
    check_ports({{15000, "warren-ztunnel"}, {15020, "envoy"}, {15030, ""}}, out);
    REQUIRE(out.size() == 6);
    CHECK(out[0].severity == Severity::Ok);
    CHECK(out[1].what == "port 15020 (the tunnel's metrics) is taken by envoy");
    CHECK(out[1].fix == "end it, or give warren-ztunnel another port: STATS_PORT");
    CHECK(out[3].severity == Severity::Note);
}

TEST_CASE("check: rules of a stock agent and Cilium's socket balancer are conflicts") {
    CHECK(worst(of(check_packet_rules, std::string("*nat\n:PREROUTING ACCEPT [0:0]\n"))) == Severity::Ok);
    const Findings rules = of(check_packet_rules, std::string("*nat\n:ISTIO_POSTRT - [0:0]\n-A POSTROUTING -j ISTIO_POSTRT\n"));
    CHECK(rules[0].what == "packet rules of istio-cni are here: ISTIO_POSTRT");
    CHECK(worst(of(check_foreign_programs, std::set<std::string>{"wr_connect4"})) == Severity::Ok);
    CHECK(of(check_foreign_programs, std::set<std::string>{"cil_sock4_conne"})[0].fix.find("socketLB.hostNamespaceOnly=true") !=
          std::string::npos);
}

TEST_CASE("check: what a running agent knows becomes findings") {
    const Json status = Json::parse(R"({"ready": false, "waiting_for": ["mesh"], "mesh": {"from": "m.yaml", "error": "m.yaml:3: bad"},
      "pods": [{"namespace": "a", "name": "p", "state": "failing", "why": "no namespace"}, {"namespace": "a", "name": "q", "state": "enrolled"}],
      "kernel": {"features": [{"name": "bind4", "available": false, "required": true, "why_not": "refused"}, {"name": "iter", "available": false}],
        "hooks": [{"hook": "connect4", "program": "wr_connect4", "attached": false, "order": []},
                  {"hook": "connect6", "program": "wr_connect6", "attached": true, "order": [{"name": "other", "ours": false},
                   {"name": "wr_connect6", "ours": false}, {"name": "wr_connect6", "ours": false}, {"name": "wr_connect6", "ours": true}]}],
        "handover": {"used": 9, "capacity": 10, "alarm": true}}})");
    const Findings out = of(check_agent_status, status);
    const auto has = [&](Severity severity, const std::string& what) {
        return std::any_of(out.begin(), out.end(),
                           [&](const Finding& f) { return f.severity == severity && f.what.find(what) != std::string::npos; });
    };
    CHECK(has(Severity::Error, "not ready, waits for mesh"));
    CHECK(has(Severity::Error, "m.yaml:3: bad"));
    CHECK(has(Severity::Warning, "a/p is failing: no namespace"));
    CHECK_FALSE(has(Severity::Warning, "a/q"));
    CHECK(has(Severity::Error, "bind4 is missing: refused"));
    CHECK(has(Severity::Note, "iter is missing"));
    CHECK(has(Severity::Error, "connect4: wr_connect4 is not attached"));
    CHECK(has(Severity::Note, "other programs on connect6: other"));
    CHECK(has(Severity::Note, "programs of other Warren agents on this machine's hooks, 2 on one"));
    CHECK(has(Severity::Warning, "handover table holds 9 of 10"));
    CHECK(worst(of(check_agent_status, Json(5))) == Severity::Error);
}

TEST_CASE("check: a controller's errors and refused updates are findings") {
    const Json status = Json::parse(R"({"ready": true, "version": "1", "source": {"errors": ["a.yaml:3: bad"]}, "mesh": {"errors": []},
      "clients": [{"node": "n1", "types": [{"lastNack": "no such field"}, {"lastNack": ""}]}], "authority": {"error": "disk full"}})");
    const Findings out = of(check_controller_status, status);
    REQUIRE(out.size() == 4);
    CHECK(out[1].what == "a.yaml:3: bad");
    CHECK(out[2].what == "n1 refused an update: no such field");
    CHECK(out[3].severity == Severity::Error);
    CHECK(of(check_controller_status, Json::parse(R"({"ready": false, "waitingFor": ["source"]})"))[0].what ==
          "not ready, waits for source");
}

TEST_CASE("check: clocks are compared with certificates and with the controller") {
    const Json dump = Json::parse(read_all(kCliGolden + "config_dump.json"));
    const auto in_time = *warren::base::parse_rfc3339("2026-11-22T15:00:00Z");
    CHECK(worst(of(check_certificates, dump, in_time)) == Severity::Ok);
    CHECK(of(check_certificates, dump, in_time - 24h)[0].what.find("clock is behind") != std::string::npos);
    CHECK(of(check_certificates, dump, in_time + 48h)[0].what.find("ended at 2026-11-23T14:09:47Z") != std::string::npos);
    const std::string date = "Sun, 22 Nov 2026 15:00:00 GMT";
    CHECK(worst(of(check_skew, date, in_time + 5s)) == Severity::Ok);
    CHECK(worst(of(check_skew, date, in_time - 40s)) == Severity::Warning);
    CHECK(of(check_skew, date, in_time + 1h)[0].what == "this node's clock is 3600 s ahead of the controller's");
    CHECK(of(check_skew, std::string("gibberish"), in_time).empty());
}

TEST_CASE("check: runs without any daemon, and its exit code speaks of errors alone") {
    const CliRun run = cli({"check", "-o", "json", "--agent", "127.0.0.1:1", "--tunnel", "127.0.0.1:1"});
    const Json j = Json::parse(run.out);
    CHECK(run.code == (number_at(j, "errors") == 0 ? 0 : 3));
    CHECK(j["findings"].size() > 8);
}

TEST_CASE("programs: their output is bounded in time and size") {
    CHECK(*run_program({"sh", "-c", "echo hello"}, 5s, 3) == "hel");
    CHECK(run_program({"warren-no-such-program"}, 5s, 3).error().os == ENOENT);
    CHECK(run_program({"sh", "-c", "exec sleep 60"}, 50ms, 3).error().code == warren::base::Errc::Timeout);
    CHECK(run_program({"false"}, 5s, 3).error().code == warren::base::Errc::Unavailable);
}

TEST_CASE("check: a network policy in the way of the same-node path is a finding, unless its pods take the tunnel") {
    const auto json = [](const char* text) { return parse_json(text, "test").value(); };
    Json status = json(R"({"same_node":"direct","pods":[{"namespace":"shop","name":"web","state":"captured"},
        {"namespace":"shop","name":"cart","state":"captured"},{"namespace":"shop","name":"job","state":"waiting"}]})");
    const Json pods = json(R"({"items":[{"metadata":{"namespace":"shop","name":"web","labels":{"app":"web"}}},
        {"metadata":{"namespace":"shop","name":"cart","labels":{"app":"cart"},"annotations":{"warren.dev/same-node":"encrypted"}}},
        {"metadata":{"namespace":"shop","name":"job","labels":{"app":"job"}}},
        {"metadata":{"namespace":"other","name":"plain","labels":{}}}]})");
    const auto found = [&](const char* spec) {
        const Json policies =
            json((R"({"items":[{"metadata":{"namespace":"shop","name":"only"},"spec":)" + std::string(spec) + "}]}").c_str());
        return of(check_network_policies, policies, pods, status);
    };
    const Findings one = found(R"({"podSelector":{},"ingress":[{"ports":[{"port":15008}]}]})");
    REQUIRE(one.size() == 1);
    CHECK(one[0].severity == Severity::Warning);
    CHECK(one[0].what.starts_with("shop/only restricts what reaches shop/web:"));
    CHECK(one[0].fix.find("warren.dev/same-node: encrypted") != std::string::npos);
    CHECK(found(R"({"podSelector":{},"policyTypes":["Ingress","Egress"]})").size() == 2);

    // An agent that knows them leads around by itself, if the tunnel gets through.
    const Json before = status;
    status["kubernetes"] = json(R"({"network_policies":{"watched":true,"known":true}})");
    for (const char* open :
         {R"({"podSelector":{},"ingress":[{"ports":[{"port":15008}]}]})", R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{}}]}]})",
          R"({"podSelector":{},"ingress":[{"ports":[{"port":80},{"port":15000,"endPort":15010}]}]})",
          R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{}}],"ports":[{"protocol":"TCP"}]}]})"}) {
        const Findings led = found(open);
        INFO(open);
        REQUIRE(led.size() == 1);
        CHECK(led[0].severity == Severity::Note);
        CHECK(led[0].what.find("take the tunnel by themselves") != std::string::npos);
    }
    for (const char* shut : {R"({"podSelector":{},"ingress":[{"ports":[{"port":8080}]}]})", R"({"podSelector":{}})",
                             R"({"podSelector":{},"ingress":[{"ports":[{"protocol":"UDP","port":15008},{"port":"hbone"}]}]})"}) {
        const Findings led = found(shut);
        INFO(shut);
        REQUIRE(led.size() == 1);
        CHECK(led[0].severity == Severity::Warning);
        CHECK(led[0].fix.find("15008") != std::string::npos);
    }
    status = before;
    for (const char* harmless : {R"({"podSelector":{"matchLabels":{"app":"cart"}}})", R"({"podSelector":{},"ingress":[{}]})",
                                 R"({"podSelector":{"matchExpressions":[{"key":"app","operator":"NotIn","values":["web"]}]}})",
                                 R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{}]})"})
        CHECK(worst(found(harmless)) == Severity::Ok);
    const Json off = json(R"({"same_node":"encrypted","pods":[]})");
    CHECK(of(check_network_policies, json(R"({"items":[]})"), pods, off).empty());
}

TEST_CASE("check: an agent that may not see network policies is a finding, as are those that it could not look at") {
    const auto of_agent = [](const char* text) {
        Findings out;
        check_agent_status(parse_json(text, "test").value(), out);
        std::erase_if(out, [](const Finding& f) { return f.area != "network policies"; });
        return out;
    };
    CHECK(of_agent(R"({"ready":true})").empty());
    CHECK(of_agent(R"({"ready":true,"kubernetes":{"network_policies":{"watched":true,"known":true,"unread":0,"error":"late"}}})").empty());
    CHECK(of_agent(R"({"ready":true,"kubernetes":{"network_policies":{"watched":false,"error":""}}})").empty());
    const Findings blind =
        of_agent(R"({"ready":true,"kubernetes":{"network_policies":{"watched":true,"known":false,"error":"forbidden"}}})");
    REQUIRE(blind.size() == 1);
    CHECK(blind[0].severity == Severity::Warning);
    CHECK(blind[0].what.find("forbidden") != std::string::npos);
    const Findings unread = of_agent(
        R"({"ready":true,"kubernetes":{"network_policies":{"watched":true,"known":true,"unread":2,"error":"NetworkPolicy a/b: x"}}})");
    REQUIRE(unread.size() == 1);
    CHECK(unread[0].what.find("a/b") != std::string::npos);
}

TEST_CASE("check: connection tracking that the agent cannot ask is a note with what it means") {
    const auto of_agent = [](const char* text) {
        Findings out;
        check_agent_status(parse_json(text, "test").value(), out);
        std::erase_if(out, [](const Finding& f) { return f.area != "connection tracking"; });
        return out;
    };
    CHECK(of_agent(R"({"ready":true,"conntrack":{"looks":3,"cut":0,"unavailable":false,"error":"recv: busy"}})").empty());
    const Findings found = of_agent(R"({"ready":true,"conntrack":{"cut":2,"unavailable":true,"error":"dump: Invalid argument"}})");
    REQUIRE(found.size() == 2);
    CHECK(found[0].severity == Severity::Note);
    CHECK(found[0].what.find("Invalid argument") != std::string::npos);
    CHECK(found[0].fix.find("nf_conntrack_netlink") != std::string::npos);
    CHECK(found[1].what.starts_with("2 looks"));
}
