// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_session.h"

#include "tests/catch.h"
#include "tests/ztunnel/h2_harness.h"

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::ztunnel::h2test;

TEST_CASE("h2: a tunnel opens, carries both ways, and closes cleanly in either order of half-close") {
    const bool client_first = GENERATE(true, false);
    const size_t step = GENERATE(size_t{1}, size_t{7}, size_t{SIZE_MAX});
    Wire wire;
    TestStream* far = nullptr;
    wire.server.prepare = [&](TestStream& s) {
        s.to_send = 50'000;
        far = &s;
        s.finish = !client_first;
    };
    TestStream near;
    near.to_send = 70'000;
    near.finish = client_first;
    const Header fields[] = {{"baggage", "k8s.cluster.name=a"}, {"forwarded", "for=\"10.0.0.9:4711\""}, {"x-empty", ""}};
    REQUIRE(wire.client.connect(near, "[fd00::1]:8080", fields) != nullptr);
    REQUIRE(wire.run(step));
    REQUIRE(far != nullptr);
    CHECK(wire.server.method == "CONNECT");
    CHECK(wire.server.authority == "[fd00::1]:8080");
    CHECK(wire.server.headers == std::vector<std::pair<std::string, std::string>>{
                                     {"baggage", "k8s.cluster.name=a"}, {"forwarded", "for=\"10.0.0.9:4711\""}, {"x-empty", ""}});
    CHECK(near.status == 200);
    CHECK(near.received == 50'000);
    CHECK(far->received == 70'000);
    CHECK(near.wrong + far->wrong == 0);
    CHECK(far->in_input);
    CHECK((client_first ? far->ends : near.ends) == 1);
    CHECK((client_first ? near.ends : far->ends) == 0);
    CHECK(near.closes + far->closes == 0);
    CHECK(wire.client.h2->active_streams() == 1);

    near.finish = far->finish = true;
    wire.client.h2->resume(near.id);
    wire.server.h2->resume(far->id);
    REQUIRE(wire.run(step));
    for (TestStream* s : {&near, far}) {
        CHECK(s->ends == 1);
        CHECK(s->closes == 1);
        CHECK(s->clean);
        CHECK(s->after_close == 0);
    }
    CHECK(near.log == "response 200; end; closed");
    CHECK(wire.client.h2->active_streams() == 0);
    CHECK(wire.server.h2->active_streams() == 0);
    CHECK_FALSE(wire.client.h2->wants_send());
    CHECK_FALSE(wire.client.h2->finished());
    CHECK_FALSE(wire.client.output.misused());
    CHECK_FALSE(wire.server.output.misused());
    CHECK(wire.client.h2->counters().streams_reset == 0);
    CHECK(wire.client.outcome.has_value());
    CHECK(wire.server.outcome.has_value());
}

TEST_CASE("h2: settings reach the peer, and the assumed limit of 100 streams holds until they do") {
    H2Settings server;
    server.max_concurrent_streams = 3;
    Wire wire({}, server);
    std::vector<std::unique_ptr<TestStream>> many;
    for (int i = 0; i < 100; ++i) {
        many.push_back(std::make_unique<TestStream>());
        REQUIRE(wire.client.connect(*many.back()) != nullptr);
    }
    TestStream extra;
    auto over = wire.client.h2->connect("10.0.0.1:80", {}, extra);
    REQUIRE_FALSE(over);
    CHECK(over.error().code == base::Errc::Exhausted);
    for (auto& s : many) wire.client.h2->reset(s->id, 8);
    REQUIRE(wire.run());
    CHECK(wire.client.settings_seen == 1);
    CHECK(wire.client.peer_limit == 3);
    CHECK(wire.server.peer_limit == UINT32_MAX);
    TestStream a, b, c;
    CHECK(wire.client.connect(a) != nullptr);
    CHECK(wire.client.connect(b) != nullptr);
    CHECK(wire.client.connect(c) != nullptr);
    CHECK_FALSE(wire.client.h2->connect("10.0.0.1:80", {}, extra));
    REQUIRE(wire.run());
    CHECK((a.status == 200 && b.status == 200 && c.status == 200));
}

TEST_CASE("h2: settings out of range are refused by name") {
    End dummy(H2Role::Client);
    H2Settings s;
    s.max_frame = 16383;
    auto made = H2Session::create(H2Role::Client, s, dummy);
    REQUIRE_FALSE(made);
    CHECK(made.error().detail == "HTTP/2 frame size 16383: use 16384 to 16777215");
    s = {};
    s.stream_window = 0;
    CHECK_FALSE(H2Session::create(H2Role::Client, s, dummy));
    s = {};
    s.connection_window = 65534;
    CHECK_FALSE(H2Session::create(H2Role::Server, s, dummy));
    s = {};
    s.max_header_list = 10;
    CHECK_FALSE(H2Session::create(H2Role::Server, s, dummy));
    s = {};
    s.max_concurrent_streams = 0;
    CHECK_FALSE(H2Session::create(H2Role::Server, s, dummy));
}

TEST_CASE("h2: connect refuses what could not be sent as it is") {
    Wire wire;
    TestStream s;
    CHECK_FALSE(wire.client.h2->connect("", {}, s));
    CHECK_FALSE(wire.client.h2->connect("a b:80", {}, s));
    const Header upper[] = {{"Baggage", "x"}};
    CHECK_FALSE(wire.client.h2->connect("h:80", upper, s));
    const Header split[] = {{"baggage", "x\r\ny: z"}};
    CHECK_FALSE(wire.client.h2->connect("h:80", split, s));
    const Header pseudo[] = {{":path", "/"}};
    CHECK_FALSE(wire.client.h2->connect("h:80", pseudo, s));
    const std::string long_value(15 * 1024, 'a');
    const Header longer[] = {{"baggage", long_value}};
    CHECK_FALSE(wire.client.h2->connect("h:80", longer, s));
    CHECK_FALSE(wire.server.h2->connect("h:80", {}, s));
    CHECK(wire.client.h2->active_streams() == 0);
}

TEST_CASE("h2: a refused stream ends at once with its status, whatever the client still has to send") {
    const bool owned = GENERATE(true, false);
    Wire wire;
    TestStream far;
    far.h2 = wire.server.h2.get();
    wire.server.decide = [&](int32_t id, const H2Request&) -> H2Stream* {
        far.id = id;
        wire.server.h2->refuse(id, 401);
        wire.server.h2->accept(id, {});  // too late, ignored
        return owned ? &far : nullptr;
    };
    TestStream near;
    near.to_send = 10'000'000;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    CHECK(near.log == "response 401; end; reset 0 peer");
    CHECK(near.headers.empty());
    CHECK(far.log == (owned ? "reset 0 local" : ""));
    CHECK(far.received == 0);
    CHECK(wire.server.h2->active_streams() == 0);
    CHECK(wire.server.h2->counters().refused == 1);
    CHECK(wire.client.outcome.has_value());
}

TEST_CASE("h2: a request that nobody takes is reset") {
    Wire wire;
    wire.server.decide = [](int32_t, const H2Request&) -> H2Stream* { return nullptr; };
    TestStream near;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    CHECK(near.log == "reset 2 peer");
}

TEST_CASE("h2: a reset carries its code to the other side, and its owner hears only of the end") {
    Wire wire;
    TestStream* far = nullptr;
    wire.server.prepare = [&](TestStream& s) { far = &s; };
    TestStream near;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    SECTION("by the client") {
        near.to_send = 1000;
        wire.client.h2->resume(near.id);
        wire.client.h2->reset(near.id, 8);
        wire.client.h2->reset(near.id, 2);
        CHECK(near.closes == 0);  // not from inside reset()
        REQUIRE(wire.run());
        CHECK(near.log == "response 200; reset 8 local");
        CHECK(far->log == "reset 8 peer");
        CHECK(far->received == 0);
    }
    SECTION("by the server") {
        wire.server.h2->reset(far->id, 0xa);
        REQUIRE(wire.run());
        CHECK(near.log == "response 200; reset 10 peer");
        CHECK(far->log == "reset 10 local");
    }
    SECTION("because its payload cannot be read") {
        far->fail = true;
        wire.server.h2->resume(far->id);
        REQUIRE(wire.run());
        CHECK(near.log == "response 200; reset 10 peer");
        CHECK(far->log == "reset 10 local");
    }
    SECTION("with an output that takes nothing") {
        MemoryOutput none(0);
        wire.client.h2->reset(near.id, 8);
        auto more = wire.client.h2->send(none);
        REQUIRE(more);
        CHECK(*more);
        CHECK(near.log == "response 200; reset 8 local");
        REQUIRE(wire.run());
        CHECK(far->log == "reset 8 peer");
    }
    CHECK(wire.client.h2->active_streams() + wire.server.h2->active_streams() == 0);
    CHECK(near.after_close + far->after_close == 0);
}

TEST_CASE("h2: owners may call the session from every callback") {
    Wire wire;
    TestStream* far = nullptr;
    wire.server.prepare = [&](TestStream& s) {
        if (far != nullptr) return;
        far = &s;
        s.to_send = 100'000;
        s.when_data = [&] {
            if (far->received < 100) return;
            wire.server.h2->reset(far->id, 8);
            std::vector<uint8_t> none;
            CHECK_FALSE(wire.server.h2->receive(none));
            CHECK(*wire.server.h2->send(wire.server.output));
        };
    };
    TestStream near, second, third;
    near.when_response = [&] {
        wire.client.connect(second);
        near.to_send = 100'000;
        wire.client.h2->resume(near.id);
    };
    near.when_closed = [&] {
        wire.client.connect(third);
        wire.client.h2->ping();
    };
    second.when_read = [&] {
        wire.client.h2->resume(second.id);
        wire.client.h2->resume(near.id);
    };
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run(1000));
    CHECK(near.closes == 1);
    CHECK(near.reset.code == 8);
    CHECK(second.responses == 1);
    CHECK(third.responses == 1);
    CHECK(wire.client.pongs == 1);
    CHECK(wire.client.outcome.has_value());
}

TEST_CASE("h2: a resume from inside the read that found nothing is not lost") {
    Wire wire;
    TestStream near;
    near.when_read = [&] {
        if (near.reads == 2) wire.client.h2->resume(near.id);
        if (near.reads == 3) near.to_send = 10;
    };
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    REQUIRE(near.reads == 1);
    wire.client.h2->resume(near.id);
    REQUIRE(wire.run());
    CHECK(wire.server.streams[near.id]->received == 10);
}

TEST_CASE("h2: abort closes every stream now, from anywhere") {
    Wire wire;
    TestStream a, b;
    REQUIRE(wire.client.connect(a) != nullptr);
    REQUIRE(wire.client.connect(b) != nullptr);
    REQUIRE(wire.run());
    const int from = GENERATE(0, 1, 2);
    if (from == 0) {
        a.when_closed = [&] { wire.client.h2->reset(b.id, 8); };
        wire.client.h2->abort();
    } else if (from == 1) {
        b.when_read = [&] { wire.client.h2->abort(); };
        wire.client.h2->resume(b.id);
        (void)wire.client.h2->send(wire.client.output);
    } else {
        a.when_data = [&] { wire.client.h2->abort(); };
        wire.server.streams[a.id]->to_send = 100'000;
        wire.server.h2->resume(a.id);
        wire.run();
    }
    CHECK(a.log == "response 200; reset 8 local");
    CHECK(b.log == "response 200; reset 8 local");
    CHECK(wire.client.h2->active_streams() == 0);
    CHECK(wire.client.h2->finished());
    CHECK_FALSE(wire.client.h2->wants_send());
    TestStream late;
    CHECK_FALSE(wire.client.h2->connect("h:1", {}, late));
    wire.client.h2->goaway(true);
    wire.client.h2->ping();
    wire.client.h2->reset(a.id, 8);
    CHECK_FALSE(*wire.client.h2->send(wire.client.output));
}

TEST_CASE("h2: a draining server lets its streams finish and refuses new ones") {
    Wire wire;
    TestStream near;
    near.to_send = 1000;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    wire.server.h2->goaway(true);
    wire.server.h2->goaway(true);

    // Before the notice arrives the client opens one more: it is within what the first GOAWAY allows.
    TestStream crossing;
    REQUIRE(wire.client.connect(crossing) != nullptr);
    REQUIRE(carry(wire.client, wire.server, wire.up));
    REQUIRE(wire.run());
    CHECK(crossing.status == 200);
    CHECK(wire.client.log == "goaway 2147483647 0;goaway 3 0;");
    TestStream late;
    auto refused = wire.client.h2->connect("h:80", {}, late);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == base::Errc::Unavailable);
    CHECK_FALSE(wire.server.h2->finished());
    CHECK_FALSE(wire.client.h2->finished());

    near.to_send = 5000;
    near.finish = crossing.finish = true;
    for (TestStream* s : {&near, &crossing}) {
        wire.client.h2->resume(s->id);
        wire.server.streams[s->id]->finish = true;
        wire.server.h2->resume(s->id);
    }
    REQUIRE(wire.run());
    CHECK(near.clean);
    CHECK(crossing.clean);
    CHECK(wire.server.streams[near.id]->received == 5000);
    CHECK(wire.server.h2->finished());
    CHECK(wire.client.h2->finished());
}

TEST_CASE("h2: what the peer will not look at after its GOAWAY may be tried elsewhere") {
    Scripted peer(H2Role::Client);
    TestStream first, second, queued;
    REQUIRE(peer.end.connect(first) != nullptr);
    REQUIRE(peer.end.connect(second) != nullptr);
    peer.drain();
    REQUIRE(peer.end.connect(queued) != nullptr);  // its HEADERS have not left
    std::vector<uint8_t> payload = number(1);
    for (const uint8_t b : number(0)) payload.push_back(b);
    auto bytes = frame(7, 0, 0, payload);
    REQUIRE(peer.end.h2->receive(bytes));
    peer.drain();
    CHECK(second.log == "reset 7 peer");
    CHECK(queued.log == "reset 7 peer");
    CHECK(first.log.empty());
    CHECK(peer.end.log == "goaway 1 0;");
}

TEST_CASE("h2: a client that drains says so and finishes its streams") {
    Wire wire;
    TestStream near;
    near.finish = true;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    wire.client.h2->goaway(true);
    TestStream late;
    CHECK_FALSE(wire.client.h2->connect("h:1", {}, late));
    REQUIRE(wire.run());
    CHECK(wire.server.log == "goaway 0 0;");
    CHECK_FALSE(wire.client.h2->finished());
    wire.server.streams[near.id]->finish = true;
    wire.server.h2->resume(near.id);
    REQUIRE(wire.run());
    CHECK(near.clean);
    CHECK(wire.client.h2->finished());
    CHECK(wire.server.h2->finished());
}

TEST_CASE("h2: a GOAWAY that is not graceful cuts every stream and finishes") {
    Wire wire;
    TestStream near;
    REQUIRE(wire.client.connect(near) != nullptr);
    REQUIRE(wire.run());
    TestStream& far = *wire.server.streams[near.id];
    wire.server.h2->goaway(false, 2);
    CHECK(far.closes == 0);
    (void)wire.server.h2->send(wire.server.output);
    CHECK(far.log == "reset 2 local");
    CHECK(wire.server.h2->finished());
    auto bytes = wire.server.output.take();
    REQUIRE(wire.client.h2->receive(bytes));
    CHECK(wire.client.log == "goaway 1 2;");
    std::vector<uint8_t> ignored{1, 2, 3};
    CHECK(wire.server.h2->receive(ignored));
}

TEST_CASE("h2: pings are answered, one at a time, and only their answer counts") {
    Scripted peer;
    peer.end.h2->ping();
    peer.end.h2->ping();
    peer.drain();
    CHECK(peer.said.count[6] == 1);
    REQUIRE(peer.give(frame(6, 1, 0, {'p', 9, 9, 9, 9, 9, 9, 9})));
    CHECK(peer.end.pongs == 0);
    REQUIRE(peer.give(frame(6, 1, 0, {'p', 1, 0, 0, 0, 0, 0, 0})));
    CHECK(peer.end.pongs == 1);
    REQUIRE(peer.give(frame(6, 1, 0, {'p', 1, 0, 0, 0, 0, 0, 0})));
    CHECK(peer.end.pongs == 1);
    REQUIRE(peer.give(frame(6, 1, 0, {'d', 'r', 'a', 'i', 'n', 0, 0, 0})));  // not draining
    REQUIRE(peer.give(frame(6, 0, 0, {1, 2, 3, 4, 5, 6, 7, 8})));
    peer.drain();
    CHECK(peer.said.count[6] == 2);
    CHECK(peer.said.count[7] == 0);
}

TEST_CASE("h2: informational responses are passed over, and trailers end the stream") {
    Scripted peer(H2Role::Client);
    TestStream near;
    REQUIRE(peer.end.connect(near) != nullptr);
    auto status = [](std::string_view code, bool extra) {
        std::vector<uint8_t> block;
        literal(block, ":status", code);
        if (extra) literal(block, "x-from", code);
        return block;
    };
    REQUIRE(peer.give(frame(1, 4, 1, status("103", true))));
    REQUIRE(peer.give(frame(1, 4, 1, status("100", false))));
    CHECK(near.responses == 0);
    REQUIRE(peer.give(frame(1, 4, 1, status("200", true))));
    CHECK(near.status == 200);
    CHECK(near.headers == std::vector<std::pair<std::string, std::string>>{{"x-from", "200"}});
    REQUIRE(peer.give(frame(0, 0, 1, {content(2, 0), content(2, 1)})));
    std::vector<uint8_t> trailers;
    literal(trailers, "grpc-status", "0");
    REQUIRE(peer.give(frame(1, 5, 1, trailers)));
    CHECK(near.log == "response 200; end");
    CHECK(near.received == 2);
    CHECK(near.wrong == 0);
}

TEST_CASE("h2: a response that ends the stream is followed by on_end") {
    Scripted peer(H2Role::Client);
    TestStream near;
    near.finish = true;
    REQUIRE(peer.end.connect(near) != nullptr);
    std::vector<uint8_t> block;
    literal(block, ":status", "503");
    REQUIRE(peer.give(frame(1, 5, 1, block)));
    peer.drain();
    CHECK(near.log == "response 503; end; closed");
}

TEST_CASE("h2: methods other than CONNECT reach the owner, malformed requests are reset") {
    Scripted peer;
    peer.end.decide = [&](int32_t id, const H2Request&) -> H2Stream* {
        peer.end.h2->refuse(id, 400);
        return nullptr;
    };
    std::vector<uint8_t> get;
    literal(get, ":method", "GET");
    literal(get, ":scheme", "https");
    literal(get, ":path", "/");
    literal(get, ":authority", "h:80");
    REQUIRE(peer.give(frame(1, 5, 1, get)));
    CHECK(peer.end.method == "GET");
    peer.drain();
    CHECK(peer.said.count[3] == 0);

    std::vector<uint8_t> nowhere;
    literal(nowhere, ":method", "CONNECT");
    REQUIRE(peer.give(frame(1, 4, 3, nowhere)));
    auto with_path = connect_block();
    literal(with_path, ":path", "/");
    REQUIRE(peer.give(frame(1, 4, 5, with_path)));
    auto extended = connect_block();
    literal(extended, ":protocol", "websocket");
    REQUIRE(peer.give(frame(1, 4, 7, extended)));
    peer.drain();
    CHECK(peer.end.requests == 1);
    CHECK(peer.said.count[3] == 3);
    CHECK(peer.end.h2->active_streams() == 0);

    peer.end.decide = nullptr;
    REQUIRE(peer.give(frame(1, 4, 9, connect_block())));
    CHECK(peer.end.method == "CONNECT");
    // A sender of content-length on CONNECT is not held to it (RFC 9110 8.6).
    auto counted = connect_block();
    literal(counted, "content-length", "1");
    REQUIRE(peer.give(frame(1, 4, 11, counted)));
    REQUIRE(peer.give(frame(0, 1, 11, {content(1, 0), content(1, 1), content(1, 2)})));
    CHECK(peer.end.streams[11]->log == "end");
    CHECK(peer.end.streams[11]->received == 3);
}

TEST_CASE("h2: a header list over the limit resets its stream only, one far over it ends the connection") {
    H2Settings small;
    small.max_header_list = 2048;
    Scripted peer(H2Role::Server, small);
    auto block = connect_block();
    literal(block, "baggage", std::string(2000, 'x'));
    REQUIRE(peer.give(frame(1, 4, 1, block)));
    CHECK(peer.end.requests == 0);
    peer.drain();
    CHECK(peer.said.count[3] == 1);
    CHECK(peer.last[12] == 0xb);
    CHECK(peer.end.h2->active_streams() == 0);
    block = connect_block();
    literal(block, "baggage", std::string(1800, 'x'));
    REQUIRE(peer.give(frame(1, 4, 3, block)));
    CHECK(peer.end.requests == 1);

    // One byte each on the wire, 42 in the list: an entry of the static table.
    block = connect_block();
    block.insert(block.end(), 300, 0x80 | 2);
    SECTION("by what it becomes") {
        std::vector<uint8_t> bomb = connect_block();
        for (int i = 0; i < 400; ++i) bomb.push_back(0x80 | 16);  // accept-encoding: gzip, deflate
        CHECK_FALSE(peer.give(frame(1, 4, 5, bomb)));
    }
    SECTION("by its bytes") {
        CHECK_FALSE(peer.give(frame(1, 0, 5, std::vector<uint8_t>(4097, 0x80 | 16))));
        CHECK(peer.end.requests == 1);
    }
    CHECK(peer.end.outcome.error().detail == "HTTP/2 flood of header bytes");
    CHECK(peer.goaway_code() == 0xb);
    CHECK(peer.end.h2->counters().floods == 1);
}

TEST_CASE("h2: a peer that breaks the protocol ends the connection with an error and GOAWAY") {
    Scripted peer;
    SECTION("DATA on an idle stream") {
        CHECK_FALSE(peer.give(frame(0, 0, 1, {1})));
        CHECK(peer.goaway_code() == 1);
    }
    SECTION("a frame longer than we allow") {
        std::vector<uint8_t> head = frame(0, 0, 1);
        head[0] = 0x10;
        head[2] = 1;
        CHECK_FALSE(peer.give(head));
        CHECK(peer.goaway_code() == 6);
    }
    SECTION("headers that do not decompress") {
        CHECK_FALSE(peer.give(frame(1, 4, 1, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff})));
        CHECK(peer.goaway_code() == 9);
    }
    SECTION("credit past the largest window") {
        CHECK_FALSE(peer.give(frame(8, 0, 0, number(0x7fffffff))));
        CHECK(peer.goaway_code() == 3);
    }
    CHECK(peer.end.outcome.error().code == base::Errc::Protocol);
    CHECK(peer.end.h2->finished());
    std::vector<uint8_t> more = frame(6, 0, 0, std::vector<uint8_t>(8));
    CHECK_FALSE(peer.end.h2->receive(more));  // final
    CHECK(peer.end.h2->counters().floods == 0);
}

TEST_CASE("h2: something other than HTTP/2 is told so") {
    End server(H2Role::Server);
    std::vector<uint8_t> http1{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.', '1', '\r', '\n'};
    auto got = server.h2->receive(http1);
    REQUIRE_FALSE(got);
    CHECK(got.error().detail == "the peer does not speak HTTP/2");
    CHECK(server.h2->wants_send());
}
