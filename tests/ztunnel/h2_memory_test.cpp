// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_memory.h"

#include "tests/catch.h"
#include "tests/ztunnel/h2_harness.h"
#include "ztunnel/h2_session.h"

#include <malloc.h>

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::ztunnel::h2test;

namespace {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCountable = false;  // the sanitizers bring their own allocator
#else
constexpr bool kCountable = true;
#endif
size_t in_use() { return mallinfo2().uordblks + mallinfo2().hblkhd; }
}  // namespace

TEST_CASE("h2 memory: an idle session after traffic stays below 12 KB of heap") {
    constexpr size_t kPairs = 50;
    // The harness, less the sessions, is measured with the sessions taken away.
    std::vector<std::unique_ptr<Wire>> wires;
    for (size_t i = 0; i < kPairs; ++i) {
        auto wire = std::make_unique<Wire>();
        wire->server.prepare = [](TestStream& s) { s.finish = true, s.to_send = 1'000'000; };
        TestStream near;
        near.to_send = 1'000'000;
        near.finish = true;
        const Header fields[] = {
            {"baggage", "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=web,service.name=web"},
            {"forwarded", "for=\"10.0.0.9:4711\""},
            {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}};
        REQUIRE(wire->client.connect(near, "10.0.0.1:8080", fields) != nullptr);
        REQUIRE(wire->run());
        REQUIRE(near.clean);
        wires.push_back(std::move(wire));
    }
    const size_t with = in_use();
    for (auto& w : wires) {
        w->client.h2.reset();
        w->server.h2.reset();
    }
    const size_t each = (with - in_use()) / (2 * kPairs);
    INFO("idle session: " << each << " bytes of heap");
    if (kCountable) CHECK(each < 12 * 1024);
}

TEST_CASE("h2 memory: an open stream costs less than 1 KB on each side") {
    Wire wire;
    REQUIRE(wire.run());
    std::vector<TestStream> near(100);
    wire.server.streams.clear();
    const size_t before = in_use();
    for (auto& s : near) REQUIRE(wire.client.connect(s) != nullptr);
    REQUIRE(wire.run());
    const size_t harness = 100 * (sizeof(TestStream) + 100);
    const size_t each = (in_use() - before - std::min(harness, in_use() - before)) / 200;
    INFO("open stream: " << each << " bytes of heap on each side");
    if (kCountable) CHECK(each < 1024);
    wire.client.h2->abort();
    wire.server.h2->abort();
}

TEST_CASE("h2 memory: large blocks are mapped, small ones are not, and all come back") {
    H2Memory memory;
    void* small = memory.allocate(100);
    CHECK(memory.mapped() == 0);
    auto* big = static_cast<uint8_t*>(memory.allocate_zeroed(1000, 20));
    CHECK(memory.mapped() == 20'000);
    CHECK(std::all_of(big, big + 20'000, [](uint8_t b) { return b == 0; }));
    big[0] = 7;
    big[19'999] = 9;
    auto* bigger = static_cast<uint8_t*>(memory.resize(big, 300'000));
    CHECK(bigger[0] == 7);
    CHECK(bigger[19'999] == 9);
    CHECK(memory.mapped() == 300'000);
    small = memory.resize(small, 200);
    memory.release(small);
    memory.release(bigger);
    memory.release(nullptr);
    CHECK(memory.mapped() == 0);
    std::array<void*, 6> many{};
    for (void*& at : many) at = memory.allocate(20'000);
    CHECK(memory.mapped() == 80'000);  // beyond four it is malloc's
    for (void* at : many) memory.release(at);
    CHECK(memory.mapped() == 0);
    CHECK(memory.allocate_zeroed(SIZE_MAX, 2) == nullptr);
}
