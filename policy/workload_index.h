// SPDX-License-Identifier: Apache-2.0
// WorkloadIndex: the workloads of one snapshot by uid, address, name and hostname (data-plane contract 5.1, 8.4). A value made of
// persistent maps: a copy is a few counts. The writer of the mesh changes its own copy; published ones are read by any thread.
#pragma once

#include "base/persistent_map.h"
#include "policy/index_key.h"
#include "policy/short_list.h"
#include "policy/workload.h"

#include <string_view>

namespace warren::policy {

class WorkloadIndex {
  public:
    // Pods are looked up by their name on the own node only; node: that one's name, empty where any node's are asked for.
    explicit WorkloadIndex(std::string_view node) : node_(node) {}

    // Puts it in the place of an earlier one of that uid, which is returned (null: none). Replacing keeps the order in which
    // workloads of equal rank claimed an address.
    WorkloadRef put(const WorkloadRef& workload);
    // The removed one, or null.
    WorkloadRef remove(std::string_view uid);

    [[nodiscard]] const WorkloadRef* find(std::string_view uid) const { return find_text(uids_, uid); }
    // Highest rank, then latest claim: a pod that has just been given an address owns it, whoever forgot to let go.
    [[nodiscard]] const Workload* by_address(const NetworkAddress& address) const;
    // First in order of arrival of those that pred(const Workload&) accepts.
    template <class Pred>
    [[nodiscard]] const Workload* by_name(std::string_view ns, std::string_view name, Pred&& pred) const {
        return find_pair(names_, ns, name, [&](const Workload& w) { return w.name.view() == name && w.ns.view() == ns && pred(w); });
    }
    [[nodiscard]] const Workload* by_hostname(std::string_view ns, std::string_view hostname) const {
        return find_pair(hostnames_, ns, hostname, [&](const Workload& w) { return w.hostname.view() == hostname && w.ns.view() == ns; });
    }

    [[nodiscard]] size_t size() const noexcept { return uids_.size(); }
    template <class Fn>
    void for_each(Fn&& fn) const {
        uids_.for_each([&](const Text&, const WorkloadRef& w) { fn(*w); });
    }

    // fn(const Workload* before, const Workload* now); null: not there.
    template <class Fn>
    void each_change_since(const WorkloadIndex& before, Fn&& fn) const {
        decltype(uids_)::diff(before.uids_, uids_, [&](const WorkloadRef* was, const WorkloadRef* is) {
            const Workload* b = was != nullptr ? was->get() : nullptr;
            const Workload* a = is != nullptr ? is->get() : nullptr;
            if (b != a) fn(b, a);
        });
    }

  private:
    // Uids by the hash of two names. Each workload stands once in such a map, whoever looks compares the names themselves, and an
    // update that keeps them changes nothing here. Addresses are as names: the hash leads to whoever may have them.
    using Names = base::PersistentMap<uint64_t, ShortList<Text>, AsItIs>;

    template <class Pred>
    const Workload* find_pair(const Names& names, std::string_view ns, std::string_view name, Pred&& pred) const {
        const ShortList<Text>* uids = names.find(hash_pair(hash_text(ns), hash_text(name)));
        for (size_t i = 0; uids != nullptr && i < uids->size(); ++i)
            if (const WorkloadRef* w = uids_.find((*uids)[i]); w != nullptr && pred(**w)) return w->get();
        return nullptr;
    }

    void claim(uint64_t address, const WorkloadRef& workload);
    [[nodiscard]] const Workload* if_local(const Workload* w) const {
        return w != nullptr && (node_.empty() || w->node == node_) ? w : nullptr;
    }
    static void rename(Names& names, const Workload* before, const Workload* now, const Text Workload::* name);

    Text node_;
    base::PersistentMap<Text, WorkloadRef> uids_;
    base::PersistentMap<uint64_t, ShortList<WorkloadRef>, AsItIs> addresses_;
    Names names_;      // of those on node_
    Names hostnames_;  // only of those that have one
};

}  // namespace warren::policy
