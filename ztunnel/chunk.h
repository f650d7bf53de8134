// SPDX-License-Identifier: Apache-2.0
// Chunk: the one buffer size of the data plane, borrowed from a worker's pool only while bytes are in flight, so that idle connections
// cost nothing. Large enough for sixteen full TLS records with their headers and tags, which is what one system call moves
// (ARCHITECTURE.md, "Byte path"). Belongs to one worker thread; counts are not atomic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace warren::ztunnel {

// 16 x (5 + 16384 + 1 + 16) is 262,496; rounded up to whole pages.
inline constexpr size_t kChunkBytes = 264 * 1024;

class ChunkPool;

// A counted handle: slices of a received chunk may outlive the read (a slow application), the chunk returns when the last one goes.
class Chunk {
  public:
    Chunk() = default;
    Chunk(const Chunk& o) noexcept : block_(o.block_) {
        if (block_ != nullptr) ++block_->refs;
    }
    Chunk(Chunk&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
    Chunk& operator=(Chunk o) noexcept {
        std::swap(block_, o.block_);
        return *this;
    }
    ~Chunk() {
        if (block_ != nullptr && --block_->refs == 0) give_back();
    }
    [[nodiscard]] uint8_t* data() const noexcept { return reinterpret_cast<uint8_t*>(block_ + 1); }
    [[nodiscard]] bool unique() const noexcept { return block_ != nullptr && block_->refs == 1; }
    explicit operator bool() const noexcept { return block_ != nullptr; }

  private:
    friend class ChunkPool;
    struct alignas(64) Block {
        ChunkPool* pool;
        uint32_t refs;
    };
    explicit Chunk(Block* block) noexcept : block_(block) {}
    void give_back() noexcept;
    Block* block_ = nullptr;
};

class ChunkPool {
  public:
    // keep: how many free chunks stay mapped for the next use. limit: how many may be out at once; take() refuses beyond it.
    ChunkPool(size_t keep, size_t limit) : keep_(keep), limit_(limit) {}
    ChunkPool(const ChunkPool&) = delete;
    ChunkPool& operator=(const ChunkPool&) = delete;
    ~ChunkPool();

    // An empty handle when the limit is reached: the caller stops reading until a chunk comes back, and the refusal is counted.
    [[nodiscard]] Chunk take();
    [[nodiscard]] size_t out() const noexcept { return out_; }
    [[nodiscard]] uint64_t refused() const noexcept { return refused_; }

  private:
    friend class Chunk;
    static void unmap(Chunk::Block* block) noexcept;
    std::vector<Chunk::Block*> free_;
    size_t keep_;
    size_t limit_;
    size_t out_ = 0;
    uint64_t refused_ = 0;
};

}  // namespace warren::ztunnel
