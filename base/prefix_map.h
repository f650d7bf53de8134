// SPDX-License-Identifier: Apache-2.0
// PrefixMap: values by prefix, found by longest match. For each family one hash map per length in use, so a lookup costs one probe per
// distinct length (clusters use a handful) and a change costs one. Families never mix: ::/0 covers no IPv4 address. A plain value without
// locks: one thread owns it while it changes; as part of an immutable snapshot any number may read. No errors; insert may allocate.
#pragma once

#include "base/ip.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace warren::base {

template <class V>
class PrefixMap {
  public:
    // True when the prefix is new; the value of one already there is replaced.
    bool insert(const Cidr& prefix, V value) {
        auto& levels = levels_of(prefix.is_v4());
        auto level = at_or_below(levels, prefix.length());
        if (level == levels.end() || level->length != prefix.length()) level = levels.insert(level, Level{prefix.length(), {}});
        return level->entries.insert_or_assign(prefix.first(), Entry{prefix, std::move(value)}).second;
    }

    // False when it was not there.
    bool erase(const Cidr& prefix) {
        auto& levels = levels_of(prefix.is_v4());
        const auto level = at_or_below(levels, prefix.length());
        if (level == levels.end() || level->length != prefix.length() || level->entries.erase(prefix.first()) == 0) return false;
        if (level->entries.empty()) levels.erase(level);
        return true;
    }

    // The most specific prefix that covers the address, or null. Valid until the next insert or erase, as are all pointers from here.
    [[nodiscard]] const V* find(IpAddr address) const {
        for (const Level& level : levels_of(address.is_v4()))
            if (const auto it = level.entries.find(address.masked(level.length)); it != level.entries.end()) return &it->second.value;
        return nullptr;
    }

    // This very prefix, or null.
    [[nodiscard]] const V* find_exact(const Cidr& prefix) const {
        for (const Level& level : levels_of(prefix.is_v4()))
            if (level.length == prefix.length())
                if (const auto it = level.entries.find(prefix.first()); it != level.entries.end()) return &it->second.value;
        return nullptr;
    }
    [[nodiscard]] V* find_exact(const Cidr& prefix) { return const_cast<V*>(std::as_const(*this).find_exact(prefix)); }

    // fn(const Cidr&, const V&) for every prefix that covers the address, from the most to the least specific. fn must not change the map.
    template <class Fn>
    void for_each_covering(IpAddr address, Fn&& fn) const {
        for (const Level& level : levels_of(address.is_v4()))
            if (const auto it = level.entries.find(address.masked(level.length)); it != level.entries.end())
                fn(it->second.prefix, it->second.value);
    }

    [[nodiscard]] bool empty() const { return v4_.empty() && v6_.empty(); }
    [[nodiscard]] size_t size() const {
        size_t n = 0;
        for (const auto* levels : {&v4_, &v6_})
            for (const Level& level : *levels) n += level.entries.size();
        return n;
    }

  private:
    struct Entry {
        Cidr prefix;
        V value;
    };
    struct Level {
        unsigned length;
        std::unordered_map<IpAddr, Entry> entries;  // by first address; never empty
    };
    using Levels = std::vector<Level>;  // longest first

    Levels& levels_of(bool v4) { return v4 ? v4_ : v6_; }
    const Levels& levels_of(bool v4) const { return v4 ? v4_ : v6_; }
    static typename Levels::iterator at_or_below(Levels& levels, unsigned length) {
        return std::find_if(levels.begin(), levels.end(), [&](const Level& level) { return level.length <= length; });
    }

    Levels v4_, v6_;
};

}  // namespace warren::base
