// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_floods.h"

#include "tests/catch.h"
#include "tests/ztunnel/h2_harness.h"
#include "ztunnel/h2_session.h"

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::ztunnel::h2test;

namespace {

// Gives frames until the session has had enough; how many it took, or `most`.
int until_ended(Scripted& peer, int most, const std::function<std::vector<uint8_t>(int)>& next) {
    for (int i = 0; i < most; ++i)
        if (!peer.give(next(i))) return i;
    return most;
}

void check_flood(Scripted& peer, std::string_view what) {
    REQUIRE_FALSE(peer.end.outcome.has_value());
    CHECK(peer.end.outcome.error().code == base::Errc::Protocol);
    CHECK(peer.end.outcome.error().detail == "HTTP/2 flood of " + std::string(what));
    CHECK(peer.end.h2->counters().floods == 1);
    CHECK(peer.goaway_code() == 0xb);
    CHECK(peer.end.h2->finished());
}

}  // namespace

TEST_CASE("h2 floods: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA and unknown frames end the connection") {
    Scripted peer;
    REQUIRE(peer.give(frame(1, 4, 1, connect_block())));
    const int most = 100'000;
    std::string_view what;
    std::vector<uint8_t> one;
    SECTION("PING") { one = frame(6, 0, 0, std::vector<uint8_t>(8)), what = "PING frames"; }
    SECTION("PING answers") { one = frame(6, 1, 0, std::vector<uint8_t>(8)), what = "PING frames"; }
    SECTION("SETTINGS") { one = frame(4, 0, 0, {0, 4, 0, 0, 0, 9}), what = "SETTINGS frames"; }
    SECTION("WINDOW_UPDATE") { one = frame(8, 0, 1, number(1)), what = "WINDOW_UPDATE frames"; }
    SECTION("PRIORITY") { one = frame(2, 0, 1, {0, 0, 0, 9, 1}), what = "PRIORITY frames"; }
    SECTION("empty DATA") { one = frame(0, 0, 1), what = "empty DATA frames"; }
    SECTION("DATA of padding") { one = frame(0, 8, 1, std::vector<uint8_t>{3, 0, 0, 0}), what = "empty DATA frames"; }
    SECTION("unknown") { one = frame(0xbe, 0, 1, {1, 2, 3}), what = "frames of unknown type"; }
    SECTION("RST_STREAM of a stream long gone") {
        REQUIRE(peer.give(frame(3, 0, 1, number(8))));
        one = frame(3, 0, 1, number(8)), what = "RST_STREAM frames";
    }
    const int took = until_ended(peer, most, [&](int) { return one; });
    CHECK(took > 500);
    CHECK(took < 30'000);
    check_flood(peer, what);
}

TEST_CASE("h2 floods: a peer that does not read its answers is ended early") {
    Scripted peer;
    peer.drain();
    auto ping = frame(6, 0, 0, std::vector<uint8_t>(8));
    int took = 0;
    for (; took < 10'000; ++took)
        if (!peer.end.h2->receive(ping)) break;
    CHECK(took == 200);
    CHECK(peer.end.h2->counters().floods == 1);
}

TEST_CASE("h2 floods: SETTINGS with very many entries") {
    Scripted peer;
    std::vector<uint8_t> many;
    for (int i = 0; i < 33; ++i) many.insert(many.end(), {0, 4, 0, 0, 0, 9});
    CHECK_FALSE(peer.give(frame(4, 0, 0, many)));
    check_flood(peer, "SETTINGS frames");
}

TEST_CASE("h2 floods: header blocks without end") {
    Scripted peer;
    SECTION("in empty pieces") {
        REQUIRE(peer.give(frame(1, 0, 1, connect_block())));
        CHECK(until_ended(peer, 1000, [](int) { return frame(9, 0, 1); }) == 32);
        check_flood(peer, "CONTINUATION frames");
    }
    SECTION("of small pieces") {
        REQUIRE(peer.give(frame(1, 0, 1, connect_block())));
        std::vector<uint8_t> piece;
        literal(piece, "a", "b");
        CHECK(until_ended(peer, 1000, [&](int) { return frame(9, 0, 1, piece); }) == 32);
        check_flood(peer, "CONTINUATION frames");
    }
    SECTION("on a stream that is ignored") {
        REQUIRE(peer.give(frame(1, 5, 1, connect_block())));
        peer.end.h2->reset(1, 8);
        peer.drain();
        std::vector<uint8_t> big(60'000, 0x80 | 16);
        until_ended(peer, 1000, [&](int) { return frame(1, 4, 1, big); });
        check_flood(peer, "header bytes");
    }
}

TEST_CASE("h2 floods: a header block in pieces, byte by byte, is not a flood") {
    H2Settings settings;
    settings.max_header_list = 65'536;
    Scripted peer(H2Role::Server, settings);
    std::vector<uint8_t> block = connect_block();
    literal(block, "baggage", std::string(20'000, 'x'));
    std::vector<uint8_t> all = frame(1, 0, 1, {block.begin(), block.begin() + 10});
    for (size_t at = 10; at < block.size(); at += 1000) {
        const size_t end = std::min(block.size(), at + 1000);
        const auto piece = frame(9, end == block.size() ? 4 : 0, 1,
                                 {block.begin() + static_cast<ptrdiff_t>(at), block.begin() + static_cast<ptrdiff_t>(end)});
        all.insert(all.end(), piece.begin(), piece.end());
    }
    for (const uint8_t b : all) REQUIRE(peer.give({b}));
    CHECK(peer.end.requests == 1);
    CHECK(peer.end.headers.size() == 1);
}

TEST_CASE("h2 floods: streams opened and reset before their answer") {
    Scripted peer;
    const bool reads = GENERATE(true, false);
    if (reads) {
        peer.end.decide = [&](int32_t id, const H2Request&) -> H2Stream* {  // a connect to the application is under way
            auto stream = std::make_unique<TestStream>();
            TestStream* raw = stream.get();
            raw->h2 = peer.end.h2.get();
            peer.end.streams[id] = std::move(stream);
            return raw;
        };
    }
    peer.drain();
    int took = 0;
    for (; took < 20'000; ++took) {
        const auto id = static_cast<uint32_t>(2 * took + 1);
        auto both = frame(1, 4, id, connect_block());
        const auto rst = frame(3, 0, id, number(8));
        both.insert(both.end(), rst.begin(), rst.end());
        if (reads) {
            if (!peer.give(both)) break;
        } else if (auto got = peer.end.h2->receive(both); !got) {  // answered in an instant, but nothing leaves
            peer.end.outcome = std::move(got).error();
            break;
        }
        peer.end.streams.erase(static_cast<int32_t>(id));
    }
    CHECK(took == 1000);
    check_flood(peer, "streams reset before their answer");
}

TEST_CASE("h2 floods: resets among streams that are answered are no flood") {
    Scripted peer;
    bool refuse = false;
    TestStream waiting;
    waiting.h2 = peer.end.h2.get();
    peer.end.decide = [&](int32_t id, const H2Request&) -> H2Stream* {
        if (!refuse) return &waiting;
        peer.end.h2->refuse(id, 401);
        return nullptr;
    };
    for (uint32_t i = 0; i < 20'000; ++i) {
        const uint32_t id = 2 * i + 1;
        refuse = i % 2 == 0;
        if (!peer.give(frame(1, refuse ? 5 : 4, id, connect_block()))) FAIL("stream " << i);
        if (!refuse && !peer.give(frame(3, 0, id, number(8)))) FAIL("reset " << i);
    }
    CHECK(waiting.closes == 10'000);
    CHECK(peer.end.h2->counters().floods == 0);
}

TEST_CASE("h2 floods: streams that we must reset for the peer's mistakes") {
    Scripted peer;
    int took = 0;
    for (; took < 20'000; ++took) {
        const auto id = static_cast<uint32_t>(2 * took + 1);
        auto both = frame(1, 4, id, connect_block());
        const auto overflow = frame(8, 0, id, number(0x7fffffff));
        both.insert(both.end(), overflow.begin(), overflow.end());
        if (!peer.give(both)) break;
    }
    CHECK(took == 1000);
    check_flood(peer, "streams reset before their answer");
}

TEST_CASE("h2 floods: streams that never read hold their slots and nothing else") {
    H2Settings settings;
    settings.max_concurrent_streams = 50;
    Scripted peer(H2Role::Server, settings);
    REQUIRE(peer.give(frame(4, 0, 0, {0, 4, 0, 0, 0, 0})));  // no window at all
    peer.end.prepare = [](TestStream& s) { s.to_send = 1 << 30; };
    for (uint32_t i = 0; i < 50; ++i) REQUIRE(peer.give(frame(1, 4, 2 * i + 1, connect_block())));
    peer.drain();
    for (auto& [id, stream] : peer.end.streams) CHECK(stream->sent == 0);
    CHECK_FALSE(peer.end.h2->wants_send());
    CHECK_FALSE(peer.give(frame(1, 4, 101, connect_block())));  // one more than we said
    CHECK(peer.end.requests == 50);
}

TEST_CASE("h2 floods: a busy connection is never mistaken for one") {
    Wire wire;
    wire.server.prepare = [&](TestStream& s) {
        s.to_send = 3;
        s.finish = true;
    };
    for (int i = 0; i < 100'000; ++i) {
        TestStream near;
        near.to_send = 3;
        near.finish = true;
        if (wire.client.connect(near) == nullptr) FAIL("connect " << i);
        if (i % 2 == 0) {
            wire.client.h2->ping();
            wire.server.h2->ping();
        }
        if (i % 3 == 0) near.when_end = [&] { wire.client.h2->reset(near.id, 8); };  // as applications that do not wait
        if (!wire.run() || near.closes != 1 || near.received != 3 || near.wrong != 0) FAIL("stream " << i);
        wire.server.streams.clear();
    }
    CHECK(wire.client.outcome.has_value());
    CHECK(wire.server.outcome.has_value());
    CHECK(wire.client.h2->counters().floods + wire.server.h2->counters().floods == 0);
    CHECK(wire.client.h2->counters().streams_opened == 100'000);
    CHECK(wire.server.pongs == 50'000);
}

TEST_CASE("h2 floods: an idle connection may be kept alive for ever") {
    Scripted peer;
    for (int i = 0; i < 100'000; ++i) {
        if (!peer.give(frame(6, 0, 0, std::vector<uint8_t>(8)))) FAIL("PING " << i);
        peer.end.h2->tick();
    }
    CHECK(peer.end.h2->counters().floods == 0);
}

TEST_CASE("h2 floods: credit in small steps is what the data we send pays for") {
    H2Floods floods(false, 65'536);
    for (int round = 0; round < 100; ++round) {
        for (int i = 0; i < 64; ++i) floods.data_sent(H2Session::kMostPayload);  // 16 MiB
        const auto update = frame(8, 0, 1, number(512));
        for (int i = 0; i < 16 * 1024 * 1024 / 1024 * 2; ++i) REQUIRE(floods.inspect(update) == update.size());
    }
    CHECK(floods.abuse() == H2Abuse::None);
}

TEST_CASE("h2 floods: frame heads are found wherever the input is cut") {
    std::vector<uint8_t> all(kPreface.begin(), kPreface.end());
    for (const auto& f :
         {frame(4, 0, 0), frame(6, 0, 0, std::vector<uint8_t>(8)), frame(0, 0, 1, std::vector<uint8_t>(5000)), frame(8, 0, 0, number(5))})
        all.insert(all.end(), f.begin(), f.end());
    for (const size_t step : {1u, 2u, 5u, 8u, 9u, 10u, 100u, 100'000u}) {
        H2Floods floods(true, 65'536);
        for (size_t at = 0; at < all.size(); at += step) {
            const auto part = std::span(all).subspan(at, std::min(step, all.size() - at));
            REQUIRE(floods.inspect(part) == part.size());
        }
        CHECK(floods.noise_left() == H2Floods::kNoiseStart - 20 - 1 + 4 + 5000 / 512 - 1);
    }
    H2Floods strict(false, 1024);
    auto two = frame(6, 0, 0, std::vector<uint8_t>(8));
    const size_t good = two.size();
    const auto long_block = frame(1, 4, 1, std::vector<uint8_t>(2049));
    two.insert(two.end(), long_block.begin(), long_block.end());
    CHECK(strict.inspect(two) == good);
    CHECK(strict.abuse() == H2Abuse::HeaderBlock);
    CHECK(strict.inspect(two) == 0);
}
