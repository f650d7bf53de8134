// SPDX-License-Identifier: Apache-2.0
// Responses of the control plane as changes of the mesh (data-plane contract 3.4); traps 46 and 48 as far as the mesh goes. The client and
// its stream are tested in tests/agent/xds, both together in tests/mesh/xds_test.py.
#include "ztunnel/mesh_client.h"

#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"
#include "tests/catch.h"

#include <deque>

using namespace std::chrono_literals;
using namespace warren;
using ztunnel::OnDemand;

namespace {

using Names = std::vector<std::string>;

std::string address(const std::string& uid, const std::string& ip, const std::string& node = "n2", const Names& policies = {}) {
    istio::workload::Address message;
    auto& w = *message.mutable_workload();
    w.set_uid(uid);
    w.set_name(uid);
    w.set_namespace_("ns");
    w.set_node(node);
    if (!ip.empty()) w.add_addresses(ip);
    for (const std::string& policy : policies) w.add_authorization_policies(policy);
    return message.SerializeAsString();
}

std::string service(const std::string& hostname, const std::string& ip) {
    istio::workload::Address message;
    auto& s = *message.mutable_service();
    s.set_hostname(hostname);
    s.set_name(hostname);
    s.set_namespace_("ns");
    s.add_addresses()->set_address(ip);
    return message.SerializeAsString();
}

std::string deny_all(const std::string& name) {
    istio::security::Authorization message;
    message.set_name(name);
    message.set_namespace_("ns");
    message.set_scope(istio::security::WORKLOAD_SELECTOR);
    message.set_action(istio::security::DENY);
    message.add_rules()->add_clauses()->add_matches()->add_destination_ports(80);
    return message.SerializeAsString();
}

const std::string kIp("\x0a\x00\x00\x05", 4), kVip("\x0a\x01\x00\x01", 4);

struct World {
    explicit World(OnDemand* table = nullptr) : updates(feed, table, "n1") {}

    std::vector<std::string> addresses(const std::vector<std::pair<std::string, std::string>>& resources, const Names& removed = {}) {
        return apply(xds::kAddressType, resources, removed);
    }
    std::vector<std::string> policies(const std::vector<std::pair<std::string, std::string>>& resources, const Names& removed = {},
                                      std::vector<xds::Rejection> refused = {}) {
        return apply(xds::kAuthorizationType, resources, removed, std::move(refused));
    }
    std::vector<std::string> apply(std::string_view type, const std::vector<std::pair<std::string, std::string>>& resources,
                                   const Names& removed, std::vector<xds::Rejection> refused = {}) {
        xds::Update update{type, {}, {removed.begin(), removed.end()}, std::move(refused)};
        for (const auto& [name, body] : resources)
            update.resources.push_back({name, "1", {reinterpret_cast<const uint8_t*>(body.data()), body.size()}});
        std::vector<std::string> names;
        for (const xds::Rejection& rejection : updates.apply(update)) {
            CHECK_FALSE(rejection.reason.empty());
            names.push_back(rejection.name);
        }
        return names;
    }
    [[nodiscard]] bool allows(const std::string& uid) const {
        const auto now = feed.snapshot();
        policy::Connection connection;
        connection.dst.port = 80;
        return now->policies_for(*now->workload(uid))->decide(connection).allowed;
    }

    int snapshots = 0;
    policy::MeshFeed feed{{{}, [this](const auto&) { ++snapshots; }}};
    ztunnel::MeshUpdates updates;
};

}  // namespace

TEST_CASE("mesh client: a response is one snapshot; a bad resource is refused by name and the rest counts") {
    World w;
    CHECK(w.addresses(
              {{"a", address("a", kIp)}, {"bad", address("bad", "short")}, {"ns/web", service("web", kVip)}, {"b", address("b", "")}}) ==
          Names{"bad"});
    CHECK(w.snapshots == 1);
    const auto now = w.feed.snapshot();
    CHECK(now->workload_count() == 2);
    CHECK(now->service("ns/web") != nullptr);
    CHECK(now->workload("bad") == nullptr);
}

TEST_CASE("mesh client: an update that does not read leaves the last good one") {
    World w;
    CHECK(w.addresses({{"a", address("a", kIp)}}).empty());
    CHECK(w.addresses({{"a", "\xff\xff"}}) == Names{"a"});
    CHECK(w.feed.snapshot()->workload("a") != nullptr);
}

TEST_CASE("mesh client: removals by uid, else by namespace and hostname; unknown names mean nothing") {
    World w;
    (void)w.addresses({{"a", address("a", kIp)}, {"ns/web", service("web", kVip)}});
    (void)w.addresses({}, {"a", "ns/web", "never", "a/b/c"});
    CHECK(w.feed.snapshot()->workload_count() == 0);
    CHECK(w.feed.snapshot()->service_count() == 0);
}

TEST_CASE("mesh client: a field that is not known yet is no reason to refuse") {
    World w;
    // Field 99, length-delimited, beside those we know.
    CHECK(w.addresses({{"a", address("a", kIp) + std::string("\x9a\x06\x01x", 4)}}).empty());
    CHECK(w.feed.snapshot()->workload("a") != nullptr);
}

TEST_CASE("trap 46: a policy name that has not arrived denies, and so does one that does not read") {
    World w;
    (void)w.addresses({{"a", address("a", kIp, "n2", {"ns/p"})}, {"b", address("b", "", "n2", {"ns/q"})}});
    CHECK_FALSE(w.allows("a"));
    std::string cut = deny_all("q");
    cut.resize(cut.size() - 1);
    istio::security::Authorization elsewhere;
    elsewhere.ParseFromString(deny_all("p"));
    elsewhere.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0)->set_destination_ports(0, 443);
    CHECK(w.policies({{"ns/p", elsewhere.SerializeAsString()}, {"ns/q", cut}}) == Names{"ns/q"});
    CHECK(w.allows("a"));
    CHECK_FALSE(w.allows("b"));
    CHECK(w.feed.snapshot()->refusals().size() == 1);
}

TEST_CASE("mesh client: a policy the client itself could not read is in force as a refusal") {
    World w;
    (void)w.addresses({{"a", address("a", kIp, "n2", {"ns/p"})}});
    CHECK(w.policies({}, {}, {{"ns/p", "the resource is damaged"}, {"", "a resource without a name"}}).empty());
    const auto refusals = w.feed.snapshot()->refusals();
    REQUIRE(refusals.size() == 1);
    CHECK(refusals[0].second == "the resource is damaged");
    CHECK_FALSE(w.allows("a"));
}

TEST_CASE("mesh client: a policy in force stands while its next version does not read, and goes with its removal") {
    World w;
    (void)w.addresses({{"a", address("a", kIp, "n2", {"ns/p"})}});
    (void)w.policies({{"ns/p", deny_all("p")}});
    CHECK(w.policies({{"ns/p", "\xff"}}) == Names{"ns/p"});
    CHECK(w.feed.snapshot()->policy("ns/p"));
    CHECK_FALSE(w.allows("a"));
    (void)w.policies({}, {"ns/p"});
    CHECK_FALSE(w.feed.snapshot()->policy("ns/p"));
    CHECK_FALSE(w.allows("a"));  // listed and missing
}

TEST_CASE("mesh client: names on demand are answered by their record, by their absence, and not by a record that does not read") {
    OnDemand table({.max_names = 16});
    World w(&table);
    for (const char* name : {"/10.0.0.5", "/10.0.0.6", "/10.0.0.7", "ns/web", "ns/none"}) table.hint(name);
    const auto known = [&](const std::string& name) { return table.known({&name, 1}, w.feed.snapshot()->version()); };
    (void)w.addresses({{"a", address("a", kIp)}, {"/10.0.0.7", "\xff"}}, {"/10.0.0.6"});
    CHECK(known("/10.0.0.5"));
    CHECK(known("/10.0.0.6"));
    CHECK_FALSE(known("/10.0.0.7"));
    CHECK_FALSE(known("ns/web"));
    (void)w.addresses({{"ns/web", service("web", kVip)}}, {"ns/none"});
    CHECK(known("ns/web"));
    CHECK(known("ns/none"));
}

TEST_CASE("mesh client: an address that only pods on the host network have is answered, and nobody is found by it") {
    OnDemand table({.max_names = 16});
    World w(&table);
    for (const char* name : {"/10.0.0.5", "/10.0.0.6"}) table.hint(name);
    const auto known = [&](const std::string& name) { return table.known({&name, 1}, w.feed.snapshot()->version()); };
    istio::workload::Address host;
    REQUIRE(host.ParseFromString(address("a", kIp)));
    host.mutable_workload()->set_network_mode(istio::workload::HOST_NETWORK);
    (void)w.addresses({{"a", host.SerializeAsString()}});
    CHECK(known("/10.0.0.5"));
    CHECK_FALSE(known("/10.0.0.6"));
    CHECK(w.feed.snapshot()->workload(policy::NetworkAddress{{}, *base::IpAddr::parse("10.0.0.5")}) == nullptr);
}

TEST_CASE("mesh client: records that nobody uses any more leave the mesh, those of this node and of names in use stay") {
    OnDemand table({.unused = 1min, .max_names = 16});
    World w(&table);
    Names told;
    table.connect([&](std::span<const std::string> names, bool wanted) -> base::Result<void> {
        if (!wanted) told.assign(names.begin(), names.end());
        return {};
    });
    table.hint("/10.0.0.5");
    (void)w.addresses({{"a", address("a", kIp)}, {"local", address("local", std::string("\x0a\x00\x00\x09", 4), "n1")}});
    w.updates.expire(std::chrono::steady_clock::now());
    CHECK(w.feed.snapshot()->workload_count() == 2);
    w.updates.expire(std::chrono::steady_clock::now() + 2min);
    CHECK(w.feed.snapshot()->workload("a") == nullptr);
    CHECK(w.feed.snapshot()->workload("local") != nullptr);
    CHECK(told == Names{"a", "/10.0.0.5"});
}

TEST_CASE("mesh client: with the group, services stay and their endpoints go") {
    OnDemand table({.unused = 1min, .max_names = 16, .services = true});
    World w(&table);
    table.hint("/10.0.0.5");
    (void)w.addresses({{"a", address("a", kIp)}, {"ns/web", service("web", kVip)}});
    w.updates.expire(std::chrono::steady_clock::now() + 2min);
    CHECK(w.feed.snapshot()->workload_count() == 0);
    CHECK(w.feed.snapshot()->service_count() == 1);
}

TEST_CASE("mesh client: options from the settings") {
    ztunnel::Settings settings;
    settings.xds.address = "unix:/run/agent.sock";
    settings.xds.roots = "/does/not/exist";
    settings.proxy.node_name = "n1";
    settings.own.pod_name = "zt";
    settings.metadata = {{"CLUSTER_ID", "c1"}};
    settings.json_metadata = {{"L", "{}"}};
    auto options = ztunnel::xds_options(settings);
    REQUIRE(options);
    CHECK(options->node.instance_ip == "1.1.1.1");
    CHECK(options->node.node_name == "n1");
    CHECK(options->node.pod_name == "zt");
    CHECK(options->node.metadata.at("CLUSTER_ID") == "c1");
    CHECK(options->node.json.at("L") == "{}");
    CHECK_FALSE(options->types[0].on_demand);
    settings.xds_on_demand = true;
    settings.own.instance_ip = "10.0.0.9";
    options = ztunnel::xds_options(settings);
    CHECK(options->types[0].on_demand);
    CHECK_FALSE(options->types[1].on_demand);
    CHECK(options->node.instance_ip == "10.0.0.9");
    settings.xds.address = "https://istiod:15012";
    options = ztunnel::xds_options(settings);
    REQUIRE_FALSE(options);
    CHECK(options.error().message().find("XDS_ROOT_CA") != std::string::npos);
}
