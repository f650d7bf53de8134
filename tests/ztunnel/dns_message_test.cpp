// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_message.h"

#include "tests/catch.h"
#include "tests/ztunnel/dns_wire.h"

#include <array>
#include <functional>

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::tests;
using wire::Message;

namespace {

dns::Query good(const Message& m) {
    const auto r = dns::read_query(m);
    REQUIRE(r.kind == dns::Received::Kind::Query);
    return r.query;
}

// "query", "refuse 1", "drop"
std::string kind(const Message& m) {
    const auto r = dns::read_query(m);
    if (r.kind == dns::Received::Kind::Drop) return "drop";
    return r.kind == dns::Received::Kind::Query ? "query" : "refuse " + std::to_string(static_cast<int>(r.rcode));
}

Message changed(Message m, const std::function<void(Message&)>& change) {
    change(m);
    return m;
}

std::vector<base::IpAddr> many() {
    std::vector<base::IpAddr> list;
    for (uint32_t i = 0; i < 256; ++i) list.push_back(base::IpAddr::v4(0xf000'0000u + i));
    return list;
}

}  // namespace

TEST_CASE("dns message: a query is read") {
    const Message m = wire::query({.name = "Web.Example", .type = 28, .id = 7, .payload = 1232, .dnssec = true});
    const dns::Query q = good(m);
    CHECK(q.id == 7);
    CHECK(q.host() == "web.example");
    CHECK(q.type == 28);
    CHECK(q.klass == 1);
    REQUIRE(q.edns);
    CHECK(q.edns->payload == 1232);
    CHECK(q.edns->dnssec_ok);
    CHECK_FALSE(q.edns->options);
    CHECK(q.udp_limit() == 1232);
    const Message plain = wire::query({.name = "a"});
    CHECK_FALSE(good(plain).edns);
    CHECK(good(plain).udp_limit() == 512);
    const Message small = wire::query({.name = "a", .payload = 100});
    CHECK(good(small).udp_limit() == 512);
    CHECK(good(wire::query({.name = ""})).host().empty());
    const Message cookie = wire::query({.name = "a", .payload = 1232, .options = {0, 10, 0, 2, 1, 2}});
    CHECK(good(cookie).edns->options);
}

TEST_CASE("dns message: labels that text cannot show are no name of the mesh") {
    for (const char odd : {'.', ' ', '\0', '\x7f', '\xc3'}) {
        Message m = wire::query({.name = "axb.example"});
        m[14] = static_cast<uint8_t>(odd);
        CHECK(good(m).host().empty());
    }
}

TEST_CASE("dns message: hostile queries are refused or dropped") {
    const Message m = wire::query({.name = "a.example"});
    const Message with_opt = wire::query({.name = "a", .payload = 512});
    CHECK(kind({}) == "drop");
    CHECK(kind(Message(m.begin(), m.begin() + 11)) == "drop");
    for (size_t n = 12; n < m.size(); ++n) CHECK(kind(Message(m.begin(), m.begin() + static_cast<std::ptrdiff_t>(n))) == "refuse 1");
    for (size_t n = 20; n < with_opt.size(); ++n)
        CHECK(kind(Message(with_opt.begin(), with_opt.begin() + static_cast<std::ptrdiff_t>(n))) == "refuse 1");
    CHECK(kind(changed(m, [](Message& x) { x[2] |= 0x80; })) == "refuse 1");              // a response
    CHECK(kind(changed(m, [](Message& x) { x[2] |= 0x28; })) == "refuse 4");              // UPDATE
    CHECK(kind(changed(m, [](Message& x) { x[5] = 0; })) == "refuse 1");                  // no question
    CHECK(kind(changed(m, [](Message& x) { x[5] = 2; })) == "refuse 1");                  // two
    CHECK(kind(changed(m, [](Message& x) { x[7] = 1; })) == "refuse 1");                  // answers
    CHECK(kind(changed(m, [](Message& x) { x.push_back(0); })) == "refuse 1");            // trailing bytes
    CHECK(kind(changed(m, [](Message& x) { x[12] = 0xc0, x[13] = 12; })) == "refuse 1");  // a question that points at itself
    CHECK(kind(changed(m, [](Message& x) { x[12] = 0x41; })) == "refuse 1");              // an extended label
    CHECK(kind(changed(m, [](Message& x) { x[12] = 64; })) == "refuse 1");
    CHECK(kind(changed(with_opt, [](Message& x) { x[11] = 0, x[9] = 1; })) == "refuse 1");                         // OPT as authority
    CHECK(kind(changed(with_opt, [](Message& x) { x[19] = 0xc0, x.insert(x.begin() + 20, 12); })) == "refuse 1");  // OPT of a name
    CHECK(kind(changed(with_opt, [](Message& x) {
              const Message opt(x.end() - 11, x.end());
              x.insert(x.end(), opt.begin(), opt.end());
              x[11] = 2;
          })) == "refuse 1");
    std::string longest = std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
    CHECK(kind(wire::query({.name = longest})) == "query");
    CHECK(kind(wire::query({.name = longest + "e"})) == "refuse 1");
    CHECK(kind(wire::query({.name = "a", .flags = 0x0130})) == "query");
}

TEST_CASE("dns message: a refusal names the query it refuses") {
    const Message m = changed(wire::query({.name = "A.example", .id = 99}), [](Message& x) { x[2] |= 0x28; });
    const auto r = dns::read_query(m);
    const auto reply = wire::read(dns::write_status(r.query, r.rcode));
    CHECK(reply.id == 99);
    CHECK(reply.question == "A.example");
    CHECK(reply.rcode() == 4);
    CHECK((reply.flags & 0xf800) == 0xa800);  // a response, the opcode as it came
    const auto bare = wire::read(dns::write_status(dns::read_query(Message(m.begin(), m.begin() + 12)).query, dns::Rcode::FormErr));
    CHECK(bare.question.empty());
}

TEST_CASE("dns message: local answers") {
    const Message m = wire::query({.name = "WEB.ns1.svc", .payload = 4096, .dnssec = true});
    const dns::Query q = good(m);
    const std::array ips{base::IpAddr::v4(0x01020304), base::IpAddr::parse("fd00::1").value()};
    const auto direct = wire::read(dns::write_answer(q, {{}, ips}, 512));
    CHECK(direct.text() == "1.2.3.4 fd00::1");
    CHECK(direct.question == "WEB.ns1.svc");
    CHECK(direct.answers[0].ttl == 30);
    CHECK(direct.authoritative());
    CHECK(direct.available());
    CHECK((direct.flags & 0x0100) != 0);
    REQUIRE(direct.additionals.size() == 1);
    CHECK(direct.additionals[0].type == 41);
    CHECK(direct.additionals[0].klass == 4096);
    CHECK(direct.additionals[0].ttl == 0x8000);
    const auto alias = wire::read(dns::write_answer(q, {"web", ips}, 512));
    CHECK(alias.text() == "cname web: 1.2.3.4 fd00::1");
    const auto none = wire::read(dns::write_answer(q, {}, 512));
    CHECK(none.text() == "nodata");
    CHECK(none.authoritative());
    const Message small = wire::query({.name = "a", .payload = 1});
    CHECK(wire::read(dns::write_answer(good(small), {}, 512)).additionals[0].klass == 512);
    CHECK(wire::read(dns::write_answer(q, {std::string(64, 'x'), ips}, 512)).rcode() == 2);
    CHECK(wire::read(dns::write_answer(q, {"a..b", ips}, 512)).rcode() == 2);
}

TEST_CASE("dns message: large_response, a local answer cut to the payload limit") {
    const auto ips = many();
    const Message m = wire::query({.name = "large.com", .payload = 1232});
    const dns::Query q = good(m);
    const auto udp = wire::read(dns::write_answer(q, {{}, ips}, q.udp_limit()));
    CHECK(udp.truncated());
    CHECK(udp.answers.size() == 74);
    CHECK(udp.additionals.size() == 1);
    CHECK(udp.bytes <= 1232);
    CHECK(udp.bytes + 16 > 1232);
    const auto tcp = wire::read(dns::write_answer(q, {{}, ips}, dns::kMaxMessage));
    CHECK_FALSE(tcp.truncated());
    CHECK(tcp.answers.size() == 256);
    const Message plain = wire::query({.name = "large.com"});
    CHECK(wire::read(dns::write_answer(good(plain), {{}, ips}, 512)).answers.size() == (512 - 27) / 16);
}

TEST_CASE("dns message: answers of name servers are checked") {
    const Message m = wire::query({.name = "a.example", .id = 5});
    const dns::Query q = good(m);
    auto verdict = [&](const Message& answer) {
        const auto r = dns::read_answer(answer, 5, q.question);
        if (!r) return r.error().detail;
        return std::to_string(r->rcode) + (r->truncated ? " tc" : "") + (r->bare ? " bare" : "") + " ttl " + std::to_string(r->ttl);
    };
    const wire::Answer answer = wire::Answer(m).address("1.1.1.1", 90).address("2.2.2.2", 40).opt(1232);
    CHECK(verdict(answer.bytes()) == "0 ttl 40");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[13] = 'A'; })) == "0 ttl 40");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[13] = 'b'; })) == "another question");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[24] = 28; })) == "another question");  // of another type
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[1] = 6; })) == "another id");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[2] &= 0x7f; })) == "not an answer to a query");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x.push_back(0); })) == "bytes behind the last record");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x.pop_back(); })) == "a record that does not fit");
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[27] = 0xc0, x[28] = 27; })) == "a record that does not fit");  // to itself
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[27] = 0xc0, x[28] = 4; })) == "a record that does not fit");   // the header
    CHECK(verdict(changed(answer.bytes(), [](Message& x) { x[2] |= 2, x.resize(40); })) == "0 tc ttl 0");
    CHECK(verdict(Message(m.begin(), m.begin() + 11)) == "shorter than a header");
    CHECK(verdict(wire::Answer(m).address("1.1.1.1", 0x8000'0001).bytes()) == "0 ttl 0");
    CHECK(verdict(wire::Answer(m, 0x8183).soa(300, 20).bytes()) == "3 ttl 20");
    CHECK(verdict(wire::Answer(m, 0x8183).soa(10, 20).bytes()) == "3 ttl 10");
    CHECK(verdict(wire::Answer(m, 0x8183).bytes()) == "3 ttl 0");
    CHECK(verdict(wire::Answer(m, 0x8180).soa(300, 7).bytes()) == "0 ttl 7");
    CHECK(verdict(wire::Answer(m, 0x8182).soa(300, 20).bytes()) == "2 ttl 0");
    CHECK(verdict({0, 5, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0}) == "5 bare ttl 0");
    CHECK(verdict({0, 5, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}) == "not one question");
}

TEST_CASE("dns message: an answer is handed on as its client asked for it") {
    const Message sent = wire::query({.name = "a.example", .id = 5, .payload = 512});
    const Message asked = wire::query({.name = "A.exAmple", .id = 77, .payload = 512});
    const wire::Answer answer = wire::Answer(sent, 0x8400).address("1.1.1.1", 90).address("2.2.2.2", 40).opt(1232);
    const auto reply = wire::read(dns::hand_on(answer.bytes(), good(asked), 512, 50));
    CHECK(reply.id == 77);
    CHECK(reply.question == "A.exAmple");
    CHECK_FALSE(reply.authoritative());
    CHECK(reply.available());
    CHECK(reply.text() == "1.1.1.1 2.2.2.2");
    CHECK(reply.answers[0].ttl == 40);
    CHECK(reply.answers[1].ttl == 0);
    REQUIRE(reply.additionals.size() == 1);
    CHECK(reply.additionals[0].klass == 1232);
    CHECK(reply.additionals[0].ttl == 0);
    CHECK_FALSE(reply.truncated());
}

TEST_CASE("dns message: what is handed on is cut by whole records and keeps its OPT record") {
    const Message m = wire::query({.name = "large.com", .id = 5, .payload = 1232});
    wire::Answer answer(m);
    for (int i = 0; i < 256; ++i) answer.address("240.0.0." + std::to_string(i));
    answer.soa(30, 30).opt(4096);
    const auto cut = wire::read(dns::hand_on(answer.bytes(), good(m), 1232));
    CHECK(cut.truncated());
    CHECK(cut.answers.size() == 74);
    CHECK(cut.authorities.empty());
    REQUIRE(cut.additionals.size() == 1);
    CHECK(cut.additionals[0].klass == 4096);
    CHECK(cut.bytes <= 1232);
    CHECK(wire::read(dns::hand_on(answer.bytes(), good(m), dns::kMaxMessage)).answers.size() == 256);
}

TEST_CASE("dns message: frames of a stream, byte by byte and several at once") {
    Message stream;
    const Message one(12, 1), two(300, 2);
    dns::append_framed(stream, one);
    dns::append_framed(stream, two);
    dns::Deframer all(300), slow(300);
    all.feed(stream);
    for (dns::Deframer* d : {&all, &slow}) {
        std::vector<Message> got;
        for (size_t i = 0; i < (d == &slow ? stream.size() : 1); ++i) {
            if (d == &slow) d->feed(std::span(stream).subspan(i, 1));
            while (const auto m = d->next()) got.emplace_back(m->begin(), m->end());
        }
        REQUIRE(got.size() == 2);
        CHECK(got[0] == one);
        CHECK(got[1] == two);
        CHECK(d->waiting() == 0);
        CHECK_FALSE(d->spoilt());
    }
    dns::Deframer narrow(299);
    narrow.feed(stream);
    CHECK(narrow.next());
    CHECK(narrow.spoilt());
    CHECK_FALSE(narrow.next());
    dns::Deframer tiny(300);
    tiny.feed(Message{0, 11});
    CHECK(tiny.spoilt());
}
