// SPDX-License-Identifier: Apache-2.0
// Lists of texts that are too long to walk: exact values by hash, prefixes and suffixes as Nested. A thousand entries of any kind cost a
// few binary searches. A hash alone never decides: it is not keyed, and a peer may choose its own name. Immutable once built, any
// thread; borrows the elements of the policy's spec.
#pragma once

#include "policy/authorization.h"
#include "policy/nested.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace warren::policy {

// What a list of string matches is compared with: the text and its hash_text.
struct Subject {
    std::string_view text;
    uint64_t hash = 0;
};

// Contract 7.4. An empty prefix or suffix hits anything, the empty text included; presence is "not empty".
[[nodiscard]] inline bool hits(const StringMatch& match, const Subject& subject) {
    switch (match.kind) {
        case StringMatch::Kind::Exact: return match.value.hash() == subject.hash && match.value.view() == subject.text;
        case StringMatch::Kind::Prefix: return subject.text.starts_with(match.value.view());
        case StringMatch::Kind::Suffix: return subject.text.ends_with(match.value.view());
        case StringMatch::Kind::Presence: return !subject.text.empty();
    }
    return false;
}

// Elements by hash; the caller says what equal means.
template <class T>
class HashIndex {
  public:
    HashIndex() = default;
    // hash_of(element) of every element of `items` that `keep`s.
    template <class Keep, class HashOf>
    HashIndex(std::span<const T> items, Keep keep, HashOf hash_of) {
        for (const T& item : items)
            if (keep(item)) entries_.push_back({hash_of(item), &item});
        std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
        entries_.shrink_to_fit();
    }
    template <class Equal>
    [[nodiscard]] bool contains(uint64_t hash, Equal equal) const {
        auto at = std::lower_bound(entries_.begin(), entries_.end(), hash, [](const Entry& e, uint64_t h) { return e.hash < h; });
        for (; at != entries_.end() && at->hash == hash; ++at)
            if (equal(*at->item)) return true;
        return false;
    }

  private:
    struct Entry {
        uint64_t hash;
        const T* item;
    };
    std::vector<Entry> entries_;  // by hash
};

class StringIndex {
  public:
    explicit StringIndex(std::span<const StringMatch> items);
    [[nodiscard]] bool contains(const Subject& subject) const;

  private:
    HashIndex<StringMatch> exact_;
    Nested<PrefixItem> prefixes_;
    Nested<SuffixItem> suffixes_;
    bool presence_ = false;
};

}  // namespace warren::policy
