// SPDX-License-Identifier: Apache-2.0
// The workload half of the mesh store and how batches join it to services. Tags name the rows of data-plane contract 11.5.
#include "tests/policy/mesh_builder.h"

#include "tests/catch.h"

#include <algorithm>

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

constexpr const char* kWeb = "default/web.default.svc.cluster.local";
const std::string kPod1 = "cluster1//Pod/default/web-1", kPod2 = "cluster1//Pod/default/web-2";

ServiceRef web(bool allow_unhealthy = false) {
    return service(
        {.ns = "default", .hostname = "web.default.svc.cluster.local", .vips = {at("10.1.0.1")}, .allow_unhealthy = allow_unhealthy});
}
WorkloadRef pod(const std::string& uid, const std::string& address, std::vector<std::string> services = {kWeb}) {
    return workload({.uid = uid, .addresses = {address}, .services = std::move(services)});
}

Batch put(std::vector<WorkloadRef> workloads, std::vector<ServiceRef> services = {}) {
    Batch b;
    b.workloads = std::move(workloads);
    b.services = std::move(services);
    return b;
}
Batch without(std::vector<std::string> names) {
    Batch b;
    b.removed_addresses = std::move(names);
    return b;
}

std::vector<std::string> endpoints(const Snapshot& s, std::string_view key) {
    std::vector<std::string> out;
    if (const ServiceEntry* e = s.service(key))
        e->endpoints.for_each([&](const Text& uid, const Endpoint& endpoint) {
            CHECK(endpoint.workload.get() == s.workload(uid));
            out.push_back(uid.str());
        });
    std::sort(out.begin(), out.end());
    return out;
}
size_t staged(const Snapshot& s) {
    size_t n = 0;
    s.each_staged([&](const Text&, const ServiceEntry& e) { n += e.endpoints.size(); });
    return n;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("mesh: workloads and virtual addresses are found while they are there", "[workload_information]") {
    Mesh mesh;
    CHECK(mesh.snapshot()->workload("uid") == nullptr);
    CHECK(mesh.snapshot()->workload(at("127.0.0.1")) == nullptr);
    auto s = mesh.apply(put({workload({.uid = "uid", .addresses = {"127.0.0.1", "127.0.0.2"}, .services = {kWeb}})}));
    CHECK(uid_of(s->workload("uid")) == "uid");
    CHECK(uid_of(s->workload(at("127.0.0.2"))) == "uid");
    CHECK(s->workload(at("other", "127.0.0.2")) == nullptr);
    CHECK(s->service_by_vip(at("10.1.0.1"), nullptr) == nullptr);
    CHECK(staged(*s) == 1);

    s = mesh.apply(put({}, {web()}));
    REQUIRE(key_of(s->service_by_vip(at("10.1.0.1"), nullptr)) == kWeb);
    CHECK(endpoints(*s, kWeb) == Names{"uid"});
    CHECK(s->service(kWeb)->endpoints.find(Text("uid"))->target_port(80) == 8080);
    CHECK(s->service(kWeb)->endpoints.find(Text("uid"))->target_port(81) == 0);
    CHECK(staged(*s) == 0);
    CHECK(s->workload_count() == 1);
    CHECK(s->service_count() == 1);

    // Another address, another port map, in the next version.
    const auto before = s;
    s = mesh.apply(put({workload({.uid = "uid", .addresses = {"127.0.0.2", "127.0.0.3"}, .services = {kWeb}, .target_port = 9090})}));
    CHECK(s->workload(at("127.0.0.1")) == nullptr);
    CHECK(uid_of(s->workload(at("127.0.0.2"))) == "uid");
    CHECK(uid_of(s->workload(at("127.0.0.3"))) == "uid");
    CHECK(s->service(kWeb)->endpoints.find(Text("uid"))->target_port(80) == 9090);
    CHECK(before->service(kWeb)->endpoints.find(Text("uid"))->target_port(80) == 8080);
    CHECK(uid_of(before->workload(at("127.0.0.1"))) == "uid");

    s = mesh.apply(without({"uid"}));
    CHECK(s->workload("uid") == nullptr);
    CHECK(s->workload(at("127.0.0.2")) == nullptr);
    CHECK(endpoints(*s, kWeb).empty());
    s = mesh.apply(without({kWeb}));
    CHECK(s->service(kWeb) == nullptr);
    CHECK(s->service_by_vip(at("10.1.0.1"), nullptr) == nullptr);
    CHECK(s->service_by_hostname("web.default.svc.cluster.local", nullptr) == nullptr);
    CHECK(s->service_count() == 0);
}

TEST_CASE("mesh: of two workloads on one address the pod wins and removal falls back", "[overlapping_workload_ip]") {
    Mesh mesh;
    const std::string entry = "cluster1/networking.istio.io/WorkloadEntry/default/vm";
    auto s = mesh.apply(put({pod(kPod1, "10.0.0.1")}));
    s = mesh.apply(put({workload({.uid = entry, .addresses = {"10.0.0.1"}})}));
    CHECK(uid_of(s->workload(at("10.0.0.1"))) == kPod1);
    CHECK(uid_of(s->workload(entry)) == entry);
    CHECK(uid_of(mesh.apply(without({kPod1}))->workload(at("10.0.0.1"))) == entry);
    CHECK(uid_of(mesh.apply(put({pod(kPod1, "10.0.0.1")}))->workload(at("10.0.0.1"))) == kPod1);
    CHECK(uid_of(mesh.apply(without({entry}))->workload(at("10.0.0.1"))) == kPod1);
    CHECK(mesh.apply(without({kPod1}))->workload(at("10.0.0.1")) == nullptr);
}

TEST_CASE("mesh: an address goes by rank and among equals to the latest claim") {
    Mesh mesh;
    const auto on = [](const std::string& uid, TunnelProtocol protocol) {
        return workload({.uid = uid, .addresses = {"10.0.0.1"}, .protocol = protocol});
    };
    const auto winner = [&](Batch b) { return uid_of(mesh.apply(std::move(b))->workload(at("10.0.0.1"))); };
    CHECK(winner(put({on("plain", TunnelProtocol::None)})) == "plain");
    CHECK(winner(put({on("hbone", TunnelProtocol::Hbone)})) == "hbone");
    CHECK(winner(put({on("c//Pod/d/plain", TunnelProtocol::None)})) == "c//Pod/d/plain");
    CHECK(winner(put({on("c//Pod/d/hbone", TunnelProtocol::Hbone)})) == "c//Pod/d/hbone");
    CHECK(winner(put({on("plain-2", TunnelProtocol::None)})) == "c//Pod/d/hbone");
    CHECK(winner(put({on("c//Pod/d/new", TunnelProtocol::Hbone)})) == "c//Pod/d/new");
    // An update of the older one is no new claim; a change of rank moves it.
    CHECK(winner(put({workload({.uid = "c//Pod/d/hbone", .addresses = {"10.0.0.1"}, .node = "node-2"})})) == "c//Pod/d/new");
    CHECK(winner(put({on("c//Pod/d/new", TunnelProtocol::None)})) == "c//Pod/d/hbone");
    CHECK(winner(without({"c//Pod/d/hbone"})) == "c//Pod/d/new");
    CHECK(winner(without({"c//Pod/d/new"})) == "c//Pod/d/plain");
    CHECK(winner(without({"c//Pod/d/plain"})) == "hbone");
    CHECK(winner(without({"hbone"})) == "plain-2");
    CHECK(winner(without({"plain-2"})) == "plain");
}

TEST_CASE("mesh: an address recycled a thousand times belongs to its newest pod") {
    Mesh mesh;
    for (int i = 0; i < 1000; ++i) {
        const std::string uid = "c//Pod/d/p" + std::to_string(i);
        Batch b = put({pod(uid, "10.0.0.1", {})});
        if (i >= 2) b.removed_addresses.push_back("c//Pod/d/p" + std::to_string(i - 2));
        const auto s = mesh.apply(std::move(b));
        if (uid_of(s->workload(at("10.0.0.1"))) != uid) FAIL("address with " << uid_of(s->workload(at("10.0.0.1"))));
    }
    CHECK(mesh.snapshot()->workload_count() == 2);
}

TEST_CASE("mesh: a host network workload is not found by address") {
    Mesh mesh;
    auto s = mesh.apply(put({workload({.uid = "host", .addresses = {"10.0.0.1"}, .mode = NetworkMode::HostNetwork})}));
    CHECK(s->workload(at("10.0.0.1")) == nullptr);
    CHECK(uid_of(s->workload("host")) == "host");
    CHECK(uid_of(mesh.apply(put({workload({.uid = "host", .addresses = {"10.0.0.1"}})}))->workload(at("10.0.0.1"))) == "host");
    s = mesh.apply(put({workload({.uid = "host", .addresses = {"10.0.0.1"}, .mode = NetworkMode::HostNetwork})}));
    CHECK(s->workload(at("10.0.0.1")) == nullptr);
    CHECK(mesh.apply(without({"host"}))->workload_count() == 0);
}

TEST_CASE("mesh: addresses belong to their network", "[lookup_address]") {
    Mesh mesh;
    auto s = mesh.apply(put({workload({.uid = "a", .addresses = {"10.0.0.1"}, .network = "one"}),
                             workload({.uid = "b", .addresses = {"10.0.0.1"}, .network = "two"})},
                            {service({.ns = "default", .hostname = "x", .vips = {at("one", "10.0.0.9")}})}));
    CHECK(uid_of(s->workload(at("one", "10.0.0.1"))) == "a");
    CHECK(uid_of(s->workload(at("two", "10.0.0.1"))) == "b");
    CHECK(s->workload(at("", "10.0.0.1")) == nullptr);
    CHECK(key_of(s->service_by_vip(at("one", "10.0.0.9"), nullptr)) == "default/x");
    CHECK(s->service_by_vip(at("two", "10.0.0.9"), nullptr) == nullptr);
    s = mesh.apply(put({workload({.uid = "a", .addresses = {"10.0.0.1"}, .network = "three"})}));
    CHECK(s->workload(at("one", "10.0.0.1")) == nullptr);
    CHECK(uid_of(s->workload(at("three", "10.0.0.1"))) == "a");
}

TEST_CASE("mesh: a mapped address is its IPv4 address", "[lookup_address]") {
    Mesh mesh;
    CHECK(uid_of(mesh.apply(put({pod("a", "10.0.0.1")}))->workload(at("::ffff:10.0.0.1"))) == "a");
}

TEST_CASE("mesh: the record of a local pod goes by name, namespace, account and node") {
    Mesh mesh;
    const auto s = mesh.apply(put({
        workload({.uid = "c1", .ns = "prod", .name = "web-0", .service_account = "web", .node = "node-1"}),
        workload({.uid = "c2", .ns = "prod", .name = "web-0", .service_account = "web", .node = "node-2"}),
        workload({.uid = "c3", .ns = "prod", .name = "web-0", .service_account = "other", .node = "node-1"}),
        workload({.uid = "c4", .ns = "dev", .name = "web-0", .service_account = "web", .node = "node-1"}),
    }));
    CHECK(uid_of(s->local_workload("prod", "web-0", "web", "node-1")) == "c1");
    CHECK(uid_of(s->local_workload("prod", "web-0", "web", "node-2")) == "c2");
    CHECK(uid_of(s->local_workload("prod", "web-0", "other", "")) == "c3");
    CHECK(uid_of(s->local_workload("dev", "web-0", "web", "")) == "c4");
    CHECK(s->local_workload("prod", "web-0", "web", "node-3") == nullptr);
    CHECK(s->local_workload("prod", "web", "web", "") == nullptr);
    const auto later = mesh.apply(put({workload({.uid = "c1", .ns = "prod", .name = "web-1", .service_account = "web"})}));
    CHECK(later->local_workload("prod", "web-0", "web", "node-1") == nullptr);
    CHECK(uid_of(later->local_workload("prod", "web-1", "web", "node-1")) == "c1");
    CHECK(mesh.apply(without({"c1"}))->local_workload("prod", "web-1", "web", "") == nullptr);
}

TEST_CASE("mesh: one that has an own node knows pods by name there only, also those that move") {
    Mesh mesh("node-1");
    const auto on = [](std::string node, std::string name = "web-0") {
        return put({workload({.uid = "c1", .ns = "prod", .name = std::move(name), .service_account = "web", .node = std::move(node)})});
    };
    const auto found = [](const std::shared_ptr<const Snapshot>& s, std::string_view name = "web-0") {
        return uid_of(s->local_workload("prod", name, "web", ""));
    };
    CHECK(found(mesh.apply(on("node-1"))) == "c1");
    CHECK(found(mesh.apply(on("node-2"))) == uid_of(nullptr));
    CHECK(uid_of(mesh.snapshot()->workload("c1")) == "c1");
    CHECK(found(mesh.apply(on("node-1"))) == "c1");
    CHECK(found(mesh.apply(on("node-1", "web-1")), "web-1") == "c1");
    CHECK(found(mesh.snapshot()) == uid_of(nullptr));
    CHECK(found(mesh.apply(without({"c1"})), "web-1") == uid_of(nullptr));
}

TEST_CASE("mesh: a workload is found by its namespace and hostname") {
    Mesh mesh;
    auto s = mesh.apply(put({workload({.uid = "a", .ns = "prod", .hostname = "db.example.com"}),
                             workload({.uid = "b", .ns = "prod", .hostname = "db.example.com"}), workload({.uid = "c"})}));
    CHECK(uid_of(s->workload_by_hostname("prod", "db.example.com")) == "a");
    CHECK(s->workload_by_hostname("dev", "db.example.com") == nullptr);
    CHECK(s->workload_by_hostname("default", "") == nullptr);
    CHECK(uid_of(mesh.apply(without({"a"}))->workload_by_hostname("prod", "db.example.com")) == "b");
}

TEST_CASE("mesh: unhealthy endpoints are kept whatever the service says", "[unhealthy_workloads_staged]") {
    Mesh mesh;
    const auto sick = workload({.uid = kPod1, .addresses = {"10.0.0.1"}, .services = {kWeb}, .health = Health::Unhealthy});
    auto s = mesh.apply(put({sick}));
    CHECK(staged(*s) == 1);
    s = mesh.apply(put({}, {web()}));
    REQUIRE(endpoints(*s, kWeb) == Names{kPod1});
    CHECK(s->service(kWeb)->endpoints.find(Text(kPod1))->workload->status == Health::Unhealthy);
    CHECK_FALSE(s->service(kWeb)->service->allows_unhealthy());
    s = mesh.apply(put({}, {web(true)}));
    CHECK(s->service(kWeb)->service->allows_unhealthy());
    CHECK(endpoints(*s, kWeb) == Names{kPod1});
    CHECK(endpoints(*mesh.apply(put({}, {web(false)})), kWeb) == Names{kPod1});
}

TEST_CASE("mesh: staged endpoints vanish with their workload", "[staged_services_cleanup]") {
    Mesh mesh;
    CHECK(staged(*mesh.apply(put({pod(kPod1, "10.0.0.1"), pod(kPod2, "10.0.0.2")}))) == 2);
    CHECK(staged(*mesh.apply(without({kPod1}))) == 1);
    CHECK(staged(*mesh.apply(put({pod(kPod2, "10.0.0.2", {})}))) == 0);
    const auto s = mesh.apply(put({}, {web()}));
    CHECK(endpoints(*s, kWeb).empty());
    CHECK(s->service_count() == 1);
}

TEST_CASE("mesh: a service that comes back finds the endpoints that never left") {
    Mesh mesh;
    auto s = mesh.apply(put({pod(kPod1, "10.0.0.1")}, {web()}));
    s = mesh.apply(without({kWeb}));
    CHECK(s->service(kWeb) == nullptr);
    CHECK(s->service_count() == 0);
    CHECK(staged(*s) == 1);
    CHECK(endpoints(*mesh.apply(put({}, {web()})), kWeb) == Names{kPod1});
    CHECK(endpoints(*mesh.apply(put({}, {web(true)})), kWeb) == Names{kPod1});
}

TEST_CASE("mesh: endpoints join, stay and leave with their workloads", "[apply_endpoints]") {
    Mesh mesh;
    constexpr const char* api = "default/api.default.svc.cluster.local";
    const auto api_service = service({.ns = "default", .hostname = "api.default.svc.cluster.local"});
    auto s = mesh.apply(put({}, {web(), api_service}));
    SECTION("an insert joins the services that are there") {
        s = mesh.apply(put({pod(kPod1, "10.0.0.1", {kWeb, api})}));
        CHECK(endpoints(*s, kWeb) == Names{kPod1});
        CHECK(endpoints(*s, api) == Names{kPod1});
    }
    SECTION("an update leaves the services it no longer names") {
        s = mesh.apply(put({pod(kPod1, "10.0.0.1", {kWeb})}));
        s = mesh.apply(put({pod(kPod1, "10.0.0.1", {api})}));
        CHECK(endpoints(*s, kWeb).empty());
        CHECK(endpoints(*s, api) == Names{kPod1});
    }
    SECTION("of several changes of one workload in a batch the last counts") {
        s = mesh.apply(put({pod(kPod1, "10.0.0.1", {kWeb}), pod(kPod1, "10.0.0.1", {api}), pod(kPod1, "10.0.0.1", {kWeb})}));
        CHECK(endpoints(*s, kWeb) == Names{kPod1});
        CHECK(endpoints(*s, api).empty());
    }
    SECTION("a workload may name a service that nobody knows") {
        s = mesh.apply(put({pod(kPod1, "10.0.0.1", {kWeb, "default/unknown"})}));
        CHECK(endpoints(*s, kWeb) == Names{kPod1});
        CHECK(staged(*s) == 1);
        CHECK(staged(*mesh.apply(without({kPod1}))) == 0);
    }
    SECTION("of two entries for one service the first counts") {
        const auto twice = make_ref<Workload>();
        twice->uid = Text(kPod1);
        twice->services = {WorkloadService{Text(kWeb), {PortPair{80, 1}}}, WorkloadService{Text(kWeb), {PortPair{80, 2}}}};
        s = mesh.apply(put({twice}));
        CHECK(s->service(kWeb)->endpoints.find(Text(kPod1))->target_port(80) == 1);
    }
}

TEST_CASE("mesh: a batch of many endpoints gives each service all of its own", "[batch_groups_endpoints_per_service]") {
    Mesh mesh;
    constexpr int services = 7, workloads = 2'000;
    const auto key = [](int i) { return "default/s" + std::to_string(i % services); };
    Batch b;
    for (int i = 0; i < services; ++i) b.services.push_back(service({.ns = "default", .hostname = "s" + std::to_string(i)}));
    for (int i = 0; i < workloads; ++i) b.workloads.push_back(workload({.uid = std::to_string(i), .services = {key(i), key(i + 1)}}));
    auto s = mesh.apply(std::move(b));
    const auto first = s;
    size_t total = 0;
    s->each_service([&](const ServiceEntry& e) { total += e.endpoints.size(); });
    CHECK(total == 2 * workloads);
    b = {};
    for (int i = 0; i < workloads; i += 2) b.removed_addresses.push_back(std::to_string(i));
    s = mesh.apply(std::move(b));
    total = 0;
    s->each_service([&](const ServiceEntry& e) { total += e.endpoints.size(); });
    CHECK(total == workloads);
    CHECK(s->version() == 2);
    total = 0;
    first->each_service([&](const ServiceEntry& e) { total += e.endpoints.size(); });
    CHECK(total == 2 * workloads);
}

TEST_CASE("mesh: services before, after and together with their workloads come out the same", "[batch_service_before_workloads]") {
    Mesh together, before, after;
    together.apply(put({pod(kPod1, "10.0.0.1")}, {web()}));
    before.apply(put({}, {web()}));
    before.apply(put({pod(kPod1, "10.0.0.1")}));
    after.apply(put({pod(kPod1, "10.0.0.1")}));
    after.apply(put({}, {web()}));
    for (const Mesh* mesh : {&together, &before, &after}) {
        CHECK(endpoints(*mesh->snapshot(), kWeb) == Names{kPod1});
        CHECK(mesh->snapshot()->service_count() == 1);
        CHECK(staged(*mesh->snapshot()) == 0);
    }
}

TEST_CASE("mesh: a batch keeps healthy and unhealthy endpoints apart by status", "[batch_filters_unhealthy]") {
    Mesh mesh;
    const auto s = mesh.apply(
        put({pod(kPod1, "10.0.0.1"), workload({.uid = kPod2, .addresses = {"10.0.0.2"}, .services = {kWeb}, .health = Health::Unhealthy})},
            {web()}));
    const auto& list = s->service(kWeb)->endpoints;
    CHECK(list.size() == 2);
    CHECK(list.find(Text(kPod1))->workload->status == Health::Healthy);
    CHECK(list.find(Text(kPod2))->workload->status == Health::Unhealthy);
}

TEST_CASE("mesh: removals of names that are not there spoil nothing", "[batch_partial_failure]") {
    Mesh mesh;
    Batch b = put({pod(kPod1, "10.0.0.1")}, {web()});
    b.removed_addresses = {"nobody", "default/nobody", "a/b/c", "/", "", std::string(kWeb) + "/more"};
    const auto s = mesh.apply(std::move(b));
    CHECK(endpoints(*s, kWeb) == Names{kPod1});
}

TEST_CASE("mesh: removing a workload drops its endpoint", "[remove_drops_endpoint]") {
    Mesh mesh;
    mesh.apply(put({pod(kPod1, "10.0.0.1"), pod(kPod2, "10.0.0.2")}, {web()}));
    CHECK(endpoints(*mesh.apply(without({kPod1})), kWeb) == Names{kPod2});
    // Within one batch updates come before removals.
    Batch b = put({pod(kPod1, "10.0.0.1")});
    b.removed_addresses = {kPod1, kPod2};
    CHECK(endpoints(*mesh.apply(std::move(b)), kWeb).empty());
}

TEST_CASE("mesh: a removed name is a uid first and a service second") {
    Mesh mesh;
    // A workload whose uid reads like the service's key hides it once.
    mesh.apply(put({workload({.uid = kWeb, .addresses = {"10.0.0.1"}})}, {web()}));
    auto s = mesh.apply(without({kWeb}));
    CHECK(s->workload(kWeb) == nullptr);
    CHECK(key_of(s->service(kWeb)) == kWeb);
    s = mesh.apply(without({kWeb}));
    CHECK(s->service(kWeb) == nullptr);
    // A second slash in the hostname part: not a service's name, although the key reads so.
    s = mesh.apply(put({}, {service({.ns = "default", .hostname = "a/b"})}));
    s = mesh.apply(without({"default/a/b"}));
    CHECK(key_of(s->service("default/a/b")) == "default/a/b");
}

TEST_CASE("mesh: a batch that changes nothing publishes nothing") {
    Mesh mesh;
    const auto first = mesh.apply(put({pod(kPod1, "10.0.0.1")}, {web()}));
    CHECK(first->version() == 1);
    CHECK(mesh.apply(put({pod(kPod1, "10.0.0.1")}, {web()})) == first);
    CHECK(mesh.apply(without({"nobody"})) == first);
    CHECK(mesh.apply({}) == first);
    const auto second = mesh.apply(put({pod(kPod1, "10.0.0.2")}));
    CHECK(second->version() == 2);
    CHECK(second == mesh.snapshot());
}
