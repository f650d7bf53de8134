// SPDX-License-Identifier: Apache-2.0
// Random nodes against the tunnel's own functions: whatever a row says about going direct is what route, inbound and decide say about the
// same connection; and random changes, applied a row at a time, end where a table made from nothing starts.
#include "agent/node/rejudge.h"
#include "policy/random.h"
#include "tests/agent/node/verdict_harness.h"
#include "tests/policy/rbac_case.h"

#include <array>

using namespace warren;
using namespace warren::node;

namespace {

using policy::Text;

constexpr std::array<const char*, 3> kDomains = {"td", "other", ""};
constexpr std::array<const char*, 4> kNamespaces = {"app", "ops", "prod", "apps"};
constexpr std::array<const char*, 3> kAccounts = {"web", "job", "b"};
constexpr std::array<uint16_t, 8> kPorts = {8080, 80, 9090, 15088, 65535, 8081, 12345, 20003};
constexpr uint32_t kPods = 6;

class RandomNode {
  public:
    explicit RandomNode(uint64_t seed) : random_(seed), seed_(seed) {
        settings.network = Text(one_in(2) ? "net" : "");
        settings.node = "node-a";
        if (one_in(6)) settings.same_node = SameNodeRules::make(SameNode::Direct, {{"ops", "", SameNode::Encrypted}}).value();
        for (uint32_t i = 1; i <= kPods; ++i)
            if (!one_in(6)) pods[i] = pod(i);
        policy::Batch batch;
        for (uint32_t i = 1; i <= kPods; ++i)
            if (!one_in(10)) batch.workloads.push_back(record(i));
        for (auto& p : policies(3 + below(4))) batch.policies.push_back(std::move(p));
        if (one_in(4)) batch.services.push_back(service());
        snapshot = mesh.apply(std::move(batch));
    }

    // A policy, a record, a pod or several.
    void change() {
        policy::Batch batch;
        for (uint32_t n = 1 + below(3); n > 0; --n) {
            const uint32_t i = 1 + below(kPods);
            switch (below(8)) {
                case 0: batch.workloads.push_back(record(i)); break;
                case 1: batch.removed_addresses.push_back(uid(i)); break;
                case 2: batch.services.push_back(service()); break;
                case 3: batch.removed_policies.push_back("ns/p" + std::to_string(below(7))); break;
                case 4: pods.erase(i); break;
                case 5: pods[i] = pod(i); break;
                default:
                    for (auto& p : policies(1)) batch.policies.push_back(std::move(p));
            }
        }
        snapshot = mesh.apply(std::move(batch));
    }

    [[nodiscard]] std::vector<LocalPod> list() const {
        std::vector<LocalPod> out;
        for (const auto& [id, p] : pods) out.push_back(p);
        return out;
    }

    MeshSettings settings;
    std::map<uint32_t, LocalPod> pods;
    policy::Mesh mesh;
    std::shared_ptr<const policy::Snapshot> snapshot;

  private:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_.below(n)); }
    bool one_in(uint32_t n) { return below(n) == 0; }
    static std::string uid(uint32_t i) { return "Kubernetes//Pod/x/pod-" + std::to_string(i); }
    static base::IpAddr v4(uint32_t i) { return base::IpAddr::v4(0x0a000000u + i); }
    static base::IpAddr v6(uint32_t i) { return base::IpAddr::from_number(0xfd00'0000'0000'0000u, i); }
    // Of every pod always the same, so that its record and the pod agree unless something is made to differ.
    static Text ns(uint32_t i) { return Text(kNamespaces[i % kNamespaces.size()]); }
    static Text account(uint32_t i) { return Text(kAccounts[i / 2 % kAccounts.size()]); }

    LocalPod pod(uint32_t i) {
        LocalPod p;
        p.id = i;
        p.flags = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;
        if (one_in(10)) p.flags &= ~static_cast<uint32_t>(one_in(2) ? WR_POD_DIRECT : WR_POD_INBOUND);
        p.name = Text("pod-" + std::to_string(i));
        p.ns = ns(i);
        p.service_account = account(i);
        if (!one_in(5)) p.v4 = v4(i);
        if (!p.v4 || one_in(2)) p.v6 = v6(i);
        if (one_in(12)) p.same_node = one_in(2) ? SameNode::Off : SameNode::Encrypted;
        return p;
    }

    policy::WorkloadRef record(uint32_t i) {
        const auto w = policy::make_ref<policy::Workload>();
        w->uid = Text(uid(i));
        w->name = Text("pod-" + std::to_string(i));
        w->ns = ns(i);
        w->service_account = one_in(20) ? Text("someone") : account(i);
        w->trust_domain = Text(kDomains[below(3)]);
        w->node = Text(one_in(20) ? "node-b" : "node-a");
        w->network = one_in(20) ? Text("elsewhere") : settings.network;
        w->addresses = {v4(one_in(20) ? 1 + below(kPods) : i), v6(i)};
        w->tunnel_protocol = one_in(12) ? policy::TunnelProtocol::None : policy::TunnelProtocol::Hbone;
        w->network_mode = one_in(30) ? policy::NetworkMode::HostNetwork : policy::NetworkMode::Standard;
        w->status = one_in(4) ? policy::Health::Unhealthy : policy::Health::Healthy;
        if (one_in(12))
            w->waypoint = std::make_unique<const policy::GatewayAddress>(
                policy::GatewayAddress{policy::NetworkAddress{settings.network, v4(1 + below(kPods))}, 15008});
        if (one_in(15))
            w->application_tunnel = std::make_unique<const policy::ApplicationTunnel>(
                policy::ApplicationTunnel{one_in(2) ? policy::AppTunnelProtocol::Proxy : policy::AppTunnelProtocol::None, 8080});
        std::vector<Text> listed;
        for (uint32_t n = below(3); n > 0; --n) listed.emplace_back("ns/p" + std::to_string(below(7)));
        w->authorization_policies = policy::Array<Text>(std::move(listed));
        return w;
    }

    policy::ServiceRef service() {
        const auto s = policy::make_ref<policy::Service>();
        s->key = Text("app/svc.example");
        s->ns = Text("app");
        s->hostname = Text("svc.example");
        s->vips = {policy::NetworkAddress{settings.network, one_in(3) ? v4(1 + below(kPods)) : v4(200)}};
        s->ports = {policy::ServicePort{80, 8080}};
        return s;
    }

    // Of the world that the engines are compared in, put into scopes.
    std::vector<std::variant<policy::PolicySpec, policy::PolicyRefusal>> policies(uint32_t most) {
        std::vector<std::variant<policy::PolicySpec, policy::PolicyRefusal>> out;
        const tests::RbacCase c = tests::make_rbac_case(tests::random_bytes(seed_ * 1000 + ++round_, 300 + below(1200)));
        for (const auto& generated : c.policies) {
            if (out.size() == most) break;
            auto p = generated;
            std::visit(
                [&](auto& spec) {
                    spec.key = Text("ns/p" + std::to_string(below(7)));
                    spec.ns = Text(kNamespaces[below(4)]);
                    spec.scope = static_cast<policy::Scope>(below(3));
                },
                p);
            out.push_back(std::move(p));
        }
        return out;
    }

    policy::Random random_;
    uint64_t seed_;
    uint64_t round_ = 0;
};

struct Tally {
    std::array<size_t, 4> verdicts{};
    size_t direct = 0;
};

// Every connection of the node, against the tunnel.
void check_against_tunnel(const RandomNode& n, const MeshView& view, const tests::RowMap& kernel, const PolicyIds& ids, Tally& tally) {
    for (const auto& [from_id, from] : n.pods)
        for (const auto& [to_id, to] : n.pods)
            for (const bool v6 : {false, true}) {
                const auto& src = v6 ? from.v6 : from.v4;
                const auto& dst = v6 ? to.v6 : to.v4;
                if (!src || !dst) continue;
                const Member* s = view.find(from_id);
                const Member* d = view.find(to_id);
                REQUIRE((s != nullptr && d != nullptr));
                for (const uint16_t port : kPorts) {
                    const auto row = kernel.lookup(from_id, to_id, port);
                    INFO(from_id << " -> " << to_id << ":" << port << (v6 ? " IPv6" : " IPv4") << " " << to_string(s->as_source) << " "
                                 << to_string(d->as_destination));
                    REQUIRE(row);
                    ++tally.verdicts[row->verdict];
                    const base::SockAddr client{*src, 40000}, server{*dst, port};
                    const auto tunnel = tests::ask_tunnel(*n.snapshot, n.settings, from, to, client, server);
                    if (row->verdict == WR_VERDICT_TUNNEL) continue;
                    REQUIRE(tunnel.plain_hbone);
                    REQUIRE((row->verdict == WR_VERDICT_ALLOW) == tunnel.decision.allowed);
                    const Rejudged again = rejudge(view, {from_id, to_id, client, server});
                    REQUIRE((again.judgement == Judgement::Keep) == tunnel.decision.allowed);
                    // Who decided may differ between the families, whose rows are one.
                    if (from.v4 && from.v6 && to.v4 && to.v6 && v6) continue;
                    REQUIRE(row->reason == static_cast<uint8_t>(tunnel.decision.reason));
                    const Text* name = ids.name_of(row->policy);
                    REQUIRE((tunnel.decision.policy != nullptr) == (row->policy != 0));
                    if (row->policy != 0) REQUIRE((name != nullptr && *name == tunnel.decision.policy->key()));
                    tally.direct += row->verdict == WR_VERDICT_ALLOW;
                }
            }
}

// What goes to the tunnel although the tunnel would deliver straight has one of the reasons that are stated.
void check_not_lazy(const RandomNode& n, const MeshView& view, const tests::RowMap& kernel) {
    for (const Member& s : view.members())
        for (const Member& d : view.members()) {
            if (s.as_source != NotDirect::No || d.as_destination != NotDirect::No) continue;
            for (const uint16_t port : kPorts) {
                const auto row = kernel.lookup(s.pod.id, d.pod.id, port);
                if (row->verdict != WR_VERDICT_TUNNEL) continue;
                std::set<bool> answers;
                const auto ask = [&](const auto& from, const auto& to) {
                    if (from && to)
                        answers.insert(tests::ask_tunnel(*n.snapshot, n.settings, s.pod, d.pod, {*from, 1}, {*to, port}).decision.allowed);
                };
                ask(s.pod.v4, d.pod.v4);
                ask(s.pod.v6, d.pod.v6);
                INFO(s.pod.id << " -> " << d.pod.id << ":" << port);
                REQUIRE(answers.size() != 1);
            }
        }
}

}  // namespace

TEST_CASE("verdicts: rows, policy and the tunnel's functions agree on random nodes, through random changes") {
    Tally tally;
    for (uint64_t seed = 1; seed <= 400; ++seed) {
        RandomNode n(seed);
        MeshView view(n.settings);
        VerdictTable table({.ports_per_pair = 5000});
        tests::RowMap kernel;
        for (int round = 0; round < 6; ++round) {
            INFO("seed " << seed << " round " << round);
            if (round > 0) n.change();
            view.update(n.snapshot, n.list());
            const tests::RowMap before = kernel;
            const VerdictChange change = table.update(view);
            tests::write_watched(kernel, change);
            check_against_tunnel(n, view, kernel, table.policy_ids(), tally);
            check_not_lazy(n, view, kernel);

            // Nothing left to do, and nothing that a table made from nothing would do otherwise.
            REQUIRE(table.update(view).ops.empty());
            tests::RowMap whole;
            for (const VerdictOp& op : table.all()) whole.write(op);
            REQUIRE(whole.rows.size() == kernel.rows.size());
            REQUIRE(table.counts().rows == kernel.rows.size());
            for (const auto& [key, row] : kernel.rows) REQUIRE(same_row(whole.rows.at(key), row));
            MeshView other_view(n.settings);
            other_view.update(n.snapshot, n.list());
            VerdictTable other({.ports_per_pair = 5000});
            other.policy_ids() = table.policy_ids();
            other.update(other_view);
            for (const auto& [key, row] : kernel.rows)
                REQUIRE(tests::equal(other.lookup(std::get<0>(key), std::get<1>(key), std::get<2>(key)), row));
            REQUIRE(other.counts().rows == kernel.rows.size());

            // What was allowed and is not stands in the list, and nothing else.
            std::set<std::tuple<uint32_t, uint32_t, uint16_t>> narrowed;
            for (const Narrowed& x : change.narrowed) narrowed.insert({x.source, x.destination, x.port});
            REQUIRE(narrowed.size() == change.narrowed.size());
            for (uint32_t s = 1; s <= kPods; ++s)
                for (uint32_t d = 1; d <= kPods; ++d) {
                    std::set<uint16_t> named = tests::ports_of(before, s, d);
                    named.merge(tests::ports_of(kernel, s, d));
                    for (const uint16_t port : named) {
                        const auto was = before.lookup(s, d, port), is = kernel.lookup(s, d, port);
                        const bool lost = was && was->verdict == WR_VERDICT_ALLOW && !(is && is->verdict == WR_VERDICT_ALLOW);
                        const uint16_t as = port == 54321 ? uint16_t{0} : port;
                        INFO(s << " -> " << d << ":" << port);
                        REQUIRE(narrowed.contains({s, d, as}) == lost);
                    }
                }
        }
    }
    CHECK(tally.verdicts[WR_VERDICT_ALLOW] > 20'000);
    CHECK(tally.verdicts[WR_VERDICT_DENY] > 20'000);
    CHECK(tally.verdicts[WR_VERDICT_TUNNEL] > 20'000);
}
