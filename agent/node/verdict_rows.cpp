// SPDX-License-Identifier: Apache-2.0
#include "agent/node/verdict_rows.h"

#include "agent/node/map_rows.h"
#include "policy/route.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace warren::node {

namespace {

wr_verdict_row tunnel_row(policy::Reason reason) {
    wr_verdict_row row{};
    row.verdict = WR_VERDICT_TUNNEL;
    row.reason = static_cast<uint8_t>(reason);
    return row;
}

wr_verdict_row row_of(const policy::Decision& d, PolicyIds& ids) {
    wr_verdict_row row{};
    row.verdict = d.allowed ? WR_VERDICT_ALLOW : WR_VERDICT_DENY;
    row.reason = static_cast<uint8_t>(d.reason);
    if (d.policy == nullptr) return row;
    row.policy = ids.id_of(d.policy->key());
    const bool by_rule = d.reason == policy::Reason::AllowedByPolicy || d.reason == policy::Reason::DeniedByPolicy;
    row.rule = by_rule ? d.rule + 1 : 0;
    return row;
}

// The addresses that a connection between the two can have: one pair for each common family.
struct AddressPair {
    base::IpAddr source, destination;
};
std::vector<AddressPair> address_pairs(const LocalPod& source, const LocalPod& destination) {
    std::vector<AddressPair> pairs;
    if (source.v4 && destination.v4) pairs.push_back({*source.v4, *destination.v4});
    if (source.v6 && destination.v6) pairs.push_back({*source.v6, *destination.v6});
    return pairs;
}

}  // namespace

const wr_verdict_row& verdict_of(const PairVerdicts& pair, uint16_t port) {
    const auto at = std::lower_bound(pair.begin(), pair.end(), port, [](const PortVerdict& v, uint16_t p) { return v.port < p; });
    return at != pair.end() && at->port == port ? at->row : pair.front().row;
}

bool same_verdicts(const PairVerdicts& a, const PairVerdicts& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const PortVerdict& x, const PortVerdict& y) { return x.port == y.port && same_row(x.row, y.row); });
}

PairVerdicts tunnel_verdicts(policy::Reason reason) { return {{0, tunnel_row(reason)}}; }

SetSubjects::SetSubjects(const policy::PolicySet& set) {
    for (const policy::PolicyRef& p : set.policies()) {
        if (p->dry_run() || p->refused()) continue;
        for (const policy::Rule& rule : p->spec().rules)
            for (const policy::Clause& clause : rule)
                for (const policy::Match& match : clause) {
                    const auto& named = match.destination_ports;
                    ports.insert(ports.end(), named.any_of.begin(), named.any_of.end());
                    ports.insert(ports.end(), named.none_of.begin(), named.none_of.end());
                    source_ips = source_ips || !match.source_ips.empty();
                    destination_ips = destination_ips || !match.destination_ips.empty();
                }
    }
    std::sort(ports.begin(), ports.end());
    ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
    for (uint32_t port = 65535; port > 0 && other == 0; --port)
        if (!std::binary_search(ports.begin(), ports.end(), static_cast<uint16_t>(port))) other = static_cast<uint16_t>(port);
    std::erase_if(ports, [](uint16_t port) { return port == 0 || policy::is_tunnel_port(port); });
}

PairVerdicts judge_pair(const Member& source, const Member& destination, const SetSubjects& subjects, PolicyIds& ids) {
    if (subjects.other == 0) return tunnel_verdicts(policy::Reason::Ok);
    std::vector<AddressPair> families = address_pairs(source.pod, destination.pod);
    if (!subjects.source_ips && !subjects.destination_ips) families.assign(1, AddressPair{});
    if (families.empty()) return tunnel_verdicts(policy::Reason::Ok);
    const auto judge = [&](uint16_t port) {
        std::optional<wr_verdict_row> row;
        for (const AddressPair& a : families) {
            const policy::Connection connection{{a.source, 0}, {a.destination, port}, &source.identity};
            const wr_verdict_row one = row_of(destination.policies->decide(connection), ids);
            if (row && row->verdict != one.verdict) return tunnel_row(policy::Reason::Ok);
            if (!row) row = one;
        }
        return *row;
    };
    PairVerdicts out{{0, judge(subjects.other)}};
    for (const uint16_t port : subjects.ports) {
        const wr_verdict_row row = judge(port);
        if (!same_row(row, out.front().row)) out.push_back({port, row});
    }
    return out;
}

PairVerdicts only_through(const PairVerdicts& pair, const Ports& open, size_t most) {
    if (all_ports(open)) return pair;
    std::vector<uint16_t> direct;
    for (const PortRange& range : open) {
        const size_t size = size_t{range.last} - range.first + 1;
        if (direct.size() + size > most) continue;
        for (uint32_t port = range.first; port <= range.last; ++port) direct.push_back(static_cast<uint16_t>(port));
    }
    std::erase_if(direct, policy::is_tunnel_port);
    const auto through = [&](uint16_t port) {
        const wr_verdict_row& row = verdict_of(pair, port);
        const bool goes = row.verdict != WR_VERDICT_ALLOW || std::binary_search(direct.begin(), direct.end(), port);
        return goes ? row : tunnel_row(policy::Reason::Ok);
    };
    std::vector<uint16_t> ports = direct;
    for (const PortVerdict& v : pair) ports.push_back(v.port);
    std::sort(ports.begin(), ports.end());
    ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
    PairVerdicts out{{0, through(0)}};
    for (const uint16_t port : ports) {
        if (port == 0) continue;
        const wr_verdict_row row = through(port);
        if (!same_row(row, out.front().row)) out.push_back({port, row});
    }
    return out;
}

}  // namespace warren::node
