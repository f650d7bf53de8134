// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/chunk.h"

#include <sys/mman.h>

namespace warren::ztunnel {

namespace {
constexpr size_t kMapBytes = kChunkBytes + 4096;  // the block's head has the first page's start
}

Chunk ChunkPool::take() {
    if (out_ >= limit_) {
        ++refused_;
        return {};
    }
    Chunk::Block* block = nullptr;
    if (!free_.empty()) {
        block = free_.back();
        free_.pop_back();
    } else {
        // Mapped, not from the heap: a chunk given back to the system leaves no hole there.
        void* memory = ::mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            ++refused_;
            return {};
        }
        block = new (memory) Chunk::Block{this, 0};
    }
    ++out_;
    block->refs = 1;
    return Chunk(block);
}

void Chunk::give_back() noexcept {
    ChunkPool& pool = *block_->pool;
    --pool.out_;
    if (pool.free_.size() < pool.keep_) {
        pool.free_.push_back(block_);
    } else {
        ChunkPool::unmap(block_);
    }
}

void ChunkPool::unmap(Chunk::Block* block) noexcept { ::munmap(block, kMapBytes); }

ChunkPool::~ChunkPool() {
    for (Chunk::Block* block : free_) unmap(block);
}

}  // namespace warren::ztunnel
