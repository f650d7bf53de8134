// SPDX-License-Identifier: Apache-2.0
// Random batches against a model that keeps plain lists and answers every lookup by scanning them: the indexes are a function of the
// records and of who claimed an address first, whatever the history; and a snapshot once taken never changes.
#include "policy/random.h"
#include "tests/catch.h"
#include "tests/policy/mesh_builder.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

const std::vector<std::string> kNamespaces = {"a", "b", "c"};
const std::vector<std::string> kHosts = {"x.example", "y.example"};
const std::vector<std::string> kNetworks = {"", "n"};
const std::vector<std::string> kPrefixes = {"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.2/32", "::/0", "fd00::/64"};
const std::vector<std::string> kAddresses = {"10.1.0.1", "10.1.0.2", "10.2.0.1", "11.0.0.1", "fd00::1", "fd01::1"};

struct Model {
    std::map<std::string, WorkloadRef> workloads;
    std::map<std::string, ServiceRef> services;
    std::map<std::string, uint64_t> claims;  // "what by whom" -> when
    uint64_t clock = 0;

    // Gives new claims a time and forgets those that are no longer made.
    void settle() {
        std::set<std::string> made;
        for (const auto& [uid, w] : workloads)
            if (w->network_mode == NetworkMode::Standard)
                for (const base::IpAddr a : w->addresses)
                    made.insert("w " + NetworkAddress{w->network, a}.to_string() + " " + std::to_string(rank(*w)) + " " + uid);
        for (const auto& [key, s] : services) {
            for (const NetworkAddress& v : s->vips) made.insert("v " + v.to_string() + " " + key);
            for (const NetworkCidr& c : s->cidr_vips) made.insert("c " + c.network.str() + " " + c.cidr.to_string() + " " + key);
            made.insert("h " + s->hostname.str() + " " + key);
        }
        std::erase_if(claims, [&](const auto& claim) { return !made.contains(claim.first); });
        for (const std::string& m : made) claims.try_emplace(m, ++clock);
    }
    static int rank(const Workload& w) {
        return (w.uid.view().find("//Pod/") != std::string_view::npos ? 2 : 0) + (w.tunnel_protocol == TunnelProtocol::Hbone ? 1 : 0);
    }

    [[nodiscard]] std::string by_address(const NetworkAddress& address) const {
        std::tuple<int, uint64_t, std::string> best{-1, 0, ""};
        for (const auto& [uid, w] : workloads) {
            if (w->network_mode == NetworkMode::HostNetwork || !(w->network == address.network) || !w->has_address(address.ip)) continue;
            const uint64_t when = claims.at("w " + address.to_string() + " " + std::to_string(rank(*w)) + " " + uid);
            best = std::max(best, {rank(*w), when, uid});
        }
        return std::get<2>(best);
    }
    // The services that claim something, oldest first.
    [[nodiscard]] std::vector<ServiceRef> claimers(const std::string& what) const {
        std::vector<std::pair<uint64_t, ServiceRef>> found;
        for (const auto& [key, s] : services)
            if (const auto it = claims.find(what + " " + key); it != claims.end()) found.emplace_back(it->second, s);
        std::sort(found.begin(), found.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
        std::vector<ServiceRef> out;
        for (auto& [when, s] : found) out.push_back(s);
        return out;
    }
    [[nodiscard]] static std::string best(const std::vector<ServiceRef>& list, const Text* ns) {
        for (const ServiceRef& s : list)
            if (s->visible_to(ns) && ns != nullptr && s->ns == *ns) return s->key.str();
        std::string first, canonical;
        for (const ServiceRef& s : list) {
            if (!s->visible_to(ns)) continue;
            if (first.empty()) first = s->key.str();
            if (s->canonical) canonical = s->key.str();
        }
        return canonical.empty() ? first : canonical;
    }
    [[nodiscard]] std::string by_vip(const NetworkAddress& address, const Text* ns) const {
        if (std::string exact = best(claimers("v " + address.to_string()), ns); !exact.empty()) return exact;
        std::tuple<bool, int, bool> best_rank{false, -1, false};
        std::string found;
        for (const std::string& prefix : kPrefixes) {
            const base::Cidr c = cidr(prefix);
            if (!c.contains(address.ip)) continue;
            for (const ServiceRef& s : claimers("c " + address.network.str() + " " + c.to_string())) {
                const std::tuple<bool, int, bool> r{ns != nullptr && s->ns == *ns, static_cast<int>(c.length()), s->canonical};
                if (!s->visible_to(ns) || r <= best_rank) continue;
                best_rank = r;
                found = s->key.str();
            }
        }
        return found;
    }
    [[nodiscard]] std::set<std::string> members(const Text& key) const {
        std::set<std::string> out;
        for (const auto& [uid, w] : workloads)
            if (w->membership(key) != nullptr) out.insert(uid);
        return out;
    }
};

const std::string& pick(const std::vector<std::string>& of, Random& random) { return of[random.below(of.size())]; }

WorkloadRef random_workload(Random& random) {
    const std::string n = std::to_string(random.below(6));
    WorkloadSpec spec{.uid = (random.below(2) == 0 ? "c//Pod/" : "vm/") + n, .network = pick(kNetworks, random), .name = "name-" + n};
    for (uint64_t i = random.below(3); i > 0; --i) spec.addresses.push_back(pick(kAddresses, random));
    for (uint64_t i = random.below(3); i > 0; --i) spec.services.push_back(pick(kNamespaces, random) + '/' + pick(kHosts, random));
    spec.ns = pick(kNamespaces, random);
    spec.protocol = random.below(2) == 0 ? TunnelProtocol::Hbone : TunnelProtocol::None;
    spec.mode = random.below(5) == 0 ? NetworkMode::HostNetwork : NetworkMode::Standard;
    return workload(spec);
}

ServiceRef random_service(Random& random) {
    ServiceSpec spec{.ns = pick(kNamespaces, random), .hostname = pick(kHosts, random)};
    for (uint64_t i = random.below(3); i > 0; --i) spec.vips.push_back(at(pick(kNetworks, random), pick(kAddresses, random)));
    for (uint64_t i = random.below(3); i > 0; --i) spec.cidrs.push_back({Text(pick(kNetworks, random)), cidr(pick(kPrefixes, random))});
    spec.visibility = random.below(3) == 0 ? Visibility::Namespace : Visibility::Public;
    spec.canonical = random.below(3) == 0;
    return service(spec);
}

// Every answer a snapshot gives, for every question there is here.
template <class ByAddress, class ByVip, class ByHost, class Members>
std::string answers(ByAddress&& by_address, ByVip&& by_vip, ByHost&& by_host, Members&& members) {
    std::ostringstream out;
    const std::vector<Text> clients = {Text("a"), Text("b"), Text("c"), Text("other")};
    for (const std::string& network : kNetworks)
        for (const std::string& a : kAddresses) {
            out << network << '/' << a << " w=" << by_address(at(network, a)) << " -=" << by_vip(at(network, a), nullptr);
            for (const Text& ns : clients) out << ' ' << ns.view() << '=' << by_vip(at(network, a), &ns);
            out << '\n';
        }
    for (const std::string& host : kHosts)
        for (const Text& ns : clients) out << host << ' ' << ns.view() << '=' << by_host(host, &ns) << '\n';
    for (const std::string& ns : kNamespaces)
        for (const std::string& host : kHosts) {
            out << ns << '/' << host << ':';
            for (const std::string& uid : members(ns + '/' + host)) out << ' ' << uid;
            out << '\n';
        }
    return out.str();
}

std::string answers(const Snapshot& s) {
    return answers([&](const NetworkAddress& a) { return uid_of(s.workload(a)); },
                   [&](const NetworkAddress& a, const Text* ns) { return key_of(s.service_by_vip(a, ns)); },
                   [&](std::string_view host, const Text* ns) { return key_of(s.service_by_hostname(host, ns)); },
                   [&](const std::string& key) {
                       std::set<std::string> out;
                       const auto take = [&](const ServiceEntry& e) {
                           e.endpoints.for_each([&](const Text& uid, const Endpoint& endpoint) {
                               const bool current = endpoint.workload.get() == s.workload(uid) &&
                                                    endpoint.ports == &endpoint.workload->membership(Text(key))->ports;
                               out.insert(uid.str() + (current ? "" : " (stale)"));
                           });
                       };
                       if (const ServiceEntry* e = s.service(key)) take(*e);
                       s.each_staged([&](const Text& staged, const ServiceEntry& e) {
                           if (staged == key) take(e);
                       });
                       return out;
                   });
}

std::string answers(const Model& m) {
    return answers([&](const NetworkAddress& a) { return m.by_address(a); },
                   [&](const NetworkAddress& a, const Text* ns) { return m.by_vip(a, ns); },
                   [&](std::string_view host, const Text* ns) { return Model::best(m.claimers("h " + std::string(host)), ns); },
                   [&](const std::string& key) { return m.members(Text(key)); });
}

}  // namespace

TEST_CASE("mesh: random batches agree with a model that scans, and snapshots never change") {
    Mesh mesh;
    Model model;
    Random random(11);
    std::vector<std::pair<std::shared_ptr<const Snapshot>, std::string>> kept;
    for (int round = 0; round < 1'500; ++round) {
        Batch batch;
        for (uint64_t i = random.below(3); i > 0; --i) batch.workloads.push_back(random_workload(random));
        for (uint64_t i = random.below(3); i > 0; --i) batch.services.push_back(random_service(random));
        if (random.below(2) == 0) batch.removed_addresses.push_back(random_workload(random)->uid.str());
        if (random.below(2) == 0) batch.removed_addresses.push_back(random_service(random)->key.str());
        for (const WorkloadRef& w : batch.workloads) model.workloads[w->uid.str()] = w, model.settle();
        for (const ServiceRef& s : batch.services) model.services[s->key.str()] = s, model.settle();
        for (const std::string& name : batch.removed_addresses) model.workloads.erase(name), model.services.erase(name), model.settle();
        const auto snapshot = mesh.apply(std::move(batch));
        const std::string got = answers(*snapshot);
        if (got != answers(model)) {
            CHECK(got == answers(model));
            FAIL("in round " << round);
        }
        snapshot->each_staged([&](const Text&, const ServiceEntry& e) { CHECK_FALSE(e.endpoints.empty()); });
        CHECK(snapshot->workload_count() == model.workloads.size());
        CHECK(snapshot->service_count() == model.services.size());
        if (round % 50 == 0) kept.emplace_back(snapshot, got);
    }
    for (const auto& [snapshot, then] : kept) CHECK(answers(*snapshot) == then);
}
