// SPDX-License-Identifier: Apache-2.0
#include "policy/string_index.h"

#include <utility>

namespace warren::policy {

namespace {

template <class Item>
Nested<Item> nested_of(std::span<const StringMatch> items, StringMatch::Kind kind) {
    std::vector<std::pair<Item, uint32_t>> entries;
    for (const StringMatch& item : items)
        if (item.kind == kind) entries.push_back({Item{item.value.view()}, 0});
    return Nested<Item>(std::move(entries));
}

}  // namespace

StringIndex::StringIndex(std::span<const StringMatch> items)
    : exact_(
          items, [](const StringMatch& m) { return m.kind == StringMatch::Kind::Exact; },
          [](const StringMatch& m) { return m.value.hash(); }),
      prefixes_(nested_of<PrefixItem>(items, StringMatch::Kind::Prefix)),
      suffixes_(nested_of<SuffixItem>(items, StringMatch::Kind::Suffix)),
      presence_(std::any_of(items.begin(), items.end(), [](const StringMatch& m) { return m.kind == StringMatch::Kind::Presence; })) {}

bool StringIndex::contains(const Subject& subject) const {
    if (presence_ && !subject.text.empty()) return true;
    return exact_.contains(subject.hash, [&](const StringMatch& m) { return m.value.view() == subject.text; }) ||
           prefixes_.covers({subject.text}) || suffixes_.covers({subject.text});
}

}  // namespace warren::policy
