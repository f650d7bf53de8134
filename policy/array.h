// SPDX-License-Identifier: Apache-2.0
// Array<T>: a list that never changes, in eight bytes; empty owns nothing. The compact member for records that a mesh holds by the hundred
// thousand. Copies share the items, so records that say the same may keep it once (record_pool.h). Read, copied and dropped on any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace warren::policy {

template <class T>
class Array {
  public:
    using value_type = T;
    Array() = default;
    explicit Array(std::span<const T> items) { fill(items.size(), items.begin()); }
    Array(std::initializer_list<T> items) { fill(items.size(), items.begin()); }
    explicit Array(std::vector<T>&& items) { fill(items.size(), std::make_move_iterator(items.begin())); }
    Array(const Array& o) noexcept : head_(o.head_) {
        if (head_ != nullptr) head_->refs.fetch_add(1, std::memory_order_relaxed);
    }
    Array(Array&& o) noexcept : head_(std::exchange(o.head_, nullptr)) {}
    Array& operator=(Array o) noexcept {
        std::swap(head_, o.head_);
        return *this;
    }
    ~Array() {
        if (head_ == nullptr || head_->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
        std::destroy_n(items(), head_->size);
        ::operator delete(head_, std::align_val_t{kAlign});
    }

    [[nodiscard]] size_t size() const noexcept { return head_ != nullptr ? head_->size : 0; }
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    const T* begin() const noexcept { return items(); }
    const T* end() const noexcept { return items() + size(); }
    const T& operator[](size_t i) const noexcept { return items()[i]; }
    const T& front() const noexcept { return items()[0]; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {begin(), size()}; }
    // No other Array shares the items.
    [[nodiscard]] bool unique() const noexcept { return head_ == nullptr || head_->refs.load(std::memory_order_acquire) == 1; }
    friend bool operator==(const Array& a, const Array& b) {
        return a.head_ == b.head_ || (a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()));
    }

  private:
    static constexpr size_t kAlign = alignof(T) > alignof(size_t) ? alignof(T) : alignof(size_t);
    struct alignas(kAlign) Head {
        mutable std::atomic<uint32_t> refs;
        uint32_t size;
    };
    T* items() const noexcept { return head_ != nullptr ? reinterpret_cast<T*>(head_ + 1) : nullptr; }
    template <class It>
    void fill(size_t n, It from) {
        if (n == 0) return;
        head_ = new (::operator new(sizeof(Head) + n * sizeof(T), std::align_val_t{kAlign})) Head{1, static_cast<uint32_t>(n)};
        std::uninitialized_copy_n(from, n, items());
    }
    Head* head_ = nullptr;
};

}  // namespace warren::policy
