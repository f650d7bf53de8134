// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_memory.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/mman.h>

namespace warren::ztunnel {

namespace {

void* map(size_t n) noexcept {
    void* at = ::mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

// What sessions of this thread gave back, for its next ones: where sessions come and go, a mapping made and ended for each costs a
// twentieth of a handshake (every other worker's processor is interrupted for it).
class Spares {
  public:
    ~Spares() {
        for (const auto& [at, n] : kept_)
            if (at != nullptr) ::munmap(at, n);
    }
    void* take(size_t n) noexcept {
        for (auto& [at, size] : kept_)
            if (at != nullptr && size == n) return std::exchange(at, nullptr);
        return nullptr;
    }
    bool keep(void* at, size_t n) noexcept {
        for (auto& slot : kept_)
            if (slot.first == nullptr) {
                slot = {at, n};
                return true;
            }
        return false;
    }

  private:
    std::array<std::pair<void*, size_t>, 8> kept_{};
};
thread_local Spares spares;

}  // namespace

H2Memory::~H2Memory() {
    for (Mapping& m : mappings_) release(m.at);
}

H2Memory::Mapping* H2Memory::find(void* at) noexcept {
    for (Mapping& m : mappings_)
        if (m.at == at) return &m;
    return nullptr;
}

void* H2Memory::allocate(size_t n) noexcept {
    if (n >= kMapFrom) {
        if (Mapping* slot = find(nullptr); slot != nullptr) {
            void* at = spares.take(n);
            if (at == nullptr) at = map(n);
            if (at == nullptr) return nullptr;
            *slot = {at, n};
            return at;
        }
    }
    return std::malloc(n);
}

void* H2Memory::allocate_zeroed(size_t count, size_t size) noexcept {
    if (size != 0 && count > SIZE_MAX / size) return nullptr;
    if (count * size < kMapFrom) return std::calloc(count, size);
    void* at = allocate(count * size);
    if (at != nullptr) std::memset(at, 0, count * size);
    return at;
}

void* H2Memory::resize(void* at, size_t n) noexcept {
    if (at == nullptr) return allocate(n);
    Mapping* old = find(at);
    if (old == nullptr) return std::realloc(at, n);
    const size_t had = old->bytes;
    void* now = allocate(n);
    if (now == nullptr) return nullptr;
    std::memcpy(now, at, std::min(had, n));
    release(at);
    return now;
}

void H2Memory::release(void* at) noexcept {
    if (at == nullptr) return;
    if (Mapping* m = find(at); m != nullptr) {
        if (!spares.keep(m->at, m->bytes)) ::munmap(m->at, m->bytes);
        *m = {};
        return;
    }
    std::free(at);
}

size_t H2Memory::mapped() const noexcept {
    size_t sum = 0;
    for (const Mapping& m : mappings_) sum += m.bytes;
    return sum;
}

}  // namespace warren::ztunnel
