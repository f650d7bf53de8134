// SPDX-License-Identifier: Apache-2.0
// What a controller writes, and whom it asks about tokens, against a real API server.
#include "agent/cluster/address_writer.h"
#include "agent/cluster/root_publisher.h"
#include "agent/cluster/status_writer.h"
#include "agent/kube/leader.h"
#include "agent/kube/token_review.h"
#include "tests/catch.h"
#include "tests/kube/mesh_at.h"

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

json get(ApiServer& server, const std::string& path) {
    const auto body = server.admin().get(path);
    return body ? json::parse(*body) : json();
}

kube::LeaderOptions lease(const std::string& identity) {
    return {.ns = "default", .name = "test", .identity = identity, .lease = 3s, .renew_deadline = 2s, .retry = 500ms};
}

// What a controller does with its source's objects for their status alone.
struct Teller : cluster::SourceHandler, cluster::OutputSink {
    void changed(const cluster::Objects& objects, const std::vector<cluster::Change>& changes) override {
        conversion.update(objects, changes, *this);
        writer->update(conversion.take_status_changes());
    }
    void begin_whole() override {}
    void end_whole() override {}
    void set_workload(const std::string&, cluster::Workload&) override {}
    void set_service(const std::string&, istio::workload::Service&) override {}
    void set_authorization(const std::string&, const istio::security::Authorization&) override {}
    void remove_workload(const std::string&) override {}
    void remove_service(const std::string&) override {}
    void remove_authorization(const std::string&) override {}
    cluster::Conversion conversion{cluster::Settings()};
    cluster::StatusWriter* writer = nullptr;
};

// Of one type, "STATUS REASON", or nothing.
std::string told(const json& object, const std::string& type) {
    for (const json& one : object.value("status", json::object()).value("conditions", json::array()))
        if (one["type"] == type) return one["status"].get<std::string>() + ' ' + one.value("reason", "");
    return "";
}

}  // namespace

TEST_CASE("kube: one of two leads, and the other takes over") {
    ApiServer server;
    TcpProxy proxy(server.port());
    kube::Client cut(server.endpoint(proxy.port()), {.total = 1s});
    std::atomic<int> changes = 0;
    kube::LeaderElection first(cut, lease("first"), [&](bool) { ++changes; });
    first.start();
    REQUIRE(eventually([&] { return first.leading(); }));
    kube::LeaderElection second(server.admin(), lease("second"), {});
    second.start();
    REQUIRE(eventually([&] { return second.stats().holder == "first"; }));
    CHECK(!second.leading());
    // Cut off, it stops by itself before the other may begin.
    proxy.refuse(true);
    proxy.cut();
    bool both = false;
    REQUIRE(eventually([&] {
        both = both || (first.leading() && second.leading());
        return second.leading();
    }));
    CHECK(!both);
    CHECK(!first.leading());
    CHECK(eventually([&] { return changes.load() == 2; }));
    // A lease given back is taken without waiting for its end.
    proxy.refuse(false);
    REQUIRE(eventually([&] { return first.stats().holder == "second"; }));
    const auto began = std::chrono::steady_clock::now();
    second.stop();
    CHECK(eventually([&] { return first.leading(); }));
    CHECK(std::chrono::steady_clock::now() - began < 2s);
    CHECK(get(server, "/apis/coordination.k8s.io/v1/namespaces/default/leases/test")["spec"]["leaseTransitions"] == 2);
}

TEST_CASE("kube: a token says which pod it is for, and another audience does not pass") {
    ApiServer server;
    server.apply(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ztunnel, namespace: mesh}\n---\napiVersion: v1\nkind: Node\n"
        "metadata: {name: n1}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: zt, namespace: mesh}\n"
        "spec: {serviceAccountName: ztunnel, nodeName: n1, containers: [{name: a, image: a}]}\n");
    const json pod = get(server, "/api/v1/namespaces/mesh/pods/zt");
    const auto token = [&](const std::string& audience) {
        const json request = {
            {"apiVersion", "authentication.k8s.io/v1"},
            {"kind", "TokenRequest"},
            {"spec",
             {{"audiences", {audience}},
              {"boundObjectRef", {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "zt"}, {"uid", pod["metadata"]["uid"]}}}}}};
        const auto made =
            server.admin().call({kube::Method::Post, "/api/v1/namespaces/mesh/serviceaccounts/ztunnel/token", request.dump()});
        REQUIRE(made);
        return json::parse(*made)["status"]["token"].get<std::string>();
    };
    const base::RealClock clock;
    kube::TokenReviewer reviewer(server.admin(), clock);
    const auto who = reviewer.review(token("istio-ca"), clock.now() + std::chrono::seconds(20));
    REQUIRE(who);
    CHECK(*who == kube::TokenIdentity{"mesh", "ztunnel", "zt", pod["metadata"]["uid"], "n1", {"istio-ca"}});
    CHECK(reviewer.review(token("vault"), clock.now() + std::chrono::seconds(20)).error().code == base::Errc::Denied);
    CHECK(reviewer.review("nonsense", clock.now() + std::chrono::seconds(20)).error().code == base::Errc::Denied);
}

TEST_CASE("kube: the root certificate is in every namespace, and comes back") {
    ApiServer server;
    server.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    std::atomic<bool> leading = false;
    auto publisher = cluster::RootPublisher::create(server.admin(), {}, [&] { return leading.load(); });
    REQUIRE(publisher);
    (*publisher)->set_root("PEM 1");
    (*publisher)->start();
    const auto text = [&](const std::string& ns) {
        const json map = get(server, "/api/v1/namespaces/" + ns + "/configmaps/istio-ca-root-cert");
        return map.is_null() ? "" : map["data"].value("root-cert.pem", "");
    };
    REQUIRE(eventually([&] { return (*publisher)->stats().waiting >= 3; }));
    CHECK(text("a").empty());  // not without leading
    leading = true;
    CHECK(eventually([&] { return text("a") == "PEM 1" && text("kube-system") == "PEM 1"; }));
    CHECK(eventually([&] { return (*publisher)->stats().waiting == 0; }));
    CHECK(text("kube-public").empty());
    server.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n");
    CHECK(eventually([&] { return text("b") == "PEM 1"; }));
    const std::string path = "/api/v1/namespaces/a/configmaps/istio-ca-root-cert";
    REQUIRE(server.admin().merge(path, R"({"data":{"root-cert.pem":"mine"}})"));
    CHECK(eventually([&] { return text("a") == "PEM 1"; }));
    REQUIRE(server.admin().call({kube::Method::Delete, path}));
    CHECK(eventually([&] { return text("a") == "PEM 1"; }));
    (*publisher)->set_root("PEM 2");
    CHECK(eventually([&] { return text("a") == "PEM 2" && text("b") == "PEM 2"; }));
}

TEST_CASE("kube: of chosen namespaces alone the root certificate is in every one") {
    ApiServer server;
    server.apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {mesh: "
        "'on'}}\n");
    cluster::RootPublisherOptions options;
    options.discovery = {{{{"mesh", "on"}}, {}}};
    auto publisher = cluster::RootPublisher::create(server.admin(), std::move(options), [] { return true; });
    REQUIRE(publisher);
    (*publisher)->set_root("PEM 1");
    (*publisher)->start();
    const auto there = [&](const std::string& ns) {
        return !get(server, "/api/v1/namespaces/" + ns + "/configmaps/istio-ca-root-cert").is_null();
    };
    CHECK(eventually([&] { return there("b"); }));
    REQUIRE(server.admin().merge("/api/v1/namespaces/a", R"({"metadata":{"labels":{"mesh":"on"}}})"));
    CHECK(eventually([&] { return there("a"); }));
    CHECK_FALSE(there("default"));
}

TEST_CASE("kube: policies say whether they are enforced") {
    ApiServer server;
    server.install_definitions();
    const auto policy = [](const std::string& name, const std::string& spec) {
        return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name +
               ", namespace: a}\nspec: " + spec + "\n";
    };
    const std::string http = "{rules: [{to: [{operation: {methods: [GET]}}]}]}";
    server.apply(policy("good", "{rules: [{from: [{source: {namespaces: [b]}}]}]}") + policy("http", http) +
                 policy("custom", "{action: CUSTOM, provider: {name: x}, rules: [{}]}") +
                 policy("waypoint", "{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: w}]}"));
    REQUIRE(server.admin().merge("/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/good/status",
                                 R"({"status":{"conditions":[{"type":"Other","status":"True"}]}})"));
    // Of a time when it had no target, told by a process that is gone.
    REQUIRE(
        server.admin().merge("/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/waypoint/status",
                             R"({"status":{"conditions":[{"type":"Other","status":"True"},{"type":"ZtunnelAccepted","status":"True"}]}})"));
    Teller handler;
    cluster::StatusWriter writer(server.admin(), [] { return true; });
    handler.writer = &writer;
    writer.start();
    auto source = cluster::KubeSource::create(server.endpoint());
    REQUIRE(source);
    (*source)->start(handler);
    const auto condition = [&](const std::string& name) {
        const json object = get(server, "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/" + name);
        for (const json& one : object.value("status", json::object()).value("conditions", json::array()))
            if (one["type"] == "ZtunnelAccepted") return one;
        return json(json::object());
    };
    const auto reason = [&](const std::string& name) {
        const json one = condition(name);
        return one.value("status", "") + ' ' + one.value("reason", "");
    };
    CHECK(eventually([&] { return reason("good") == "True Accepted"; }, 20s));
    CHECK(eventually([&] { return reason("http") == "True UnsupportedValue"; }));
    CHECK(eventually([&] { return reason("custom") == "False UnsupportedValue"; }));
    CHECK(condition("http")["message"].get<std::string>().find("methods") != std::string::npos);
    CHECK(condition("good")["observedGeneration"] == 1);
    CHECK(eventually([&] { return writer.stats().waiting == 0; }));
    CHECK(reason("waypoint") == " ");
    CHECK(get(server, "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/waypoint")["status"]["conditions"].size() == 2);
    CHECK(get(server, "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/good")["status"]["conditions"].size() == 2);
    // A condition is a change of the object, and that must not go round and round.
    const std::string waypoint = "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/waypoint";
    CHECK(told(get(server, waypoint), "WaypointAccepted") == "False TargetNotFound");
    const uint64_t writes = writer.stats().writes;
    CHECK(writes == 4);
    server.apply(policy("good", http));
    CHECK(eventually([&] { return reason("good") == "True UnsupportedValue"; }));
    CHECK(eventually([&] { return writer.stats().writes == writes + 1; }));
    CHECK(condition("good")["observedGeneration"] == 2);
    // A spec that is judged as before is one that was looked at.
    server.apply(policy("good", "{action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}]}"));
    CHECK(eventually([&] { return condition("good")["observedGeneration"] == 3; }));
    // A waypoint comes, and is ready; then the policy is one for node proxies.
    server.apply(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: a}\n"
        "spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n");
    CHECK(eventually([&] { return told(get(server, waypoint), "WaypointAccepted") == "False AncestorNotBound"; }, 60s));
    REQUIRE(server.admin().merge("/apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/w/status",
                                 R"({"status":{"addresses":[{"type":"IPAddress","value":"10.1.1.1"}]}})"));
    CHECK(eventually([&] { return told(get(server, waypoint), "WaypointAccepted") == "True Accepted"; }, 60s));
    REQUIRE(server.admin().merge(waypoint, R"({"spec":{"targetRefs":null}})"));
    CHECK(eventually([&] { return told(get(server, waypoint), "WaypointAccepted").empty(); }, 60s));
    CHECK(told(get(server, waypoint), "ZtunnelAccepted") == "True Accepted");
    CHECK(told(get(server, waypoint), "Other") == "True ");
    (*source)->stop();
}

TEST_CASE("kube: objects say whether their waypoint is used, while they name one") {
    ApiServer server;
    server.install_definitions();
    Teller handler;
    const auto service = [](const std::string& name, const std::string& labels) {
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: default, labels: {" + labels +
               "}}\nspec: {ports: [{port: 80}]}\n";
    };
    const std::string use = "istio.io/use-waypoint: wp", managed = "gateway.istio.io/managed: istio.io-mesh-controller, ";
    server.apply(service("plain", "a: b") + service("own", managed + use) + service("used", use) +
                 "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: entry, namespace: default, labels: {" +
                 use + "}}\nspec: {hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}\n");
    server.apply("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: wild, namespace: default, labels: {" + use +
                 "}}\nspec: {hosts: ['*.b.example'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DYNAMIC_DNS}\n");
    const std::string services = "/api/v1/namespaces/default/services/";
    REQUIRE(server.admin().merge(services + "used/status", R"({"status":{"conditions":[{"type":"Other","status":"True","reason":"R",
        "message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}})"));
    std::atomic<bool> leads = false;
    cluster::StatusWriter writer(server.admin(), [&] { return leads.load(); });
    handler.writer = &writer;
    writer.start();
    auto source = cluster::KubeSource::create(server.endpoint());
    REQUIRE(source);
    (*source)->start(handler);
    const auto conditions = [&](const std::string& path) {
        return get(server, path).value("status", json::object()).value("conditions", json::array());
    };
    const auto bound = [&](const std::string& path) { return told(get(server, path), "istio.io/WaypointBound"); };
    const std::string entry = "/apis/networking.istio.io/v1/namespaces/default/serviceentries/entry";
    REQUIRE(eventually([&] { return writer.stats().waiting == 3; }, 60s));
    CHECK(bound(services + "used").empty());  // only a leader writes
    leads = true;
    CHECK(eventually([&] { return bound(services + "used") == "False WaypointIsNotReady"; }, 60s));
    CHECK(eventually([&] { return bound(entry) == "False WaypointIsNotReady"; }, 60s));
    const std::string wild = "/apis/networking.istio.io/v1/namespaces/default/serviceentries/wild";
    CHECK(eventually([&] { return conditions(wild).size() == 2; }, 60s));
    CHECK(told(get(server, wild), "istio.io/WaypointMissing") == "True NoWaypointForWildcardService");
    server.apply(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: wp, namespace: default}\n"
        "spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n");
    REQUIRE(server.admin().merge("/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/wp/status",
                                 R"({"status":{"addresses":[{"type":"IPAddress","value":"10.1.1.1"}]}})"));
    CHECK(eventually([&] { return bound(services + "used") == "True WaypointAccepted"; }, 60s));
    CHECK(eventually([&] { return bound(entry) == "True WaypointAccepted"; }, 60s));
    CHECK(eventually([&] { return writer.stats().waiting == 0; }, 60s));
    CHECK(writer.stats().writes == 6);
    CHECK(conditions(wild).size() == 1);  // none is missing
    CHECK(bound(wild) == "True WaypointAccepted");
    CHECK(conditions(services + "used").size() == 2);
    CHECK(conditions(services + "plain").empty());
    CHECK(conditions(services + "own").empty());
    REQUIRE(server.admin().merge(services + "used", R"({"metadata":{"labels":{"istio.io/use-waypoint":null}}})"));
    CHECK(eventually([&] { return bound(services + "used").empty(); }, 60s));
    CHECK(conditions(services + "used").size() == 1);
    (*source)->stop();
}

TEST_CASE("kube: a gateway into another network says what became of it, and nobody else's status is touched") {
    ApiServer server;
    server.install_definitions();
    const auto gateway = [](const std::string& name, const std::string& labels, const std::string& spec) {
        return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: " + name + ", namespace: a, labels: {" +
               labels + "}}\nspec: {" + spec + "}\n";
    };
    const std::string listeners = ", listeners: [{name: cross, port: 15008, protocol: HBONE}, {name: web, port: 80, protocol: HTTP}]";
    const std::string remote =
        "gatewayClassName: istio-remote, addresses: [{value: 10.1.1.1}, {type: Hostname, value: b.example}]" + listeners;
    const std::string network = "topology.istio.io/network: b";
    server.apply(gateway("east", network, remote) + gateway("moved", network, remote) +
                 gateway("wp", "", "gatewayClassName: istio-waypoint" + listeners));
    Teller handler;
    cluster::StatusWriter writer(server.admin(), [] { return true; });
    handler.writer = &writer;
    writer.start();
    auto source = cluster::KubeSource::create(server.endpoint());
    REQUIRE(source);
    (*source)->start(handler);
    const auto path = [](const std::string& name) { return "/apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/" + name; };
    const auto says = [&](const std::string& name) {
        const json object = get(server, path(name));
        return told(object, "Accepted") + ", " + told(object, "Programmed");
    };
    CHECK(eventually([&] { return says("east") == "True Accepted, True Programmed"; }, 60s));
    CHECK(eventually([&] { return says("moved") == "True Accepted, True Programmed"; }, 60s));
    const json status = get(server, path("east"))["status"];
    CHECK(status["addresses"] == json::parse(R"([{"type":"IPAddress","value":"10.1.1.1"},{"type":"Hostname","value":"b.example"}])"));
    REQUIRE(status["listeners"].size() == 2);
    CHECK(told({{"status", status["listeners"][0]}}, "Programmed") == "True Programmed");
    CHECK(told({{"status", status["listeners"][1]}}, "Accepted") == "False UnsupportedProtocol");
    CHECK(status["conditions"][0]["observedGeneration"] == 1);
    CHECK(status["conditions"][0]["lastTransitionTime"] != "1970-01-01T00:00:00Z");

    // What changes is written, and the rest keeps its time.
    REQUIRE(server.admin().merge(path("east"), R"({"spec":{"addresses":[]}})"));
    CHECK(eventually([&] { return says("east") == "True Accepted, False AddressNotAssigned"; }, 60s));
    const json after = get(server, path("east"))["status"];
    CHECK(after["conditions"][0]["lastTransitionTime"] == status["conditions"][0]["lastTransitionTime"]);
    CHECK(after["conditions"][0]["observedGeneration"] == 2);
    CHECK(after.value("addresses", json::array()).empty());

    // Of another class it is another controller's.
    REQUIRE(server.admin().merge(path("moved"), R"({"spec":{"gatewayClassName":"istio-east-west"}})"));
    CHECK(eventually([&] { return says("moved").find("True") == std::string::npos; }, 60s));
    CHECK(get(server, path("moved"))["status"].value("listeners", json::array()).empty());
    CHECK(writer.stats().left == 0);
    CHECK(says("wp") == "Unknown Pending, Unknown Pending");

    // And so is what another controller has written.
    REQUIRE(server.admin().merge(path("east") + "/status", R"({"status":{"conditions":[{"type":"Programmed","status":"False",
        "reason":"Theirs","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}})"));
    REQUIRE(server.admin().merge(path("east"), R"({"spec":{"addresses":[{"value":"10.1.1.2"}]}})"));
    CHECK(eventually([&] { return writer.stats().left >= 1; }, 60s));
    CHECK(told(get(server, path("east")), "Programmed") == "False Theirs");
    CHECK(eventually([&] { return writer.stats().waiting == 0; }, 60s));
    const auto written = writer.stats();
    CHECK(written.errors == 0);
    CHECK(written.writes == 4);
    (*source)->stop();
}

TEST_CASE("kube: hosts of a ServiceEntry are given addresses, and keep them") {
    ApiServer server;
    server.install_definitions();
    const auto entry = [](const std::string& name, const std::string& spec) {
        return "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " + name +
               ", namespace: default}\nspec: {ports: [{number: 80, name: http, protocol: HTTP}], " + spec + "}\n";
    };
    server.apply(entry("one", "hosts: [a.example, b.example], resolution: DNS") +
                 entry("own", "hosts: [c.example], resolution: DNS, addresses: [192.0.2.1]"));
    const auto path = [](const std::string& name) { return "/apis/networking.istio.io/v1/namespaces/default/serviceentries/" + name; };
    REQUIRE(server.admin().merge(path("one") + "/status", R"({"status":{"conditions":[{"type":"Other","status":"True"}]}})"));
    // What is written comes back by the watch, and from there to the nodes.
    struct Handler : cluster::SourceHandler {
        void changed(const cluster::Objects& objects, const std::vector<cluster::Change>& changes) override {
            writer->update(objects, changes);
            cluster::Diagnostics problems;
            const auto sent = cluster::convert(objects, cluster::Settings(), problems);
            const std::lock_guard lock(mutex);
            addresses.clear();
            for (const auto& [key, service] : sent.services) addresses[key] = service.addresses_size();
        }
        int count(const std::string& key) {
            const std::lock_guard lock(mutex);
            return addresses[key];
        }
        cluster::AddressWriter* writer = nullptr;
        std::mutex mutex;
        std::map<std::string, int> addresses;
    } handler;
    cluster::AddressWriter writer(server.admin(), [] { return true; }, {}, "default");
    handler.writer = &writer;
    writer.start();
    auto source = cluster::KubeSource::create(server.endpoint());
    REQUIRE(source);
    (*source)->start(handler);
    CHECK(eventually([&] { return handler.count("default/a.example") == 2 && handler.count("default/b.example") == 2; }, 60s));
    const json status = get(server, path("one"))["status"];
    REQUIRE(status["addresses"].size() == 4);
    CHECK(told({{"status", status}}, "Other") == "True ");
    CHECK(get(server, path("own")).value("status", json::object()).empty());
    CHECK(handler.count("default/c.example") == 1);

    // Emptied by somebody, and one host less.
    REQUIRE(server.admin().merge(path("one") + "/status", R"({"status":{"addresses":null}})"));
    CHECK(eventually([&] { return get(server, path("one"))["status"].value("addresses", json()) == status["addresses"]; }, 60s));
    REQUIRE(server.admin().merge(path("one"), R"({"spec":{"hosts":["b.example"]}})"));
    CHECK(eventually([&] { return get(server, path("one"))["status"]["addresses"].size() == 2; }, 60s));
    CHECK(get(server, path("one"))["status"]["addresses"][0] == status["addresses"][2]);
    CHECK(eventually([&] { return handler.count("default/b.example") == 2 && writer.stats().waiting == 0; }, 60s));
    CHECK(writer.stats().errors == 0);
    (*source)->stop();
}
