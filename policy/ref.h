// SPDX-License-Identifier: Apache-2.0
// Ref<T>: a counted pointer to an immutable value that carries its own count. Half of a shared_ptr, and a mesh of 100,000 workloads
// holds several to each. The count is atomic, so values travel between threads; what they point to never changes once shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace warren::policy {

// Base of everything a Ref may point to. Copying a value does not copy its count.
class Counted {
  public:
    Counted() = default;
    Counted(const Counted&) noexcept {}
    Counted& operator=(const Counted&) noexcept { return *this; }

    void retain() const noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
    // True when the caller gave up the last reference and has to delete.
    [[nodiscard]] bool release() const noexcept { return refs_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
    // True when the caller's reference is the only one: nobody else can read it, so it may be changed in place.
    [[nodiscard]] bool unique() const noexcept { return refs_.load(std::memory_order_acquire) == 1; }

  protected:
    ~Counted() = default;

  private:
    mutable std::atomic<uint32_t> refs_{0};
};

template <class T>
class Ref {
  public:
    Ref() = default;
    Ref(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)
    explicit Ref(T* p) noexcept : p_(p) {
        if (p_ != nullptr) p_->retain();
    }
    Ref(const Ref& o) noexcept : Ref(o.p_) {}
    Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
    template <class U>
    Ref(Ref<U> o) noexcept : Ref(o.get()) {}  // NOLINT(google-explicit-constructor): Ref<T> to Ref<const T>
    Ref& operator=(Ref o) noexcept {
        std::swap(p_, o.p_);
        return *this;
    }
    ~Ref() {
        if (p_ != nullptr && p_->release()) delete p_;
    }

    [[nodiscard]] T* get() const noexcept { return p_; }
    T& operator*() const noexcept { return *p_; }
    T* operator->() const noexcept { return p_; }
    explicit operator bool() const noexcept { return p_ != nullptr; }
    bool operator==(const Ref& o) const noexcept { return p_ == o.p_; }

  private:
    T* p_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
    return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace warren::policy
