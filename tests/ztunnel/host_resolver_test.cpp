// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/host_resolver.h"

#include "tests/ztunnel/dns_lab.h"

#include <thread>

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::tests;
using Prefer = HostResolver::Prefer;

namespace {

// The name server runs on the asking loop, the resolver on its own thread.
struct Asking {
    explicit Asking(NameServer::Behave behave) : upstream(*loop, std::move(behave)) { options.servers = {upstream.address()}; }
    void start() {
        auto started = HostResolver::start(options);
        REQUIRE(started);
        resolver = std::move(*started);
    }
    void ask(const std::string& name, Prefer prefer = Prefer::V4) {
        resolver->resolve(name, prefer, *loop, [this, name](base::Result<base::IpAddr> r) {
            CHECK(std::this_thread::get_id() == here);
            told.push_back(r ? r->to_string() : std::string(to_string(r.error().code)));
        });
    }
    // The next answer.
    std::string get(const std::string& name, Prefer prefer = Prefer::V4) {
        const size_t before = told.size();
        ask(name, prefer);
        REQUIRE(until(*loop, [&] { return told.size() > before; }, 10s));
        return told.back();
    }
    std::unique_ptr<base::Loop> loop = make_loop();
    std::thread::id here = std::this_thread::get_id();
    NameServer upstream;
    HostResolver::Options options;
    std::vector<std::string> told;
    std::unique_ptr<HostResolver> resolver;
};

Messages dual(const Message& q, bool) {
    const auto r = wire::read(q);
    const bool v6 = r.type == 28;
    if (r.question.starts_with("dead")) return {};
    if (r.question.starts_with("none")) return {wire::Answer(q, 0x8183).soa(60, 60).bytes()};
    if (r.question.starts_with("v4") && v6) return {wire::Answer(q).bytes()};
    wire::Answer answer(q);
    const uint32_t ttl = r.question.starts_with("fleeting") ? 0 : 60;
    return {v6 ? answer.address("fd00::1", ttl).bytes() : answer.address("10.0.0.1", ttl).address("10.0.0.2", ttl).bytes()};
}

}  // namespace

TEST_CASE("host resolver: prefers the family asked for, at random, else any") {
    Asking a(dual);
    a.start();
    std::set<std::string> seen;
    for (int i = 0; i < 60; ++i) seen.insert(a.get("web.example", Prefer::V4));
    CHECK(seen == std::set<std::string>{"10.0.0.1", "10.0.0.2"});
    CHECK(a.get("web.example", Prefer::V6) == "fd00::1");
    CHECK(a.get("v4.example", Prefer::V6).starts_with("10.0.0."));
    CHECK(a.get("192.0.2.7") == "192.0.2.7");
}

TEST_CASE("host resolver: keeps answers for their TTL, shares questions, without regard to case and root dot") {
    Asking a(dual);
    a.start();
    for (int i = 0; i < 20; ++i) a.ask("web.example");
    REQUIRE(until(*a.loop, [&] { return a.told.size() == 20; }));
    CHECK(a.upstream.udp_queries == 2);  // A and AAAA
    CHECK(a.get("WEB.example.").starts_with("10.0.0."));
    CHECK(a.upstream.udp_queries == 2);
    CHECK(a.resolver->stats().cache_hits >= 1);
    CHECK(a.resolver->stats().cached == 1);
    a.get("fleeting.example");
    a.get("fleeting.example");
    CHECK(a.upstream.udp_queries == 6);
    CHECK(a.resolver->stats().cached == 1);
}

TEST_CASE("host resolver: without IPv6 only A records are asked for") {
    Asking a(dual);
    a.options.ipv6 = false;
    a.start();
    CHECK(a.get("web.example", Prefer::V6).starts_with("10.0.0."));
    CHECK(a.upstream.udp_queries == 1);
}

TEST_CASE("host resolver: the cache is bounded") {
    Asking a(dual);
    a.options.cache_entries = 2;
    a.start();
    for (const char* name : {"a.example", "b.example", "a.example", "c.example"}) a.get(name);
    CHECK(a.resolver->stats().cached == 2);
    CHECK(a.upstream.udp_queries == 6);
    a.get("a.example");
    CHECK(a.upstream.udp_queries == 6);
    a.get("b.example");
    CHECK(a.upstream.udp_queries == 8);
}

TEST_CASE("host resolver: a name server that never answers holds up nobody else") {
    Asking a(dual);
    a.options.patience = 300ms;
    a.options.try_timeout = 20s;
    a.start();
    for (int i = 0; i < 50; ++i) a.ask("dead" + std::to_string(i) + ".example");
    CHECK(a.get("web.example").starts_with("10.0.0."));
    CHECK(a.told.size() == 1);
    CHECK(a.get("none.example") == to_string(base::Errc::NotFound));
    REQUIRE(until(*a.loop, [&] { return a.told.size() == 52; }));
    CHECK(a.told.back() == to_string(base::Errc::Timeout));
}

TEST_CASE("host resolver: what waits is bounded, and the end with questions under way is clean") {
    Asking a(dual);
    a.options.names_under_way = 2;
    a.options.waiters = 3;
    a.start();
    for (const char* name : {"dead1.example", "dead2.example", "dead3.example", "dead1.example", "dead1.example"}) a.ask(name);
    REQUIRE(until(*a.loop, [&] { return a.told.size() == 2; }));
    CHECK(a.told == std::vector<std::string>(2, std::string(to_string(base::Errc::Exhausted))));
    CHECK(a.resolver->stats().refused == 2);
    a.resolver.reset();
    CHECK(a.told.size() == 2);
}

TEST_CASE("host resolver: names that are none are refused, not asked") {
    Asking a(dual);
    a.start();
    const std::string longest = std::string(63, 'x') + "." + std::string(63, 'x') + "." + std::string(63, 'x') + "." + std::string(61, 'x');
    for (const std::string& bad : {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string("a b"),
                                   std::string("a\nb"), std::string(64, 'x') + ".example", longest + "y"})
        CHECK(a.get(bad) == to_string(base::Errc::NotFound));
    CHECK(a.upstream.udp_queries == 0);
}
