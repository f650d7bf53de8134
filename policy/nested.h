// SPDX-License-Identifier: Apache-2.0
// Nested: items that contain one another or nothing of each other (text prefixes, text suffixes, address prefixes), each with a list of
// numbers, and one question: which items cover this probe? The items are sorted so that whatever an item covers follows it directly; each
// knows the smallest item around it. The last item not after the probe is then either around the probe or inside the next one that is,
// so a lookup is one binary search and a walk outwards. Immutable once built; any thread may read it. Borrows what its items borrow.
//
// Item: operator< as described, and covers(other), true of itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::policy {

template <class Item>
class Nested {
  public:
    Nested() = default;
    explicit Nested(std::vector<std::pair<Item, uint32_t>> entries) {
        std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
            if (a.first < b.first) return true;
            return !(b.first < a.first) && a.second < b.second;
        });
        uint32_t around = kNone;
        for (const auto& [item, number] : entries) {
            if (nodes_.empty() || nodes_.back().item < item) {
                while (around != kNone && !nodes_[around].item.covers(item)) around = nodes_[around].around;
                const auto begin = static_cast<uint32_t>(numbers_.size());
                nodes_.push_back({item, around, begin, begin});
                around = static_cast<uint32_t>(nodes_.size() - 1);
            }
            Node& node = nodes_.back();
            if (node.begin < node.end && numbers_.back() == number) continue;
            numbers_.push_back(number);
            ++node.end;
        }
        nodes_.shrink_to_fit();
        numbers_.shrink_to_fit();
    }

    [[nodiscard]] bool empty() const { return nodes_.empty(); }
    [[nodiscard]] bool covers(const Item& probe) const {
        for (uint32_t i = last_not_after(probe); i != kNone; i = nodes_[i].around)
            if (nodes_[i].item.covers(probe)) return true;
        return false;
    }
    // visit(span of ascending numbers) for every item that covers the probe.
    template <class Visit>
    void each_covering(const Item& probe, Visit&& visit) const {
        for (uint32_t i = last_not_after(probe); i != kNone; i = nodes_[i].around) {
            const Node& node = nodes_[i];
            if (node.item.covers(probe)) visit(std::span(numbers_).subspan(node.begin, node.end - node.begin));
        }
    }

  private:
    static constexpr uint32_t kNone = ~uint32_t{0};
    struct Node {
        Item item;
        uint32_t around;      // the smallest item that covers this one, or kNone
        uint32_t begin, end;  // of numbers_
    };
    [[nodiscard]] uint32_t last_not_after(const Item& probe) const {
        const auto after =
            std::upper_bound(nodes_.begin(), nodes_.end(), probe, [](const Item& wanted, const Node& node) { return wanted < node.item; });
        return after == nodes_.begin() ? kNone : static_cast<uint32_t>(after - nodes_.begin() - 1);
    }
    std::vector<Node> nodes_;
    std::vector<uint32_t> numbers_;
};

struct PrefixItem {
    std::string_view text;
    [[nodiscard]] bool covers(const PrefixItem& o) const { return o.text.starts_with(text); }
    bool operator<(const PrefixItem& o) const { return text < o.text; }
};

// The same, read from the end.
struct SuffixItem {
    std::string_view text;
    [[nodiscard]] bool covers(const SuffixItem& o) const { return o.text.ends_with(text); }
    bool operator<(const SuffixItem& o) const {
        return std::lexicographical_compare(text.rbegin(), text.rend(), o.text.rbegin(), o.text.rend());
    }
};

}  // namespace warren::policy
