// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/conversion.h"
#include "agent/cluster/convert_authorization.h"
#include "agent/cluster/kube_source.h"
#include "agent/cluster/object_store.h"
#include "agent/cluster/policy_conditions.h"
#include "tests/catch.h"

using namespace warren::cluster;
namespace kube = warren::kube;

namespace {

kube::Object policy(const std::string& spec, const std::string& kind = "AuthorizationPolicy") {
    return {"a", "p", "u", "1",
            R"({"apiVersion":"security.istio.io/v1","kind":")" + kind +
                R"(","metadata":{"namespace":"a","name":"p","generation":6},"spec":)" + spec + "}"};
}

constexpr auto kAuthorization = ObjectKind::AuthorizationPolicy;
constexpr auto kPeer = ObjectKind::PeerAuthentication;

AuthorizationPolicy strictest(const std::string& spec) {
    const auto read = strictest_reading(kAuthorization, policy(spec));
    REQUIRE(read.fragment.authorization_policies.size() == 1);
    return read.fragment.authorization_policies.front();
}

Objects pod(const std::string& name, const std::string& node) {
    Objects out;
    out.pods.emplace_back();
    out.pods[0].meta.ns = "n";
    out.pods[0].meta.name = name;
    out.pods[0].node = node;
    return out;
}

}  // namespace

TEST_CASE("kube_object: a policy that cannot be read lets nothing through") {
    CHECK(read_kube_object(kAuthorization, policy(R"({"rules":7})")).errors ==
          std::vector<std::string>{"AuthorizationPolicy a/p: spec.rules: is a text; give a list, [] for an empty one"});
    SECTION("an ALLOW allows nothing, to what it selects") {
        const auto p = strictest(R"({"selector":{"matchLabels":{"app":"web"}},"rules":7})");
        CHECK(p.action == AuthorizationAction::Allow);
        CHECK(p.rules.empty());
        CHECK(p.selector == LabelMap{{"app", "web"}});
    }
    SECTION("a DENY denies everything") {
        const auto p = strictest(R"({"action":"DENY","rules":7})");
        CHECK(p.action == AuthorizationAction::Deny);
        CHECK(p.rules.size() == 1);
        CHECK(p.rules[0].from.empty());
    }
    SECTION("an action that nobody knows counts as DENY") { CHECK(strictest(R"({"action":"BLOCK"})").action == AuthorizationAction::Deny); }
    SECTION("a selector that cannot be read selects all") { CHECK(!strictest(R"({"selector":7})").selector); }
    SECTION("one for a waypoint stays there") {
        CHECK(strictest(R"({"targetRefs":[{"kind":"Gateway","name":"w"}],"rules":7})").has_target);
    }
    SECTION("no spec at all") { CHECK(strictest("7").rules.empty()); }
    SECTION("a PeerAuthentication is strict") {
        const auto read = strictest_reading(kPeer, policy(R"({"mtls":{"mode":"LOOSE"}})", "PeerAuthentication"));
        REQUIRE(read.fragment.peer_authentications.size() == 1);
        CHECK(read.fragment.peer_authentications[0].mode == MtlsMode::Strict);
    }
    SECTION("other kinds have no such reading") { CHECK(strictest_reading(ObjectKind::Pod, policy("{}")).fragment.pods.empty()); }
}

TEST_CASE("policy conditions: one that cannot be read is told so") {
    const auto told = [](const std::string& spec) {
        struct Nobody final : OutputSink {
            void begin_whole() override {}
            void end_whole() override {}
            void set_workload(const std::string&, Workload&) override {}
            void set_service(const std::string&, istio::workload::Service&) override {}
            void set_authorization(const std::string&, const istio::security::Authorization&) override {}
            void remove_workload(const std::string&) override {}
            void remove_service(const std::string&) override {}
            void remove_authorization(const std::string&) override {}
        } nobody;
        Objects objects;
        objects.authorization_policies.push_back(strictest(spec));
        Conversion conversion{Settings()};
        conversion.update(objects, {}, nobody);
        auto changes = conversion.take_status_changes();
        REQUIRE(changes.size() == 1);
        CHECK(changes[0].uid == "u");
        CHECK(changes[0].generation == 6);
        REQUIRE(changes[0].told.size() == 1);
        const Told& one = changes[0].told[0];
        return std::string(to_string(one.type)) + (one.status ? " True " : " False ") + one.reason;
    };
    CHECK(told(R"({"rules":7})") == "ZtunnelAccepted False UnsupportedValue");
    CHECK(told(R"({"action":"DENY","rules":7})") == "ZtunnelAccepted False UnsupportedValue");
    CHECK(told(R"({"targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"w"}],"rules":7})") ==
          "WaypointAccepted False Invalid");
}

TEST_CASE("kube_object: an unreadable policy of another revision, or one that is only tried, is not enforced for it") {
    const auto with = [](const std::string& metadata) {
        kube::Object out = policy("7");
        out.json = R"({"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":)" + metadata + R"(,"spec":7})";
        const auto read = strictest_reading(kAuthorization, out);
        REQUIRE(read.fragment.authorization_policies.size() == 1);
        return read.fragment.authorization_policies.front().meta;
    };
    const ObjectMeta meta = with(R"({"labels":{"istio.io/rev":"canary","x":7},"annotations":{"istio.io/dry-run":"true","y":[]}})");
    CHECK(meta.labels == LabelMap{{"istio.io/rev", "canary"}});
    CHECK(meta.annotations == LabelMap{{"istio.io/dry-run", "true"}});
    for (const char* odd : {"7", "{}", R"({"labels":7,"annotations":[]})", R"({"labels":{"istio.io/rev":7}})"}) {
        INFO(odd);
        CHECK(with(odd).labels.empty());
        CHECK(with(odd).annotations.empty());
    }
}

TEST_CASE("kube_object: annotations that nobody reads are not kept") {
    const auto read = read_kube_object(ObjectKind::Pod, {"n", "a", "u", "1",
                                                         R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"n","name":"a",
                              "annotations":{"ambient.istio.io/redirection":"enabled","other/large":"x"}}})"});
    REQUIRE(read.fragment.pods.size() == 1);
    CHECK(read.fragment.pods[0].meta.annotations == LabelMap{{"ambient.istio.io/redirection", "enabled"}});
}

TEST_CASE("object_store: objects come, change and go") {
    ObjectStore store;
    for (const char* name : {"a", "b", "c"}) {
        Objects one = pod(name, "n1");
        CHECK(store.upsert(ObjectKind::Pod, one));
    }
    Objects changed = pod("c", "n2"), none;
    CHECK(store.upsert(ObjectKind::Pod, changed));
    CHECK(!store.upsert(ObjectKind::Pod, none));
    CHECK(store.count(ObjectKind::Pod) == 3);
    CHECK(store.remove(ObjectKind::Pod, "n/a"));
    CHECK(!store.remove(ObjectKind::Pod, "n/a"));
    CHECK(!store.remove(ObjectKind::Node, "n/b"));
    REQUIRE(store.objects().pods.size() == 2);
    CHECK(store.contains(ObjectKind::Pod, "n/c"));
    for (const Pod& p : store.objects().pods) CHECK(p.node == (p.meta.name == "c" ? "n2" : "n1"));
    CHECK(store.remove(ObjectKind::Pod, "n/c"));
    CHECK(store.remove(ObjectKind::Pod, "n/b"));
    CHECK(store.objects().pods.empty());
}

TEST_CASE("object_store: what is not read of an object does not change it") {
    const auto read = [](ObjectKind kind, const std::string& metadata, const std::string& rest) {
        const std::string text = R"({"apiVersion":"v1","kind":")" + std::string(to_string(kind)) +
                                 R"(","metadata":{"name":"a","uid":"u",)" + metadata + "}," + rest + "}";
        auto out = read_kube_object(kind, {kind == ObjectKind::Pod ? "n" : "", "a", "u", "1", text});
        REQUIRE(out.errors.empty());
        return std::move(out.fragment);
    };
    ObjectStore store;
    const auto pod_of = [&](const std::string& version, const std::string& seen, const std::string& ready) {
        return read(ObjectKind::Pod,
                    R"("namespace":"n","resourceVersion":")" + version + R"(","annotations":{"other/seen":")" + seen + "\"}",
                    R"("spec":{"nodeName":"n1"},"status":{"podIP":"10.0.0.1","conditions":[{"type":"Ready","status":")" + ready +
                        R"(","lastProbeTime":")" + seen + "\"}]}");
    };
    Objects first = pod_of("1", "12:00", "True");
    CHECK(!store.holds(ObjectKind::Pod, first));
    CHECK(store.upsert(ObjectKind::Pod, first));
    CHECK(store.holds(ObjectKind::Pod, pod_of("2", "12:01", "True")));
    CHECK(!store.holds(ObjectKind::Pod, pod_of("3", "12:01", "False")));
    CHECK(!store.holds(ObjectKind::Pod, {}));  // gone
    // A node's heartbeat.
    const auto node_of = [&](const std::string& labels) {
        return read(ObjectKind::Node, R"("resourceVersion":"7","labels":)" + labels, R"("spec":{})");
    };
    Objects node = node_of(R"({"topology.kubernetes.io/zone":"z"})");
    CHECK(store.upsert(ObjectKind::Node, node));
    CHECK(store.holds(ObjectKind::Node, node_of(R"({"topology.kubernetes.io/zone":"z"})")));
    CHECK(!store.holds(ObjectKind::Node, node_of(R"({"topology.kubernetes.io/zone":"y"})")));
}

TEST_CASE("policy conditions: what is enforced says so, what is not says why") {
    const auto condition = [](const std::string& spec) {
        auto read = read_kube_object(kAuthorization, policy(spec));
        REQUIRE(read.errors.empty());
        const AuthorizationPolicy& one = read.fragment.authorization_policies[0];
        Diagnostics problems;
        const bool enforced = convert_authorization(one, {}, problems).has_value();
        return ztunnel_accepted(one, enforced, problems);
    };
    CHECK(condition("{}") == Told{ConditionType::ZtunnelAccepted, true, "Accepted", "enforced by node proxies"});
    CHECK(condition(R"({"action":"AUDIT"})").status == false);
    CHECK(condition(R"({"action":"AUDIT"})").message.starts_with("actions AUDIT and CUSTOM"));
    const auto http = condition(R"({"rules":[{"to":[{"operation":{"paths":["/a"]}}]}]})");
    CHECK(http.status);
    CHECK(http.reason == "UnsupportedValue");
    CHECK(http.message.starts_with("1 rule(s) that allow by HTTP are left out"));
    const auto doubt = condition(R"({"action":"DENY","rules":[{"from":[{"source":{"notIpBlocks":["x"]}}]}]})");
    CHECK(doubt.reason == "UnsupportedValue");
}

TEST_CASE("policy conditions: what an object says of itself is read, and is no reason to refuse or to deliver it again") {
    const auto read = [](const std::string& version, const std::string& status) {
        return read_kube_object(kAuthorization,
                                {"a", "p", "u", version,
                                 R"({"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"namespace":"a",)"
                                 R"("name":"p","generation":)" +
                                     version + R"(},"spec":{},"status":)" + status + "}"});
    };
    const auto held = [&](const std::string& status) {
        const auto got = read("4", status);
        REQUIRE(got.errors.empty());
        CHECK(got.fragment.authorization_policies[0].meta.generation == 4);
        return got.fragment.authorization_policies[0].meta.held.types;
    };
    CHECK(held(R"({"conditions":[{"type":"Other"},{"type":"ZtunnelAccepted"},{"type":"istio.io/WaypointBound"}]})") ==
          set_of(ConditionType::ZtunnelAccepted));
    for (const char* odd : {"null", "7", "[]", R"({"conditions":7})", R"({"conditions":[7,null,[],{},{"type":[]},{"type":null}]})"})
        CHECK(held(odd) == 0);
    ObjectStore store;
    Objects first = read("4", "{}").fragment;
    REQUIRE(store.upsert(kAuthorization, first));
    CHECK(store.holds(kAuthorization, read("4", R"({"conditions":[{"type":"ZtunnelAccepted"}]})").fragment));
    CHECK(!store.holds(kAuthorization, read("5", "{}").fragment));
}
