// SPDX-License-Identifier: Apache-2.0
// SelectorIndex: values filed under a namespace and a selector (matchLabels), found by the labels of an object. A value lies under the
// first pair of its selector, so an object asks for as many lists as it has labels, however many selectors its namespace has. One thread.
#pragma once

#include "agent/cluster/labels.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

template <class T>
class SelectorIndex {
  public:
    // An empty selector selects everything.
    void add(const std::string& ns, const LabelMap& selector, T value) {
        lists_[ns][bucket_of(selector)].push_back({selector, std::move(value)});
    }
    void remove(const std::string& ns, const LabelMap& selector, const T& value) {
        const auto of_ns = lists_.find(ns);
        if (of_ns == lists_.end()) return;
        const auto list = of_ns->second.find(bucket_of(selector));
        if (list == of_ns->second.end()) return;
        std::erase_if(list->second, [&](const Entry& e) { return e.value == value && e.selector == selector; });
        if (list->second.empty()) of_ns->second.erase(list);
        if (of_ns->second.empty()) lists_.erase(of_ns);
    }
    // fn(value) for each whose selector stands in the labels, in no order.
    template <class Fn>
    void each(const std::string& ns, const LabelMap& labels, Fn&& fn) const {
        const auto of_ns = lists_.find(ns);
        if (of_ns == lists_.end()) return;
        const auto look = [&](const std::string& bucket) {
            const auto list = of_ns->second.find(bucket);
            if (list == of_ns->second.end()) return;
            for (const Entry& entry : list->second)
                if (is_subset(entry.selector, labels)) fn(entry.value);
        };
        std::string bucket;
        look(bucket);
        for (const auto& [key, value] : labels) {
            bucket.assign(key).append(1, '\0').append(value);
            look(bucket);
        }
    }
    [[nodiscard]] bool any(const std::string& ns, const LabelMap& labels) const {
        bool found = false;
        if (!lists_.empty()) each(ns, labels, [&](const T&) { found = true; });
        return found;
    }
    [[nodiscard]] bool empty() const { return lists_.empty(); }
    void clear() { lists_.clear(); }

  private:
    struct Entry {
        LabelMap selector;
        T value;
    };
    static std::string bucket_of(const LabelMap& selector) {
        return selector.empty() ? std::string() : selector.begin()->first + '\0' + selector.begin()->second;
    }
    std::unordered_map<std::string, std::unordered_map<std::string, std::vector<Entry>>> lists_;
};

}  // namespace warren::cluster
