// SPDX-License-Identifier: Apache-2.0
// Text: an immutable string in eight bytes, shared by reference count, its hash kept beside it. Names in a mesh repeat (namespaces,
// accounts, nodes, hosts), so a TextPool hands out one copy of each; texts that are unique anyway (uids) are made without the pool.
// Text may be used from any thread. A TextPool belongs to one thread, the writer of the mesh.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::policy {

// The hash of every Text and of every text looked up. Not keyed: names come from the control plane, not from peers.
[[nodiscard]] uint64_t hash_text(std::string_view text) noexcept;

class Text {
  public:
    Text() = default;                      // empty, owns nothing
    explicit Text(std::string_view text);  // a fresh copy
    Text(const Text& o) noexcept : rep_(o.rep_) {
        if (rep_ != nullptr) rep_->refs.fetch_add(1, std::memory_order_relaxed);
    }
    Text(Text&& o) noexcept : rep_(std::exchange(o.rep_, nullptr)) {}
    Text& operator=(Text o) noexcept {
        std::swap(rep_, o.rep_);
        return *this;
    }
    ~Text() {
        if (rep_ != nullptr && rep_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(rep_);
    }

    [[nodiscard]] std::string_view view() const noexcept {
        return rep_ != nullptr ? std::string_view(chars(rep_), rep_->size) : std::string_view();
    }
    operator std::string_view() const noexcept { return view(); }  // NOLINT(google-explicit-constructor)
    [[nodiscard]] std::string str() const { return std::string(view()); }
    [[nodiscard]] bool empty() const noexcept { return rep_ == nullptr; }
    [[nodiscard]] size_t size() const noexcept { return rep_ != nullptr ? rep_->size : 0; }
    [[nodiscard]] uint64_t hash() const noexcept { return rep_ != nullptr ? rep_->hash : hash_text({}); }

    friend bool operator==(const Text& a, const Text& b) noexcept {
        return a.rep_ == b.rep_ || (a.hash() == b.hash() && a.view() == b.view());
    }
    friend bool operator==(const Text& a, std::string_view b) noexcept { return a.view() == b; }
    friend std::strong_ordering operator<=>(const Text& a, const Text& b) noexcept { return a.view() <=> b.view(); }

  private:
    friend class TextPool;
    struct Rep {  // the characters follow
        mutable std::atomic<uint32_t> refs;
        uint32_t size;
        uint64_t hash;
    };
    static const char* chars(const Rep* rep) noexcept { return reinterpret_cast<const char*>(rep + 1); }
    static const Rep* make(std::string_view text, uint64_t hash);
    static void destroy(const Rep* rep) noexcept;

    const Rep* rep_ = nullptr;
};

// One copy of each text. Entries that nobody else holds any more go at the next sweep, which insert() does by itself when the table grows.
class TextPool {
  public:
    TextPool() = default;
    TextPool(const TextPool&) = delete;
    TextPool& operator=(const TextPool&) = delete;
    Text intern(std::string_view text);
    void sweep();
    [[nodiscard]] size_t size() const noexcept { return used_; }

  private:
    void rebuild(size_t capacity);
    std::vector<Text> slots_;  // open addressing, a power of two; an empty Text is a free slot
    size_t used_ = 0;
};

}  // namespace warren::policy

template <>
struct std::hash<warren::policy::Text> {
    size_t operator()(const warren::policy::Text& t) const noexcept { return t.hash(); }
};
