// SPDX-License-Identifier: Apache-2.0
#include "agent/node/verdict_table.h"

#include "agent/node/verdict_diff.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace warren::node {

namespace {

// Destinations that no rule can tell apart.
struct Group {
    explicit Group(const policy::PolicySet& set) : subjects(set) {}
    SetSubjects subjects;
    std::vector<PairRef> by_class;  // of the source; unused where rules look at addresses
};

// Sources of one identity are one class: by number, in the order of members.
std::vector<size_t> classes_of(const std::vector<Member>& members) {
    std::map<std::tuple<std::string_view, std::string_view, std::string_view>, size_t> known;
    std::vector<size_t> classes;
    classes.reserve(members.size());
    for (const Member& m : members) {
        const policy::Identity& who = m.identity;
        classes.push_back(known.try_emplace({who.trust_domain(), who.ns(), who.service_account()}, known.size()).first->second);
    }
    return classes;
}

policy::Reason reason_of(NotDirect source, NotDirect destination) {
    if (source == NotDirect::UnknownWorkload) return policy::Reason::UnknownSource;
    if (destination == NotDirect::UnknownWorkload) return policy::Reason::UnknownDestination;
    return policy::Reason::Ok;
}

// fn(const T* before, const T* now) for every id of two lists sorted by it; null where a list has none.
template <class T, class Fn>
void each_of_both(const std::vector<T>& before, const std::vector<T>& now, uint32_t T::* id, Fn&& fn) {
    auto a = before.begin(), b = now.begin();
    while (a != before.end() || b != now.end()) {
        const bool gone = b == now.end() || (a != before.end() && (*a).*id < (*b).*id);
        const bool fresh = !gone && (a == before.end() || (*b).*id < (*a).*id);
        fn(fresh ? nullptr : &*a++, gone ? nullptr : &*b++);
    }
}

template <class List, class Id>
auto find_by(List& list, Id id, uint32_t List::value_type::* field) {
    const auto at = std::lower_bound(list.begin(), list.end(), id, [&](const auto& item, Id wanted) { return item.*field < wanted; });
    return at != list.end() && (*at).*field == id ? &*at : nullptr;
}

}  // namespace

// One update: computes the next columns, reusing cells of the last ones.
class VerdictTable::Update {
  public:
    Update(VerdictTable& table, const MeshView& view) : table_(table), view_(view), classes_(classes_of(view.members())) {}

    Column column(const Member& to) {
        Column out{to.pod.id, to.destination_version, false, {}};
        const Column* before = find_by(table_.columns_, to.pod.id, &Column::destination);
        const bool same = before != nullptr && before->version == to.destination_version;
        out.too_many_ports = same && before->too_many_ports;
        out.cells.reserve(view_.members().size());
        size_t at = 0;
        for (size_t source = 0; source < view_.members().size(); ++source) {
            const Member& from = view_.members()[source];
            const auto* cells = same ? &before->cells : nullptr;
            while (cells != nullptr && at < cells->size() && (*cells)[at].source < from.pod.id) ++at;
            const bool there = cells != nullptr && at < cells->size() && (*cells)[at].source == from.pod.id;
            if (there && (*cells)[at].version == from.source_version && (*cells)[at].verdicts) {
                out.cells.push_back((*cells)[at]);
            } else {
                Cell cell{from.pod.id, kNothing, from.source_version, verdicts(source, to, out)};
                through_network(from, to, cell);
                out.cells.push_back(std::move(cell));
            }
        }
        return out;
    }

  private:
    PairRef verdicts(size_t source, const Member& to, Column& column) {
        const Member& from = view_.members()[source];
        ++table_.counts_.judged;
        if (from.as_source != NotDirect::No || to.as_destination != NotDirect::No)
            return tunnel(reason_of(from.as_source, to.as_destination));
        Group& group = group_of(to);
        if (group.subjects.ports.size() > table_.limits_.ports_per_pair) {
            column.too_many_ports = true;
            return tunnel(policy::Reason::Ok);
        }
        if (group.subjects.source_ips || group.subjects.destination_ips) return judge(from, to, group);
        group.by_class.resize(classes_.size());
        PairRef& shared = group.by_class[classes_[source]];
        if (!shared) shared = judge(from, to, group);
        return shared;
    }

    // What NetworkPolicies would block of the direct path takes the tunnel. Pairs with the same verdicts and the same open ports share
    // rows.
    void through_network(const Member& from, const Member& to, Cell& cell) {
        const PodNetwork *source = from.pod.network.pod.get(), *destination = to.pod.network.pod.get();
        const bool direct = from.as_source == NotDirect::No && to.as_destination == NotDirect::No;
        if (!direct || source == nullptr || destination == nullptr || from.pod.id == to.pod.id) return;
        OpenPorts open = open_ports(*source, *destination);
        if (all_ports(open.ports)) return;
        cell.shut = static_cast<uint8_t>((open.ingress ? kIngress : kNothing) | (open.egress ? kEgress : kNothing));
        auto& [whole, rows] = narrowed_[{cell.verdicts.get(), open.ports}];
        if (!rows) {
            whole = cell.verdicts;
            rows = std::make_shared<const PairVerdicts>(only_through(*whole, open.ports, table_.limits_.ports_per_pair));
        }
        cell.verdicts = rows;
    }

    PairRef judge(const Member& from, const Member& to, const Group& group) {
        return std::make_shared<const PairVerdicts>(judge_pair(from, to, group.subjects, table_.ids_));
    }

    PairRef tunnel(policy::Reason reason) {
        PairRef& shared = tunnels_[reason];
        if (!shared) shared = std::make_shared<const PairVerdicts>(tunnel_verdicts(reason));
        return shared;
    }

    Group& group_of(const Member& to) {
        std::unique_ptr<Group>& group = groups_[to.policies.get()];
        if (!group) group = std::make_unique<Group>(*to.policies);
        return *group;
    }

    VerdictTable& table_;
    const MeshView& view_;
    const std::vector<size_t> classes_;
    std::unordered_map<const policy::PolicySet*, std::unique_ptr<Group>> groups_;
    std::map<policy::Reason, PairRef> tunnels_;
    // By verdicts and open ports; keeps the former, so that no other has their address.
    std::map<std::pair<const PairVerdicts*, Ports>, std::pair<PairRef, PairRef>> narrowed_;
};

// fn(PairChange&&) for every pair whose rows differ.
template <class Fn>
void VerdictTable::each_change(const std::vector<Column>& before, const std::vector<Column>& now, Fn&& fn) {
    static const std::vector<Cell> none;
    each_of_both(before, now, &Column::destination, [&](const Column* was, const Column* is) {
        const uint32_t destination = was != nullptr ? was->destination : is->destination;
        each_of_both(was != nullptr ? was->cells : none, is != nullptr ? is->cells : none, &Cell::source,
                     [&](const Cell* a, const Cell* b) {
                         PairChange change{a != nullptr ? a->source : b->source, destination, a != nullptr ? a->verdicts : nullptr,
                                           b != nullptr ? b->verdicts : nullptr};
                         if (!change.empty()) fn(std::move(change));
                     });
    });
}

VerdictChange VerdictTable::update(const MeshView& view) {
    if (view.version() == view_version_ && counts_.beyond_limit == 0) return {};
    view_version_ = view.version();
    std::vector<Column> next;
    next.reserve(view.members().size());
    {
        Update update(*this, view);
        for (const Member& to : view.members()) next.push_back(update.column(to));
    }
    const std::vector<Column> before = std::exchange(columns_, std::move(next));
    bound();

    VerdictChange out;
    std::vector<PairChange> widening;
    each_change(before, columns_, [&](PairChange&& change) {
        if (append_narrowed(change, out.narrowed) || !change.now) {
            append_ops(change, out.ops);
        } else {
            widening.push_back(std::move(change));
        }
    });
    for (const PairChange& change : widening) append_ops(change, out.ops);
    ids_.sweep(view.snapshot());
    return out;
}

void VerdictTable::bound() {
    const uint64_t judged = counts_.judged;
    counts_ = {};
    counts_.judged = judged;
    std::set<uint32_t> shut;
    for (Column& column : columns_) {
        if (column.too_many_ports) counts_.too_many_ports += column.cells.size();
        for (Cell& cell : column.cells) {
            if (counts_.rows + cell.verdicts->size() > limits_.rows) {
                cell.verdicts = nullptr;
                ++counts_.beyond_limit;
                continue;
            }
            counts_.rows += cell.verdicts->size();
            ++counts_.pairs;
            counts_.network_policy_pairs += cell.shut != kNothing ? 1 : 0;
            if ((cell.shut & kIngress) != 0) shut.insert(column.destination);
            if ((cell.shut & kEgress) != 0) shut.insert(cell.source);
        }
    }
    counts_.network_policy_pods = shut.size();
}

std::vector<VerdictOp> VerdictTable::all() const {
    std::vector<VerdictOp> ops;
    ops.reserve(counts_.rows);
    for (const Column& column : columns_)
        for (const Cell& cell : column.cells)
            if (cell.verdicts) append_ops({cell.source, column.destination, nullptr, cell.verdicts}, ops);
    return ops;
}

std::optional<wr_verdict_row> VerdictTable::lookup(uint32_t source, uint32_t destination, uint16_t port) const {
    const Column* column = find_by(columns_, destination, &Column::destination);
    const Cell* cell = column != nullptr ? find_by(column->cells, source, &Cell::source) : nullptr;
    if (cell == nullptr || !cell->verdicts) return std::nullopt;
    return verdict_of(*cell->verdicts, port);
}

}  // namespace warren::node
