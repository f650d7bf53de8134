// SPDX-License-Identifier: Apache-2.0
// PolicyTable: the policies of one snapshot by key and by what they select, and the decision sets built from them so far (data-plane
// contract 7.1). Immutable but for that cache; a change makes the next table, which inherits every set the change cannot be part of.
//
// Threads: next() belongs to the writer of the mesh. Everything else may be called from any thread; set_for takes a mutex for a hash
// lookup and builds outside it.
#pragma once

#include "base/persistent_map.h"
#include "policy/authorization.h"
#include "policy/evaluate.h"
#include "policy/workload.h"

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace warren::policy {

using PolicyUpdate = std::variant<PolicySpec, PolicyRefusal>;

class PolicyTable {
  public:
    PolicyTable() = default;
    PolicyTable(const PolicyTable&) = delete;

    // The table after these changes; the same one when they change nothing. A refusal of a policy that is in force leaves it so and is
    // only remembered; a refusal of an unknown one stands in its place, so that what it would have selected denies.
    static std::shared_ptr<const PolicyTable> next(const std::shared_ptr<const PolicyTable>& now, std::vector<PolicyUpdate> updates,
                                                   std::span<const std::string> removed);

    [[nodiscard]] PolicyRef find(std::string_view key) const;
    [[nodiscard]] size_t size() const noexcept { return by_key_.size(); }
    template <class Fn>
    void for_each(Fn&& fn) const {
        by_key_.for_each([&](const Text&, const PolicyRef& p) { fn(*p); });
    }
    // Key and reason of every policy whose last version was refused, by key.
    [[nodiscard]] std::vector<std::pair<Text, std::string>> refusals() const;

    // The set that decides for a workload: those of its namespace by key, the global ones by key, then those it lists as listed. Shared
    // by all workloads of that namespace with the same list, and across namespaces that have no policy of their own.
    [[nodiscard]] std::shared_ptr<const PolicySet> set_for(const Workload& workload) const;
    [[nodiscard]] size_t cached_sets() const;

  private:
    using Bucket = base::PersistentMap<Text, PolicyRef>;

    struct SetKey {
        Text ns;  // empty: only the global ones
        Array<Text> list;
        bool operator==(const SetKey&) const = default;
    };
    struct SetProbe {
        const Text& ns;
        const Array<Text>& list;
    };
    struct SetHash {
        using is_transparent = void;
        size_t operator()(const SetKey& k) const noexcept { return (*this)(SetProbe{k.ns, k.list}); }
        size_t operator()(const SetProbe& k) const noexcept;
    };
    struct SetEqual {
        using is_transparent = void;
        bool operator()(const SetKey& a, const SetKey& b) const { return a == b; }
        bool operator()(const SetProbe& a, const SetKey& b) const { return a.ns == b.ns && a.list == b.list; }
        bool operator()(const SetKey& a, const SetProbe& b) const { return (*this)(b, a); }
    };
    // What the changes so far can be part of.
    struct Touched {
        std::unordered_set<Text> keys;
        std::unordered_set<Text> namespaces;  // the empty one: every set
        bool refusals = false;
    };

    void update(PolicyUpdate&& update, Touched& touched);
    void put(PolicyRef policy, Touched& touched);
    void remove(std::string_view key, Touched& touched);
    void leave_bucket(const Policy& policy, Touched& touched);
    void inherit(const PolicyTable& from, const Touched& touched);
    [[nodiscard]] std::shared_ptr<const PolicySet> build(const Text& ns, const Array<Text>& list) const;
    void sweep() const;

    Bucket by_key_;
    base::PersistentMap<Text, Bucket> scopes_;         // by namespace; the empty one holds the global ones
    base::PersistentMap<Text, std::string> refusals_;  // of policies whose earlier version is still in force

    // A set nobody holds goes at the next sweep, so lists that come and go do not pile up.
    static constexpr size_t kFirstSweep = 64;
    mutable std::mutex mutex_;  // guards what follows; held for no longer than a lookup or a sweep
    mutable std::unordered_map<SetKey, std::shared_ptr<const PolicySet>, SetHash, SetEqual> sets_;
    mutable size_t sweep_at_ = kFirstSweep;
};

}  // namespace warren::policy
