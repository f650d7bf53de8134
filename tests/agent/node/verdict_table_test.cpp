// SPDX-License-Identifier: Apache-2.0
// The verdict table by example: what rows say, what an update touches, its bounds, and which open connections end.
#include "agent/node/rejudge.h"
#include "tests/agent/node/verdict_harness.h"

#include <algorithm>

using namespace warren;
using namespace warren::node;
using policy::Text;
using tests::MeshFixture;

namespace {

constexpr uint32_t kAll = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;

policy::StringMatch exact(std::string_view text) { return {policy::StringMatch::Kind::Exact, Text(text)}; }

policy::PolicySpec spec(std::string_view key, policy::PolicyAction action, std::vector<policy::Match> matches) {
    policy::PolicySpec s;
    s.key = Text(key);
    s.ns = Text(key.substr(0, key.find('/')));
    s.name = Text(key.substr(key.find('/') + 1));
    s.scope = policy::Scope::WorkloadSelector;
    s.action = action;
    for (policy::Match& m : matches) s.rules.push_back({{std::move(m)}});
    return s;
}

policy::Match from_account(std::string_view account) {
    policy::Match m;
    m.principals.any_of = {exact("cluster.local/ns/shop/sa/" + std::string(account))};
    return m;
}

policy::Match ports(std::vector<uint16_t> any_of, std::vector<uint16_t> none_of = {}) {
    policy::Match m;
    m.destination_ports = {std::move(any_of), std::move(none_of)};
    return m;
}

// Pods 1 to 4 of accounts a to d; pod 4 lists the policy shop/p.
struct Scene {
    policy::Mesh mesh;
    std::vector<LocalPod> pods;
    MeshView view{MeshSettings{{}, "node-a", {}}};
    VerdictTable table;
    tests::RowMap kernel;

    explicit Scene(VerdictLimits limits = {}) : table(limits) {
        policy::Batch batch;
        for (uint32_t i = 1; i <= 4; ++i) {
            batch.workloads.push_back(record(i));
            LocalPod p;
            p.id = i;
            p.flags = kAll;
            p.ns = Text("shop");
            p.name = Text("pod-" + std::to_string(i));
            p.service_account = account(i);
            p.v4 = base::IpAddr::v4(0x0a000000u + i);
            pods.push_back(p);
        }
        mesh.apply(std::move(batch));
    }
    static Text account(uint32_t i) { return Text(std::string(1, static_cast<char>('a' + i - 1))); }
    static policy::Ref<policy::Workload> record(uint32_t i) {
        const auto w = policy::make_ref<policy::Workload>();
        w->uid = Text(MeshFixture::uid("shop/pod-" + std::to_string(i)));
        w->name = Text("pod-" + std::to_string(i));
        w->ns = Text("shop");
        w->service_account = account(i);
        w->trust_domain = Text("cluster.local");
        w->node = Text("node-a");
        w->tunnel_protocol = policy::TunnelProtocol::Hbone;
        w->addresses = {base::IpAddr::v4(0x0a000000u + i)};
        if (i == 4) w->authorization_policies = {Text("shop/p")};
        return w;
    }
    void put(policy::PolicySpec s) {
        policy::Batch batch;
        batch.policies.emplace_back(std::move(s));
        mesh.apply(std::move(batch));
    }
    VerdictChange update() {
        view.update(mesh.snapshot(), pods);
        VerdictChange change = table.update(view);
        tests::write_watched(kernel, change);
        return change;
    }
    std::string verdict(uint32_t source, uint16_t port, uint32_t destination = 4) {
        const auto row = kernel.lookup(source, destination, port);
        if (!row) return "none";
        static const char* const words[] = {"?", "allow", "deny", "tunnel"};
        std::string out = std::string(words[row->verdict]) + ' ' + std::string(policy::to_string(static_cast<policy::Reason>(row->reason)));
        if (const Text* name = table.policy_ids().name_of(row->policy)) out += ' ' + name->str() + ' ' + std::to_string(row->rule);
        return out;
    }
};

}  // namespace

TEST_CASE("verdicts: rows carry verdict, reason, policy and rule") {
    Scene s;
    s.update();
    CHECK(s.verdict(1, 80) == "deny denied_policy_missing");
    CHECK(s.verdict(1, 80, 2) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 80, 9) == "none");
    s.put(spec("shop/p", policy::PolicyAction::Allow, {from_account("b"), from_account("a")}));
    s.update();
    CHECK(s.verdict(1, 80) == "allow allowed_by_policy shop/p 2");
    CHECK(s.verdict(2, 80) == "allow allowed_by_policy shop/p 1");
    CHECK(s.verdict(3, 80) == "deny denied_no_allow_matched");
    CHECK(s.kernel.rows.size() == 16);  // nobody names a port: one row for each pair
}

TEST_CASE("verdicts: the attested path counts as mutual TLS for strict policies") {
    Scene s;
    policy::Match no_identity;
    no_identity.principals.none_of = {{policy::StringMatch::Kind::Presence, {}}};
    s.put(spec("shop/p", policy::PolicyAction::Deny, {no_identity}));
    s.update();
    CHECK(s.verdict(1, 80) == "allow allowed_no_allow_policy");
}

TEST_CASE("verdicts: ports named positively and negatively have rows of their own where they differ") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Deny, {ports({22, 23}), ports({}, {80, 443, 23, 0, 15008})}));
    s.update();
    CHECK(s.verdict(1, 22) == "deny denied_by_policy shop/p 1");
    CHECK(s.verdict(1, 23) == "deny denied_by_policy shop/p 1");
    CHECK(s.verdict(1, 80) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 443) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 8080) == "deny denied_by_policy shop/p 2");
    CHECK(s.kernel.rows.size() == 12 + 4 * 5);
    CHECK(!s.kernel.rows.contains({1, 4, 15008}));  // the kernel refuses these before it looks
}

namespace {

NetworkPolicyRef shut_but(std::vector<PortRange> open, NetworkPolicy::Direction NetworkPolicy::* direction = &NetworkPolicy::ingress) {
    NetworkPolicy p;
    NetworkPolicy::Rule rule{.any_peer = true, .any_port = false, .peers = {}, .ports = {}};
    for (const PortRange& range : open) rule.ports.push_back({range, ""});
    (p.*direction).governed = true;
    (p.*direction).rules.push_back(rule);
    return std::make_shared<const NetworkPolicy>(p);
}

bool contains(const Ports& ports, uint16_t port) {
    return std::any_of(ports.begin(), ports.end(), [port](const PortRange& r) { return r.first <= port && port <= r.last; });
}

PodNetworkRef before(std::vector<NetworkPolicyRef> policies) { return {std::make_shared<const PodNetwork>(select_policies({}, policies))}; }

}  // namespace

TEST_CASE("verdicts: what a network policy would block takes the tunnel, what it leaves open goes on as the mesh says") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Deny, {ports({22, 80})}));
    for (LocalPod& pod : s.pods) pod.network = before({});
    s.update();
    const uint64_t judged = s.table.counts().judged;
    CHECK(s.verdict(1, 8080) == "allow allowed_no_allow_policy");

    s.pods[3].network = before({shut_but({{80, 80}, {8080, 8081}})});
    const VerdictChange change = s.update();
    CHECK(s.verdict(1, 8080) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 8081) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 8082) == "tunnel ok");
    CHECK(s.verdict(1, 22) == "deny denied_by_policy shop/p 1");  // by the mesh, whichever way
    CHECK(s.verdict(1, 80) == "deny denied_by_policy shop/p 1");
    CHECK(s.verdict(4, 8082) == "allow allowed_no_allow_policy");  // a pod and itself
    CHECK(s.verdict(4, 8082, 1) == "allow allowed_no_allow_policy");
    CHECK(s.table.counts().network_policy_pods == 1);
    CHECK(s.table.counts().network_policy_pairs == 3);
    CHECK_FALSE(change.narrowed.empty());
    CHECK(s.table.counts().judged - judged <= 7);  // its row and its column

    // What pod 1 may send, too.
    s.pods[0].network = before({shut_but({{8081, 9000}}, &NetworkPolicy::egress)});
    s.update();
    CHECK(s.verdict(1, 8080) == "tunnel ok");
    CHECK(s.verdict(1, 8081) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(2, 8080) == "allow allowed_no_allow_policy");
    CHECK(s.verdict(1, 8081, 2) == "tunnel ok");  // a range of more ports than a pair has rows for
    CHECK(s.table.counts().network_policy_pods == 2);
    CHECK(s.table.counts().network_policy_pairs == 5);

    // The same by value is no change.
    s.pods[3].network = {std::make_shared<const PodNetwork>(*s.pods[3].network.pod)};
    CHECK(s.update().ops.empty());

    for (LocalPod& pod : s.pods) pod.network = {};
    s.update();
    CHECK(s.verdict(1, 8082) == "allow allowed_no_allow_policy");
    CHECK(s.table.counts().network_policy_pods == 0);
}

TEST_CASE("verdicts: rows through a network policy say the same as asking it, port by port") {
    const auto row = [](uint8_t verdict, uint32_t rule) {
        wr_verdict_row r{};
        r.verdict = verdict;
        r.rule = rule;
        return r;
    };
    const std::vector<PairVerdicts> all = {{{0, row(WR_VERDICT_ALLOW, 0)}},
                                           {{0, row(WR_VERDICT_ALLOW, 0)}, {80, row(WR_VERDICT_DENY, 1)}, {443, row(WR_VERDICT_ALLOW, 2)}},
                                           {{0, row(WR_VERDICT_DENY, 0)}, {80, row(WR_VERDICT_ALLOW, 1)}, {443, row(WR_VERDICT_ALLOW, 2)}},
                                           {{0, row(WR_VERDICT_TUNNEL, 0)}, {80, row(WR_VERDICT_ALLOW, 1)}}};
    for (const PairVerdicts& pair : all)
        for (const Ports& open :
             {Ports{}, Ports{{80, 80}}, Ports{{79, 81}, {443, 444}}, Ports{{1, 64}}, Ports{{65535, 65535}}, Ports{{1, 65535}}}) {
            const PairVerdicts through = only_through(pair, open, 64);
            CHECK(through.front().port == 0);
            CHECK(std::is_sorted(through.begin(), through.end(), [](const auto& a, const auto& b) { return a.port < b.port; }));
            for (uint32_t port = 1; port <= 65535; ++port) {
                const auto p = static_cast<uint16_t>(port);
                if (policy::is_tunnel_port(p)) continue;
                const wr_verdict_row &was = verdict_of(pair, p), &is = verdict_of(through, p);
                const bool blocked = was.verdict == WR_VERDICT_ALLOW && !contains(open, p);
                const bool right = blocked ? is.verdict == WR_VERDICT_TUNNEL : same_row(was, is);
                if (!right) FAIL_CHECK("port " << port);
            }
        }
    // Ranges beyond the number of rows are left out whole.
    const PairVerdicts wide = only_through(all[0], {{1, 65}, {100, 163}, {200, 200}}, 64);
    CHECK(wide.size() == 65);
    CHECK(verdict_of(wide, 1).verdict == WR_VERDICT_TUNNEL);
    CHECK(verdict_of(wide, 163).verdict == WR_VERDICT_ALLOW);
    CHECK(verdict_of(wide, 200).verdict == WR_VERDICT_TUNNEL);
}

TEST_CASE("verdicts: source addresses are judged by family, and where the families differ the tunnel judges") {
    Scene s;
    for (uint32_t i : {0u, 3u}) s.pods[i].v6 = base::IpAddr::from_number(0xfd00'0000'0000'0000u, i + 1);
    policy::Match m;
    m.source_ips.any_of = {base::Cidr::parse("10.0.0.1/32").value()};
    s.put(spec("shop/p", policy::PolicyAction::Deny, {m}));
    const auto w = Scene::record(4);
    w->addresses = {base::IpAddr::v4(0x0a000004), base::IpAddr::from_number(0xfd00'0000'0000'0000u, 4)};
    policy::Batch batch;
    batch.workloads.push_back(w);
    s.mesh.apply(std::move(batch));
    s.update();
    CHECK(s.verdict(1, 80) == "tunnel ok");
    CHECK(s.verdict(2, 80) == "allow allowed_no_allow_policy");
    m.source_ips.any_of.push_back(base::Cidr::parse("fd00::1/128").value());
    s.put(spec("shop/p", policy::PolicyAction::Deny, {m}));
    s.update();
    CHECK(s.verdict(1, 80) == "deny denied_by_policy shop/p 1");
    s.pods[0].v4 = std::nullopt;
    s.pods[3].v6 = std::nullopt;
    s.update();
    CHECK(s.verdict(1, 80) == "tunnel ok");  // no family in common
}

TEST_CASE("verdicts: unknown records and switched-off paths go to the tunnel") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Deny, {from_account("a")}));
    policy::Batch batch;
    batch.removed_addresses = {MeshFixture::uid("shop/pod-2")};
    s.mesh.apply(std::move(batch));
    s.pods[2].same_node = SameNode::Encrypted;
    s.update();
    CHECK(s.verdict(2, 80) == "tunnel unknown_source");
    CHECK(s.verdict(1, 80, 2) == "tunnel unknown_destination");
    CHECK(s.verdict(3, 80) == "tunnel ok");
    CHECK(s.verdict(1, 80, 3) == "tunnel ok");
    CHECK(s.verdict(1, 80) == "deny denied_by_policy shop/p 1");
}

TEST_CASE("verdicts: one policy changed is judged for the destinations it selects, one workload for its own pairs") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Allow, {from_account("a")}));
    s.update();
    CHECK(s.table.counts().judged == 16);
    s.put(spec("shop/p", policy::PolicyAction::Allow, {from_account("b")}));
    VerdictChange change = s.update();
    CHECK(s.table.counts().judged == 16 + 4);
    CHECK(change.ops.size() == 2);
    REQUIRE(change.narrowed.size() == 1);
    CHECK(change.narrowed[0].source == 1);
    CHECK(change.narrowed[0].destination == 4);
    CHECK(change.narrowed[0].port == 0);
    CHECK(change.ops[0].key.source == 1);  // what is lost comes first
    CHECK(change.ops[0].row->verdict == WR_VERDICT_DENY);

    const auto w = Scene::record(1);
    w->trust_domain = Text("other");
    policy::Batch batch;
    batch.workloads.push_back(w);
    s.mesh.apply(std::move(batch));
    s.update();
    CHECK(s.table.counts().judged == 20 + 4);
    s.pods.erase(s.pods.begin());
    change = s.update();
    CHECK(s.table.counts().judged == 24);
    CHECK(s.kernel.rows.size() == 9);
    CHECK(change.narrowed.size() == 6);  // its pairs but the one that was denied
}

TEST_CASE("verdicts: policies that name too many ports, and pairs beyond the bound, leave it to the tunnel, counted") {
    SECTION("ports") {
        Scene s({.ports_per_pair = 3});
        s.put(spec("shop/p", policy::PolicyAction::Deny, {ports({1, 2, 3})}));
        s.update();
        CHECK(s.verdict(1, 2) == "deny denied_by_policy shop/p 1");
        CHECK(s.table.counts().too_many_ports == 0);
        s.put(spec("shop/p", policy::PolicyAction::Deny, {ports({1, 2, 3, 4})}));
        s.update();
        CHECK(s.verdict(1, 2) == "tunnel ok");
        CHECK(s.table.counts().too_many_ports == 4);
        CHECK(s.update().ops.empty());
        CHECK(s.table.counts().too_many_ports == 4);
    }
    SECTION("every port is named") {
        Scene s({.ports_per_pair = 100'000});
        std::vector<uint16_t> every;
        for (uint32_t p = 1; p < 65536; ++p) every.push_back(static_cast<uint16_t>(p));
        s.put(spec("shop/p", policy::PolicyAction::Deny, {ports(every)}));
        s.update();
        CHECK(s.verdict(1, 2) == "tunnel ok");
    }
    SECTION("rows") {
        Scene s({.rows = 10});
        s.update();
        CHECK(s.kernel.rows.size() == 10);
        CHECK(s.table.counts().beyond_limit == 6);
        CHECK(s.verdict(1, 80) == "none");
        s.pods.pop_back();
        s.update();
        CHECK(s.kernel.rows.size() == 9);
        CHECK(s.table.counts().beyond_limit == 0);
    }
}

TEST_CASE("verdicts: a port that keeps its verdict keeps it while port 0 turns") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Deny, {ports({22})}));
    s.update();
    s.put(spec("shop/p", policy::PolicyAction::Allow, {ports({80, 443})}));
    const VerdictChange change = s.update();  // the harness looks after every write
    REQUIRE(change.narrowed.size() == 4);
    for (const Narrowed& n : change.narrowed) CHECK(n.port == 0);
    CHECK(s.verdict(1, 80) == "allow allowed_by_policy shop/p 1");
    CHECK(s.verdict(1, 22) == "deny denied_no_allow_matched");
}

TEST_CASE("verdicts: ids of policies are never given twice, and names of old ones are dropped in the end") {
    PolicyIds ids;
    const uint32_t first = ids.id_of(Text("shop/first"));
    CHECK(first == 1);
    CHECK(ids.id_of(Text("shop/first")) == first);
    const auto published = ids.names();
    CHECK(published->at(first) == "shop/first");
    CHECK(ids.names() == published);
    for (size_t i = 0; i < PolicyIds::kFewest; ++i) ids.id_of(Text("shop/" + std::to_string(i)));
    policy::Mesh mesh;
    policy::Batch batch;
    batch.policies.emplace_back(spec("shop/first", policy::PolicyAction::Deny, {}));
    ids.sweep(*mesh.apply(std::move(batch)));
    CHECK(ids.size() == 1);
    CHECK(ids.names()->size() == 1);
    CHECK(published->size() == 1);
    REQUIRE(ids.name_of(first) != nullptr);
    CHECK(*ids.name_of(first) == "shop/first");
    CHECK(ids.name_of(2) == nullptr);
    CHECK(ids.name_of(0) == nullptr);
    CHECK(ids.id_of(Text("shop/1")) > PolicyIds::kFewest);
}

TEST_CASE("verdicts: a restarted agent goes on with the numbers of policies, and an old number never gets another's name") {
    PolicyIds before;
    const uint32_t gone = before.id_of(Text("shop/gone")), stays = before.id_of(Text("shop/stays"));
    const PolicyIds::Changes kept = before.take_changes();
    REQUIRE(kept.given.size() == 2);
    CHECK(before.take_changes().given.empty());
    PolicyIds after;
    after.resume(before.last(), kept.given);
    CHECK(after.names()->empty());
    CHECK(after.id_of(Text("shop/new")) > stays);
    CHECK(after.id_of(Text("shop/stays")) == stays);
    CHECK(after.names()->at(stays) == "shop/stays");
    CHECK_FALSE(after.names()->contains(gone));
    CHECK(after.take_changes().given.size() == 1);
}

TEST_CASE("rejudge: open connections end by policy, demand or doubt, and not because a path changed") {
    Scene s;
    s.put(spec("shop/p", policy::PolicyAction::Allow, {from_account("a")}));
    s.update();
    const auto ask = [&](uint32_t source, uint32_t destination = 4) {
        return rejudge(
            s.view,
            {source, destination, {base::IpAddr::v4(0x0a000000u + source), 40000}, {base::IpAddr::v4(0x0a000000u + destination), 80}});
    };
    CHECK(ask(1).judgement == Judgement::Keep);
    CHECK(ask(2).judgement == Judgement::Denied);
    CHECK(ask(2).decision.reason == policy::Reason::DeniedNoAllowMatched);
    CHECK(ask(9).judgement == Judgement::Gone);
    CHECK(ask(1, 9).judgement == Judgement::Gone);

    const auto w = Scene::record(4);
    w->waypoint = std::make_unique<const policy::GatewayAddress>(tests::gateway("10.0.9.9"));
    policy::Batch batch;
    batch.workloads.push_back(w);
    batch.removed_addresses = {MeshFixture::uid("shop/pod-3")};
    s.mesh.apply(std::move(batch));
    s.pods[0].same_node = SameNode::Off;
    s.update();
    CHECK(s.verdict(1, 80) == "tunnel ok");
    CHECK(ask(1).judgement == Judgement::Keep);
    CHECK(ask(2).judgement == Judgement::Denied);
    CHECK(ask(3).judgement == Judgement::Unknown);
    s.pods[0].same_node = SameNode::Encrypted;
    s.update();
    CHECK(ask(1).judgement == Judgement::Encrypted);
}
