// SPDX-License-Identifier: Apache-2.0
// SliceQueue: bytes on their way to an application that have not been accepted yet, in order. Slices of received chunks stay where
// they were decrypted; when an application is slow, what is left over is copied small, so that a few bytes never hold a whole chunk.
// Belongs to one worker thread.
#pragma once

#include "base/result.h"
#include "ztunnel/chunk.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace warren::ztunnel {

class SliceQueue {
  public:
    // bytes must lie inside the chunk; with an empty chunk they are copied.
    void push(const Chunk& chunk, std::span<const uint8_t> bytes);
    // Writes what it can with writev. Ready: empty now. io.n: how many bytes the socket took.
    base::Io write_to(int fd);
    // After the chunk's round: what is left of slices that cover only a small part of their chunk moves into own memory.
    void settle();
    [[nodiscard]] size_t bytes() const { return bytes_; }
    [[nodiscard]] bool empty() const { return bytes_ == 0; }

  private:
    struct Slice {
        Chunk chunk;  // empty: own
        std::unique_ptr<uint8_t[]> own;
        const uint8_t* data = nullptr;
        size_t size = 0;
    };
    void drop(size_t n);
    std::vector<Slice> slices_;
    size_t first_ = 0;  // slices before it are gone
    size_t bytes_ = 0;
};

}  // namespace warren::ztunnel
