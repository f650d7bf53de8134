// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/slice_queue.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/uio.h>

namespace warren::ztunnel {

namespace {
constexpr size_t kIov = 64;                        // four chunks' worth of full records
constexpr size_t kWorthHolding = kChunkBytes / 2;  // less than this of a chunk is copied instead
}  // namespace

void SliceQueue::push(const Chunk& chunk, std::span<const uint8_t> bytes) {
    if (bytes.empty()) return;
    bytes_ += bytes.size();
    if (chunk) {
        // Frames that lie back to back in one record are one slice.
        if (first_ < slices_.size() && slices_.back().own == nullptr && slices_.back().data + slices_.back().size == bytes.data()) {
            slices_.back().size += bytes.size();
            return;
        }
        slices_.push_back(Slice{chunk, nullptr, bytes.data(), bytes.size()});
        return;
    }
    auto own = std::make_unique_for_overwrite<uint8_t[]>(bytes.size());
    std::memcpy(own.get(), bytes.data(), bytes.size());
    const uint8_t* data = own.get();
    slices_.push_back(Slice{{}, std::move(own), data, bytes.size()});
}

base::Io SliceQueue::write_to(int fd) {
    base::Io io;
    while (bytes_ > 0) {
        std::array<iovec, kIov> iov;
        int count = 0;
        size_t want = 0;
        for (size_t i = first_; i < slices_.size() && count < static_cast<int>(kIov); ++i, ++count) {
            iov[static_cast<size_t>(count)] = {const_cast<uint8_t*>(slices_[i].data), slices_[i].size};
            want += slices_[i].size;
        }
        const ssize_t n = ::writev(fd, iov.data(), count);
        if (n < 0) {
            const int os = errno;
            if (os == EINTR) continue;
            io.state = os == EAGAIN ? base::Io::State::WouldBlock : base::Io::State::Failed;
            io.os = os;
            return io;
        }
        io.n += static_cast<size_t>(n);
        drop(static_cast<size_t>(n));
        if (static_cast<size_t>(n) < want) {
            io.state = base::Io::State::WouldBlock;
            io.os = EAGAIN;
            return io;
        }
    }
    return io;
}

void SliceQueue::drop(size_t n) {
    bytes_ -= n;
    while (n > 0) {
        Slice& front = slices_[first_];
        const size_t take = std::min(n, front.size);
        front.data += take;
        front.size -= take;
        n -= take;
        if (front.size == 0) {
            front = Slice{};
            ++first_;
        }
    }
    if (bytes_ == 0) {
        slices_.clear();
        first_ = 0;
    } else if (first_ > 64 && first_ * 2 > slices_.size()) {
        slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }
}

void SliceQueue::settle() {
    size_t borrowed = 0;
    for (size_t i = first_; i < slices_.size(); ++i)
        if (slices_[i].chunk) borrowed += slices_[i].size;
    if (borrowed == 0 || borrowed >= kWorthHolding) return;
    for (size_t i = first_; i < slices_.size(); ++i) {
        Slice& s = slices_[i];
        if (!s.chunk) continue;
        s.own = std::make_unique_for_overwrite<uint8_t[]>(s.size);
        std::memcpy(s.own.get(), s.data, s.size);
        s.data = s.own.get();
        s.chunk = {};
    }
}

}  // namespace warren::ztunnel
