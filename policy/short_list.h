// SPDX-License-Identifier: Apache-2.0
// ShortList<Item>: what shares one key of an index (an address, a hostname), in an order the index chooses. Items are handles of eight
// bytes, a Ref or a Text, that hold something. Nearly always there is one, so one costs no allocation and sixteen bytes. A value: owned
// by the map that holds it, read by any thread once shared.
#pragma once

#include "policy/array.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace warren::policy {

template <class Item>
class ShortList {
  public:
    static constexpr size_t npos = static_cast<size_t>(-1);

    [[nodiscard]] bool empty() const noexcept {
        if constexpr (requires { first_.empty(); }) {
            return first_.empty();
        } else {
            return !first_;
        }
    }
    [[nodiscard]] size_t size() const noexcept { return empty() ? 0 : 1 + rest_.size(); }
    const Item& operator[](size_t i) const noexcept { return i == 0 ? first_ : rest_[i - 1]; }

    // The first place where pred(const Item&) holds, or npos.
    template <class Pred>
    [[nodiscard]] size_t position(Pred&& pred) const {
        for (size_t i = 0; i < size(); ++i)
            if (pred((*this)[i])) return i;
        return npos;
    }

    void replace(size_t i, Item item) {
        if (i == 0) {
            first_ = std::move(item);
            return;
        }
        std::vector<Item> rest = copy_rest(0);
        rest[i - 1] = std::move(item);
        rest_ = Array<Item>(std::move(rest));
    }
    void append(Item item) { insert(size(), std::move(item)); }
    void insert(size_t i, Item item) {
        if (empty()) {
            first_ = std::move(item);
            return;
        }
        if (i == 0) std::swap(first_, item);
        std::vector<Item> rest = copy_rest(1);
        rest.insert(rest.begin() + static_cast<std::ptrdiff_t>(i == 0 ? 0 : i - 1), std::move(item));
        rest_ = Array<Item>(std::move(rest));
    }
    void erase(size_t i) {
        std::vector<Item> rest = copy_rest(0);
        if (i > 0) {
            rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i - 1));
        } else if (rest.empty()) {
            first_ = Item();
        } else {
            first_ = std::move(rest.front());
            rest.erase(rest.begin());
        }
        rest_ = Array<Item>(std::move(rest));
    }

  private:
    [[nodiscard]] std::vector<Item> copy_rest(size_t spare) const {
        std::vector<Item> out;
        out.reserve(rest_.size() + spare);
        out.insert(out.end(), rest_.begin(), rest_.end());
        return out;
    }

    Item first_;
    Array<Item> rest_;
};

}  // namespace warren::policy
