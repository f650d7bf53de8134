// SPDX-License-Identifier: Apache-2.0
// ServiceTable: which services there are (Kubernetes contract 2.7): of candidates with one hostname, a Service before a ServiceEntry and
// the oldest first, one counts in each namespace, and one is canonical. Hostnames are settled apart from each other, so a change costs as
// much as there are candidates for its hostnames. One thread.
#pragma once

#include "agent/cluster/convert_service.h"
#include "agent/cluster/selector_index.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace warren::cluster {

class ServiceTable {
  public:
    using Info = std::shared_ptr<const ServiceInfo>;
    struct Settled {
        Info info;
        bool canonical = false;
    };
    // Before and after; either may be missing.
    struct Difference {
        std::string key;  // "namespace/hostname"
        Settled before, after;
    };

    // All candidates of one object: "NS/NAME" of a Service, or of a ServiceEntry. In force after settle().
    void put(bool from_service, const std::string& object, std::vector<ServiceInfo> infos);
    void clear();
    std::vector<Difference> settle();

    [[nodiscard]] const ServiceInfo* find(std::string_view key) const;
    // fn(const ServiceInfo&): those of the namespace whose selector selects the labels.
    template <class Fn>
    void each_selecting(const std::string& ns, const LabelMap& labels, Fn&& fn) const {
        selecting_.each(ns, labels, [&](const ServiceInfo* info) { fn(*info); });
    }

  private:
    void settle_host(const std::string& host, std::vector<Difference>& to);
    void replace(Difference& difference);

    std::unordered_map<std::string, std::vector<Info>> by_object_;  // 's' or 'e', and the object
    std::unordered_map<std::string, std::vector<Info>> by_host_;
    std::map<std::string, Settled, std::less<>> settled_;
    std::unordered_map<std::string, std::vector<std::string>> keys_of_host_;  // in settled_
    SelectorIndex<const ServiceInfo*> selecting_;                             // of settled_
    std::set<std::string> dirty_hosts_;
};

}  // namespace warren::cluster
