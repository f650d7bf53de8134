// SPDX-License-Identifier: Apache-2.0
// Array<T>: a list whose length never changes, in eight bytes; empty owns nothing. The compact member for records that a mesh holds
// by the hundred thousand. Owned by the value that holds it; read from any thread once that value is shared.
#pragma once

#include <cstddef>
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
    Array(const Array& o) { fill(o.size(), o.begin()); }
    Array(Array&& o) noexcept : head_(std::exchange(o.head_, nullptr)) {}
    Array& operator=(Array o) noexcept {
        std::swap(head_, o.head_);
        return *this;
    }
    ~Array() {
        if (head_ == nullptr) return;
        std::destroy(begin(), end());
        ::operator delete(head_, std::align_val_t{kAlign});
    }

    [[nodiscard]] size_t size() const noexcept { return head_ != nullptr ? head_->size : 0; }
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    T* begin() noexcept { return items(); }
    T* end() noexcept { return items() + size(); }
    const T* begin() const noexcept { return items(); }
    const T* end() const noexcept { return items() + size(); }
    T& operator[](size_t i) noexcept { return items()[i]; }
    const T& operator[](size_t i) const noexcept { return items()[i]; }
    const T& front() const noexcept { return items()[0]; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {begin(), size()}; }
    friend bool operator==(const Array& a, const Array& b) { return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()); }

  private:
    static constexpr size_t kAlign = alignof(T) > alignof(size_t) ? alignof(T) : alignof(size_t);
    struct alignas(kAlign) Head {
        size_t size;
    };
    T* items() const noexcept { return head_ != nullptr ? reinterpret_cast<T*>(head_ + 1) : nullptr; }
    template <class It>
    void fill(size_t n, It from) {
        if (n == 0) return;
        head_ = new (::operator new(sizeof(Head) + n * sizeof(T), std::align_val_t{kAlign})) Head{n};
        std::uninitialized_copy_n(from, n, items());
    }
    Head* head_ = nullptr;
};

}  // namespace warren::policy
