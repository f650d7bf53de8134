// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.h"
#include "tests/ztunnel/h2_harness.h"
#include "ztunnel/h2_session.h"

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::ztunnel::h2test;

namespace {
constexpr uint64_t kMiB = 1024 * 1024;
}

TEST_CASE("h2: large transfers arrive whole both ways with few frames and little credit traffic") {
    struct Case {
        uint32_t stream_window, connection_window, max_frame;
        size_t limit;
    };
    const Case c = GENERATE(Case{4 * kMiB, 16 * kMiB, kMiB, 16 * 16384}, Case{65'535, 65'535, 16'384, 16 * 16384},
                            Case{kMiB, 65'535, 65'536, 100'000}, Case{100'000, 16 * kMiB, 16'777'215, 5'000});
    H2Settings settings;
    settings.stream_window = c.stream_window;
    settings.connection_window = c.connection_window;
    settings.max_frame = c.max_frame;
    Wire wire(settings, settings, c.limit);
    const uint64_t total = 12 * kMiB;
    TestStream* far = nullptr;
    wire.server.prepare = [&](TestStream& s) {
        far = &s;
        s.to_send = total;
        s.finish = true;
    };
    TestStream near;
    near.to_send = total;
    near.finish = true;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    REQUIRE(far != nullptr);
    CHECK(near.received == total);
    CHECK(far->received == total);
    CHECK(near.wrong + far->wrong == 0);
    CHECK(near.clean);
    CHECK(far->clean);
    CHECK(far->in_input);
    const uint64_t window = std::min(c.stream_window, c.connection_window);
    const uint64_t largest = std::min({uint64_t{c.max_frame}, uint64_t{H2Session::kMostPayload}, uint64_t{c.limit}, window});
    for (FrameLog* log : {&wire.up, &wire.down}) {
        CHECK(log->bytes_of[0] == total);
        CHECK(log->longest[0] <= largest);
        // Each turn of the wire may cut a frame short at the end of the output or of a window.
        CHECK(log->count[0] <= 4 * total / largest + 8);
        CHECK(log->empty_data == 1);
        // Two levels of credit, in halves of their windows; and the first one, that widens the connection's.
        CHECK(log->count[8] <= 2 * (2 * total / window) + 3);
    }
    CHECK_FALSE(wire.client.output.misused());
    CHECK_FALSE(wire.server.output.misused());
}

TEST_CASE("h2: DATA frames grow to what sixteen records hold") {
    Wire wire;
    TestStream near;
    near.to_send = 3 * kMiB;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    CHECK(wire.up.longest[0] == H2Session::kMostPayload);
    CHECK(wire.server.streams[1]->received == 3 * kMiB);
}

TEST_CASE("h2: a stream whose reader stalls does not stall its neighbours") {
    Wire wire;
    std::map<int32_t, TestStream*> far;
    wire.server.prepare = [&](TestStream& s) {
        far[s.id] = &s;
        s.hold = s.id == 1;
    };
    TestStream stalled, other;
    stalled.to_send = other.to_send = 40 * kMiB;
    REQUIRE(wire.client.connect(stalled) != nullptr);
    REQUIRE(wire.client.connect(other) != nullptr);
    REQUIRE(wire.run());
    CHECK(far[1]->received == 4 * kMiB);
    CHECK(far[3]->received == 40 * kMiB);
    far[1]->hold = false;
    far[1]->release();
    REQUIRE(wire.run());
    CHECK(far[1]->received == 40 * kMiB);
    CHECK(far[1]->wrong + far[3]->wrong == 0);
}

TEST_CASE("h2: streams with plenty to send take turns, frame by frame") {
    const bool from_client = GENERATE(true, false);
    Wire wire({}, {}, 1'000'000);
    std::vector<std::unique_ptr<TestStream>> near;
    wire.server.prepare = [&](TestStream& s) { s.to_send = from_client ? 0 : 64 * kMiB; };
    for (int i = 0; i < 5; ++i) {
        near.push_back(std::make_unique<TestStream>());
        near.back()->to_send = from_client ? 64 * kMiB : 0;
        REQUIRE(wire.client.connect(*near.back()) != nullptr);
    }
    for (int i = 0; i < 30; ++i) {
        carry(wire.client, wire.server, wire.up);
        carry(wire.server, wire.client, wire.down);
    }
    uint64_t least = UINT64_MAX, most = 0;
    for (auto& s : near) {
        const uint64_t n = from_client ? wire.server.streams[s->id]->received : s->received;
        least = std::min(least, n);
        most = std::max(most, n);
    }
    CHECK(least > kMiB);
    CHECK(most - least <= 2 * H2Session::kMostPayload);
}

TEST_CASE("h2: streams take turns whatever the peer says of priorities") {
    const bool client = GENERATE(true, false);
    // A window of 1 MiB for each stream; a server that has done with priorities (SETTINGS_NO_RFC7540_PRIORITIES)
    std::vector<uint8_t> says = {0, 4, 0, 0x10, 0, 0};
    if (client) says.insert(says.end(), {0, 9, 0, 0, 0, 1});
    Scripted peer(client ? H2Role::Client : H2Role::Server, {}, says);
    TestStream a, b;
    TestStream *first = &a, *second = &b;
    if (peer.end.connect(a) != nullptr) {
        REQUIRE(peer.end.connect(b) != nullptr);
    } else {
        auto urgent = connect_block();
        literal(urgent, "priority", "u=0");
        REQUIRE(peer.give(frame(1, 4, 1, urgent)));
        REQUIRE(peer.give(frame(1, 0x24, 3, [] {  // depends on the other
            std::vector<uint8_t> block{0, 0, 0, 1, 0};
            const auto rest = connect_block();
            block.insert(block.end(), rest.begin(), rest.end());
            return block;
        }())));
        first = peer.end.streams[1].get();
        second = peer.end.streams[3].get();
    }
    peer.drain();
    first->to_send = second->to_send = 64 * kMiB;
    peer.end.h2->resume(first->id);
    peer.end.h2->resume(second->id);
    // The connection's window of 65,535 bytes is four frames.
    peer.drain();
    CHECK(first->sent + second->sent == 65'535);
    CHECK(first->sent >= 2 * 16'383);
    CHECK(second->sent >= 2 * 16'383 - 1);
}

TEST_CASE("h2: a small stream is not behind a bulk one") {
    Wire wire;
    TestStream bulk, small;
    bulk.to_send = 64 * kMiB;
    REQUIRE(wire.client.connect(bulk) != nullptr);
    REQUIRE(wire.client.connect(small) != nullptr);
    REQUIRE(wire.run(SIZE_MAX, 10) == false);
    small.to_send = 10;
    wire.client.h2->resume(small.id);
    for (int i = 0; i < 2; ++i) carry(wire.client, wire.server, wire.up);
    CHECK(wire.server.streams[small.id]->received == 10);
}

TEST_CASE("h2: an output that is full keeps everything for later, in order") {
    const size_t limit = GENERATE(size_t{64}, size_t{100}, size_t{1000});
    Wire wire({}, {}, limit);
    TestStream* far = nullptr;
    wire.server.prepare = [&](TestStream& s) {
        far = &s;
        s.to_send = 20'000;
        s.finish = true;
    };
    TestStream near;
    near.to_send = 20'000;
    near.finish = true;
    REQUIRE(wire.client.connect(near) != nullptr);
    wire.client.h2->ping();
    REQUIRE(wire.run());
    CHECK(near.received == 20'000);
    CHECK(far->received == 20'000);
    CHECK(near.wrong + far->wrong == 0);
    CHECK(near.clean);
    CHECK(wire.client.pongs == 1);

    TestStream last;
    last.to_send = limit;
    REQUIRE(wire.client.connect(last, "h:1") != nullptr);
    auto more = wire.client.h2->send(wire.client.output);
    REQUIRE(more);
    CHECK(*more);
    while (more && *more) {
        CHECK_FALSE(wire.client.output.take().empty());
        more = wire.client.h2->send(wire.client.output);
    }
    CHECK(last.sent == limit);
    CHECK_FALSE(wire.client.h2->wants_send());
}

TEST_CASE("h2: padding is taken off and its credit returned") {
    H2Settings settings;
    settings.stream_window = settings.connection_window = 65'535;
    Scripted peer(H2Role::Server, settings);
    REQUIRE(peer.give(frame(1, 4, 1, connect_block())));
    uint64_t at = 0;
    // Ten windows of it, padding alone would use up the credit.
    for (int i = 0; i < 2'000; ++i) {
        std::vector<uint8_t> payload{255};
        for (int k = 0; k < 72; ++k) payload.push_back(content(1, at++));
        payload.resize(payload.size() + 255);
        REQUIRE(peer.give(frame(0, 8, 1, payload)));
    }
    REQUIRE(peer.give(frame(0, 9, 1, {0})));
    CHECK(peer.end.streams[1]->received == at);
    CHECK(peer.end.streams[1]->wrong == 0);
    CHECK(peer.end.streams[1]->log == "end");
}

TEST_CASE("h2: a peer that sends past its credit loses the stream, or the connection") {
    H2Settings settings;
    settings.stream_window = 65'535;
    Scripted peer(H2Role::Server, settings);
    peer.end.prepare = [](TestStream& s) { s.hold = true; };
    REQUIRE(peer.give(frame(1, 4, 1, connect_block())));
    REQUIRE(peer.give(frame(1, 4, 3, connect_block())));
    for (int i = 0; i < 5; ++i) REQUIRE(peer.give(frame(0, 0, 1, std::vector<uint8_t>(16'000))));
    peer.drain();
    CHECK(peer.end.streams[1]->log == "reset 3 local");
    CHECK(peer.end.streams[3]->log.empty());
    REQUIRE(peer.give(frame(0, 0, 3, {content(1, 0)})));
    CHECK(peer.end.streams[3]->received == 1);
}

TEST_CASE("h2: credit of what arrives for a stream that is gone goes back to the connection") {
    H2Settings settings;
    settings.connection_window = 65'535;
    settings.stream_window = 65'535;
    Scripted peer(H2Role::Server, settings);
    for (uint32_t id = 1; id < 21; id += 2) {
        REQUIRE(peer.give(frame(1, 4, id, connect_block())));
        peer.end.h2->reset(static_cast<int32_t>(id), 8);
        std::vector<uint8_t> bytes = frame(0, 0, id, std::vector<uint8_t>(16'000));
        REQUIRE(peer.end.h2->receive(bytes));  // before the RST_STREAM has left
        REQUIRE(peer.give(frame(0, 0, id, std::vector<uint8_t>(16'000))));
    }
    CHECK(peer.end.streams[1]->received == 0);
    CHECK(peer.end.streams[19]->log == "reset 8 local");

    // Refused, and its answer has not left when more arrives; or reset from within on_data with more of the frame to come.
    peer.end.decide = [&](int32_t id, const H2Request&) -> H2Stream* {
        peer.end.h2->refuse(id, 503);
        return nullptr;
    };
    for (uint32_t id = 21; id < 41; id += 2) {
        auto bytes = frame(1, 4, id, connect_block());
        const auto data = frame(0, 0, id, std::vector<uint8_t>(16'000));
        bytes.insert(bytes.end(), data.begin(), data.end());
        REQUIRE(peer.give(bytes));
    }
    peer.end.decide = nullptr;
    peer.end.prepare = [&](TestStream& s) { s.when_data = [&] { peer.end.h2->reset(s.id, 8); }; };
    for (uint32_t id = 41; id < 61; id += 2) {
        REQUIRE(peer.give(frame(1, 4, id, connect_block())));
        const auto data = frame(0, 0, id, std::vector<uint8_t>(16'000));
        for (size_t at = 0; at < data.size(); at += 1000) {
            std::vector<uint8_t> part(data.begin() + static_cast<ptrdiff_t>(at),
                                      data.begin() + static_cast<ptrdiff_t>(std::min(data.size(), at + 1000)));
            REQUIRE(peer.end.h2->receive(part));
        }
        CHECK(peer.end.streams[static_cast<int32_t>(id)]->received == 991);
    }
}
