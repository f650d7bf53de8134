// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

namespace warren::ztunnel {

H2Memory::~H2Memory() {
    for (Mapping& m : mappings_)
        if (m.at != nullptr) ::munmap(m.at, m.bytes);
}

H2Memory::Mapping* H2Memory::find(void* at) noexcept {
    for (Mapping& m : mappings_)
        if (m.at == at) return &m;
    return nullptr;
}

void* H2Memory::allocate(size_t n) noexcept {
    if (n >= kMapFrom) {
        if (Mapping* slot = find(nullptr); slot != nullptr) {
            void* at = ::mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (at == MAP_FAILED) return nullptr;
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
    if (at != nullptr && find(at) == nullptr) std::memset(at, 0, count * size);  // a mapping is zero already
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
        ::munmap(m->at, m->bytes);
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
