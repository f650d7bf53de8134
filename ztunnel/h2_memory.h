// SPDX-License-Identifier: Apache-2.0
// H2Memory: where one nghttp2 session gets its memory. nghttp2 keeps a frame buffer for the life of the session, 16 KiB at first and as
// large as the largest DATA frame sent later (256 KiB), of which DATA that is not copied uses nine bytes. Blocks of that size are mapped
// by themselves, so that only the pages which are touched (one) count and none of it stays in the heap; the rest comes from malloc.
// Belongs to its session, whose thread is the only caller; must outlive it.
#pragma once

#include <array>
#include <cstddef>

namespace warren::ztunnel {

class H2Memory {
  public:
    static constexpr size_t kMapFrom = 12 * 1024;  // everything else of nghttp2 is smaller in normal use

    H2Memory() = default;
    H2Memory(const H2Memory&) = delete;
    H2Memory& operator=(const H2Memory&) = delete;
    ~H2Memory();

    // As malloc and friends; null when there is no memory, which nghttp2 reports as an error.
    void* allocate(size_t n) noexcept;
    void* allocate_zeroed(size_t count, size_t size) noexcept;
    void* resize(void* at, size_t n) noexcept;
    void release(void* at) noexcept;
    [[nodiscard]] size_t mapped() const noexcept;

  private:
    struct Mapping {
        void* at = nullptr;
        size_t bytes = 0;
    };
    Mapping* find(void* at) noexcept;

    std::array<Mapping, 4> mappings_;  // nghttp2 holds one, two while it grows; beyond four it is malloc's again
};

}  // namespace warren::ztunnel
