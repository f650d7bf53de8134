// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_forwarder.h"

#include "tests/ztunnel/dns_lab.h"

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::tests;

namespace {

// A mesh that knows nothing but its client: every query is forwarded.
struct Forwarding {
    Forwarding() { mesh.workload("ns1/client").ip("10.0.0.1"); }
    MeshFixture mesh;
    DnsLab lab{mesh};
};

// An address where nothing listens: the kernel answers with a refusal.
base::SockAddr nobody() {
    auto fd = bind_udp({base::IpAddr::v4(0x7f000001), 0}, {});
    REQUIRE(fd);
    return local_address(fd->get());
}

}  // namespace

TEST_CASE("dns forwarder: every query has an id and a source port of its own, and goes out as it came") {
    Forwarding f;
    Message seen;
    NameServer& upstream = f.lab.name_server([&](const Message& q, bool) {
        seen = q;
        return Messages{wire::Answer(q).address("1.1.1.1", 0).bytes()};
    });
    f.lab.start();
    const wire::Ask ask{.name = "MiXed.example", .type = 1, .id = 1, .flags = 0x0110, .payload = 1400, .options = {0, 10, 0, 2, 7, 7}};
    Client client = f.lab.client(false);
    for (int i = 0; i < 100; ++i) CHECK(client.ask(ask).text() == "1.1.1.1");
    CHECK(upstream.ids.size() > 90);
    CHECK(upstream.ports.size() > 50);
    Message expected = wire::query(ask);
    seen[0] = expected[0], seen[1] = expected[1];
    CHECK(seen == expected);
}

TEST_CASE("dns forwarder: answers that do not fit the question are not believed") {
    Forwarding f;
    f.lab.name_server([](const Message& q, bool) {
        auto lie = [&] { return wire::Answer(q).address("6.6.6.6"); };
        const unsigned id = wire::get16(q, 0);
        Message other = lie().bytes();
        other[13] ^= 1;
        Message query_not_answer = lie().set(2, 0x0100).bytes();
        return Messages{lie().set(0, id ^ 1).bytes(),
                        other,
                        query_not_answer,
                        {},
                        Message(11, 0),
                        wire::Answer(q).address("1.1.1.1").bytes(),
                        lie().bytes()};
    });
    f.lab.start();
    CHECK(f.lab.ask("a.example") == "1.1.1.1");
    CHECK(f.lab.metrics->spoofed->value() == 5);
}

TEST_CASE("dns forwarder: a server that is flooded with guesses is given up") {
    Forwarding f;
    f.lab.name_server([](const Message& q, bool) {
        return Messages(200, wire::Answer(q).address("6.6.6.6").set(0, wire::get16(q, 0) ^ 0x8000).bytes());
    });
    f.lab.name_server(answers("2.2.2.2"));
    f.lab.start();
    CHECK(f.lab.ask("a.example") == "2.2.2.2");
    CHECK(f.lab.metrics->spoofed->value() == 64);
}

TEST_CASE("dns forwarder: the next server is asked when one refuses, fails or stays silent") {
    Forwarding f;
    f.lab.settings.upstream_timeout = 80ms;
    SECTION("nothing listens") { f.lab.conf.servers.push_back(nobody()); }
    SECTION("no route") { f.lab.conf.servers.push_back({base::IpAddr::parse("::2").value(), 9}); }
    SECTION("SERVFAIL") {
        f.lab.name_server([](const Message& q, bool) { return Messages{wire::Answer(q, 0x8182).bytes()}; });
    }
    SECTION("REFUSED without a question") {
        f.lab.name_server([](const Message& q, bool) { return Messages{{q[0], q[1], 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0}}; });
    }
    SECTION("silent") { f.lab.name_server(silent); }
    SECTION("truncated, and TCP ends at once") {
        f.lab.name_server([](const Message& q, bool tcp) { return tcp ? Messages{{}} : Messages{wire::Answer(q, 0x8380).bytes()}; });
    }
    SECTION("truncated, and TCP stays silent") {
        f.lab.name_server([](const Message& q, bool tcp) { return tcp ? Messages{} : Messages{wire::Answer(q, 0x8380).bytes()}; });
    }
    f.lab.name_server(answers("2.2.2.2"));
    f.lab.start();
    CHECK(f.lab.ask("a.example") == "2.2.2.2");
}

TEST_CASE("dns forwarder: the upstream code is passed on, SERVFAIL where there is none") {
    Forwarding f;
    f.lab.settings.upstream_timeout = 60ms;
    SECTION("no servers") {
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 2");
        CHECK(f.lab.ask("a.example", true) == "rcode 2");
    }
    SECTION("nothing listens anywhere") {
        f.lab.conf.servers = {nobody(), nobody(), nobody(), nobody()};
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 2");
    }
    SECTION("silent") {
        NameServer& upstream = f.lab.name_server(silent);
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 2");
        CHECK(upstream.udp_queries == 2);  // UDP loses packets
        CHECK(upstream.ids.size() == 2);
        CHECK(upstream.ports.size() == 2);
    }
    SECTION("one code of several servers") {
        f.lab.name_server([](const Message& q, bool) { return Messages{wire::Answer(q, 0x8185).bytes()}; });
        f.lab.name_server(silent);
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 5");
    }
    SECTION("NXDOMAIN is an answer, not a failure") {
        f.lab.name_server(nxdomain);
        NameServer& second = f.lab.name_server(answers("2.2.2.2"));
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 3");
        CHECK(second.udp_queries == 0);
    }
    SECTION("a code that has no name") {
        f.lab.name_server([](const Message& q, bool) { return Messages{wire::Answer(q, 0x8189).bytes()}; });
        f.lab.start();
        CHECK(f.lab.ask("a.example") == "rcode 9");
    }
}

TEST_CASE("dns forwarder: a name server that never answers holds up nobody else, and is not asked first for ever") {
    Forwarding f;
    f.mesh.service("ns1/www.google.com").vip("1.1.1.1");
    f.lab.settings.upstream_timeout = 1500ms;
    NameServer& first = f.lab.name_server([](const Message& q, bool) {
        return wire::read(q).question.starts_with("dead") ? Messages{} : Messages{wire::Answer(q).address("3.3.3.3").bytes()};
    });
    NameServer& second = f.lab.name_server(answers("2.2.2.2"));
    f.lab.start();
    Client client = f.lab.client(false);
    for (uint16_t id = 1; id <= 200; ++id) client.send(wire::query({.name = "dead" + std::to_string(id) + ".example", .id = id}));
    client.send(wire::query({.name = "alive.example", .id = 1000}));
    client.send(wire::query({.name = "www.google.com", .id = 1001}));
    REQUIRE(client.reply(1000));
    REQUIRE(client.reply(1001));
    CHECK(client.reply(1000)->text() == "3.3.3.3");
    CHECK(client.reply(1001)->text() == "1.1.1.1");
    CHECK(client.replies.size() == 2);  // long before the dead ones
    REQUIRE(f.lab.until([&] { return client.replies.size() == 202; }));
    CHECK(client.reply(7)->text() == "2.2.2.2");
    const int asked = first.udp_queries;
    CHECK(f.lab.ask("later.example") == "2.2.2.2");
    CHECK(first.udp_queries == asked);
    CHECK(second.udp_queries == 201);
}

TEST_CASE("dns forwarder: truncated answers are asked for again over tcp") {
    Forwarding f;
    NameServer& upstream = f.lab.name_server([](const Message& q, bool tcp) {
        Message cut = wire::Answer(q, 0x8380).address("9.9.9.9").bytes();
        cut.resize(cut.size() - 3);
        return Messages{tcp ? wire::Answer(q).address("1.1.1.1").bytes() : cut};
    });
    f.lab.start();
    CHECK(f.lab.ask("a.example") == "1.1.1.1");
    CHECK(upstream.tcp_queries == 1);
}

TEST_CASE("dns forwarder: answers are kept as long as they may be, for those who ask alike") {
    Forwarding f;
    NameServer& upstream = f.lab.name_server([](const Message& q, bool) {
        wire::Answer answer(q);
        answer.address("1.1.1.1", wire::read(q).question == "fleeting.example" ? 0 : 60);
        if (wire::get16(q, 10) != 0) answer.opt(1232);
        return Messages{answer.bytes()};
    });
    f.lab.start();
    Client client = f.lab.client(false);
    auto asked = [&](const wire::Ask& ask) {
        const int before = upstream.udp_queries;
        CHECK(client.ask(ask).text() == "1.1.1.1");
        return upstream.udp_queries - before;
    };
    CHECK(asked({.name = "a.example"}) == 1);
    CHECK(asked({.name = "A.Example", .id = 3}) == 0);
    CHECK(asked({.name = "a.example", .payload = 1232}) == 1);  // with EDNS
    CHECK(asked({.name = "a.example", .payload = 4096}) == 0);
    CHECK(asked({.name = "a.example", .payload = 1232, .dnssec = true}) == 1);
    CHECK(asked({.name = "a.example", .flags = 0x0110}) == 1);  // checking disabled
    CHECK(asked({.name = "a.example", .payload = 1232, .options = {0, 10, 0, 2, 1, 1}}) == 1);
    CHECK(asked({.name = "a.example", .payload = 1232, .options = {0, 10, 0, 2, 1, 1}}) == 1);
    CHECK(asked({.name = "fleeting.example"}) == 1);
    CHECK(asked({.name = "fleeting.example"}) == 1);
}

TEST_CASE("dns cache: ages, forgets, and stays within its bounds") {
    const base::MonoTime start{1000s};
    DnsCache cache(3);
    const Message m{1, 2, 3};
    cache.keep("a", m, 10, start);
    REQUIRE(cache.find("a", start + 9999ms));
    CHECK(cache.find("a", start + 9999ms)->age_s == 9);
    CHECK_FALSE(cache.find("a", start + 10s));
    CHECK(cache.size() == 0);
    for (const char* key : {"a", "b", "c"}) cache.keep(key, m, 10, start);
    CHECK(cache.find("a", start));
    cache.keep("d", m, 10, start);
    CHECK(cache.size() == 3);
    CHECK(cache.find("a", start));
    CHECK_FALSE(cache.find("b", start));  // the least recently used
    cache.keep("d", m, 20, start);
    CHECK(cache.size() == 3);
    CHECK(cache.find("d", start + 15s));
    cache.keep("", m, 10, start);
    cache.keep("zero", m, 0, start);
    cache.keep("big", Message(DnsCache::kMaxEntryBytes + 1), 10, start);
    CHECK_FALSE(cache.find("", start));
    CHECK_FALSE(cache.find("zero", start));
    CHECK_FALSE(cache.find("big", start));
    cache.keep("long", m, 0x7fff'ffff, start);
    CHECK(cache.find("long", start + 3599s));
    CHECK_FALSE(cache.find("long", start + 3600s));
}
