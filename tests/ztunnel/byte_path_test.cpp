// SPDX-License-Identifier: Apache-2.0
// The small parts of the byte path: chunks, slices on their way to a slow reader, the PROXY header.
#include "base/fd.h"
#include "tests/catch.h"
#include "ztunnel/chunk.h"
#include "ztunnel/proxy_protocol.h"
#include "ztunnel/slice_queue.h"

#include <csignal>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

using warren::base::Io;
using warren::ztunnel::Chunk;
using warren::ztunnel::ChunkPool;
using warren::ztunnel::kChunkBytes;
using warren::ztunnel::SliceQueue;

namespace {

struct Pair {
    Pair() {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        write = warren::base::Fd(fds[0]);
        read = warren::base::Fd(fds[1]);
    }
    std::string drain() {
        std::string out;
        char buffer[65536];
        for (ssize_t n; (n = ::read(read.get(), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
        return out;
    }
    warren::base::Fd write, read;
};

}  // namespace

TEST_CASE("chunk: the pool lends up to its limit, counts refusals, and takes back when the last handle goes") {
    ChunkPool pool(1, 2);
    Chunk a = pool.take();
    Chunk b = pool.take();
    REQUIRE(a);
    REQUIRE(b);
    CHECK_FALSE(pool.take());
    CHECK(pool.refused() == 1);
    Chunk also = a;
    CHECK_FALSE(a.unique());
    a = {};
    CHECK(pool.out() == 2);
    also = {};
    CHECK(pool.out() == 1);
    CHECK(pool.take());
}

TEST_CASE("chunk: the whole block may be written") {
    ChunkPool pool(0, 1);
    Chunk a = pool.take();
    std::memset(a.data(), 0x5a, kChunkBytes);
    CHECK(a.data()[kChunkBytes - 1] == 0x5a);
}

TEST_CASE("slices: copystress: borrowed and copied bytes arrive in order through a socket that takes little at a time") {
    Pair pair;
    const int small = 4096;
    ::setsockopt(pair.write.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ChunkPool pool(1, 4);
    SliceQueue queue;
    std::string wanted, got;
    Chunk chunk = pool.take();
    size_t used = 0;
    for (int i = 0; i < 200; ++i) {
        const size_t n = static_cast<size_t>(i * 37 % 1200 + 1);
        const std::string text(n, static_cast<char>('a' + i % 26));
        if (i % 3 == 0) {
            queue.push({}, {reinterpret_cast<const uint8_t*>(text.data()), n});
        } else {
            std::memcpy(chunk.data() + used, text.data(), n);
            queue.push(chunk, {chunk.data() + used, n});
            used += n;
        }
        wanted += text;
    }
    REQUIRE(used < kChunkBytes);
    CHECK(queue.bytes() == wanted.size());
    chunk = {};
    bool blocked = false;
    for (int turn = 0; turn < 10'000 && !queue.empty(); ++turn) {
        const Io io = queue.write_to(pair.write.get());
        REQUIRE(io.state != Io::State::Failed);
        if (io.state == Io::State::WouldBlock) blocked = true;
        if (turn == 3) queue.settle();
        got += pair.drain();
    }
    got += pair.drain();
    CHECK(blocked);
    CHECK(got == wanted);
    CHECK(pool.out() == 0);
}

TEST_CASE("slices: a few bytes left over do not hold a chunk, most of one does") {
    ChunkPool pool(1, 4);
    for (const size_t size : {size_t{100}, kChunkBytes}) {
        SliceQueue queue;
        Chunk chunk = pool.take();
        queue.push(chunk, {chunk.data(), size});
        chunk = {};
        CHECK(pool.out() == 1);
        queue.settle();
        CHECK(pool.out() == (size == 100 ? 0u : 1u));
        CHECK(queue.bytes() == size);
    }
}

TEST_CASE("slices: a closed reader is a failure with its errno") {
    Pair pair;
    pair.read.reset();
    ::signal(SIGPIPE, SIG_IGN);
    SliceQueue queue;
    const uint8_t byte = 1;
    queue.push({}, {&byte, 1});
    const Io io = queue.write_to(pair.write.get());
    CHECK(io.state == Io::State::Failed);
    CHECK(io.os == EPIPE);
}

TEST_CASE("proxy protocol: both families, the identity's TLV, and families that differ") {
    using warren::base::SockAddr;
    using warren::ztunnel::proxy_header_v2;
    const SockAddr a = *SockAddr::parse("10.0.0.1:1000"), b = *SockAddr::parse("10.0.0.2:80"), c = *SockAddr::parse("[fd00::1]:80");
    const auto v4 = proxy_header_v2(a, b, "spiffe://td/ns/n/sa/s");
    const std::vector<uint8_t> head = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 36,
                                       10,   0,    0,    1,    10,   0,    0,    2,    0x03, 0xe8, 0x00, 0x50, 0xd0, 0x00, 21,   's'};
    REQUIRE(v4.size() == 16 + 36);
    CHECK(std::vector<uint8_t>(v4.begin(), v4.begin() + static_cast<std::ptrdiff_t>(head.size())) == head);
    const auto v6 = proxy_header_v2(c, c, "");
    REQUIRE(v6.size() == 16 + 36);
    CHECK(v6[13] == 0x21);
    const auto mixed = proxy_header_v2(a, c, "");
    REQUIRE(mixed.size() == 16);
    CHECK(mixed[13] == 0x01);
}
