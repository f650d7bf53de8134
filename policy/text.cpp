// SPDX-License-Identifier: Apache-2.0
#include "policy/text.h"

#include <cstring>
#include <new>

namespace warren::policy {

namespace {

uint64_t mix(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const char* p, size_t n) {
    uint64_t v = 0;
    std::memcpy(&v, p, n);
    return v;
}

}  // namespace

// Multiply-and-fold over eight bytes at a time: names are short and this is on the load path of every one of them.
uint64_t hash_text(std::string_view text) noexcept {
    constexpr uint64_t k0 = 0xa0761d6478bd642fu, k1 = 0xe7037ed1a0b428dbu;
    uint64_t h = k0 ^ text.size();
    const char* p = text.data();
    size_t n = text.size();
    for (; n >= 8; p += 8, n -= 8) h = mix(h ^ load(p, 8), k1);
    if (n > 0) h = mix(h ^ load(p, n), k1);
    return mix(h, k0);
}

const Text::Rep* Text::make(std::string_view text, uint64_t hash) {
    void* memory = ::operator new(sizeof(Rep) + text.size());
    Rep* rep = new (memory) Rep{1, static_cast<uint32_t>(text.size()), hash};
    std::memcpy(static_cast<char*>(memory) + sizeof(Rep), text.data(), text.size());
    return rep;
}

void Text::destroy(const Rep* rep) noexcept { ::operator delete(const_cast<Rep*>(rep)); }

Text::Text(std::string_view text) : rep_(text.empty() ? nullptr : make(text, hash_text(text))) {}

Text TextPool::intern(std::string_view text) {
    if (text.empty()) return {};
    if ((used_ + 1) * 4 > slots_.size() * 3) {
        sweep();
        if ((used_ + 1) * 2 > slots_.size()) rebuild(slots_.empty() ? 64 : slots_.size() * 2);
    }
    const uint64_t hash = hash_text(text);
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        Text& slot = slots_[i];
        if (slot.empty()) {
            slot.rep_ = Text::make(text, hash);
            ++used_;
            return slot;
        }
        if (slot.rep_->hash == hash && slot.view() == text) return slot;
    }
}

void TextPool::sweep() {
    if (!slots_.empty()) rebuild(slots_.size());
}

void TextPool::rebuild(size_t capacity) {
    std::vector<Text> old = std::exchange(slots_, std::vector<Text>(capacity));
    used_ = 0;
    for (Text& text : old) {
        // Only the pool's own thread makes new references out of a pooled text, so "nobody else" cannot change under us.
        if (text.empty() || text.rep_->refs.load(std::memory_order_acquire) == 1) continue;
        size_t i = text.rep_->hash & (capacity - 1);
        while (!slots_[i].empty()) i = (i + 1) & (capacity - 1);
        slots_[i] = std::move(text);
        ++used_;
    }
}

}  // namespace warren::policy
