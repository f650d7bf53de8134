// SPDX-License-Identifier: Apache-2.0
// DNS messages for tests, written and read in the plainest way and independently of ztunnel/dns_message.cpp: names are followed through
// compression pointers, which the code under test never does. Malformed text ends the test.
#pragma once

#include "base/ip.h"
#include "tests/catch.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tests::wire {

using Message = std::vector<uint8_t>;

inline void put16(Message& m, unsigned v) { m.push_back(static_cast<uint8_t>(v >> 8)), m.push_back(static_cast<uint8_t>(v)); }
inline void put32(Message& m, uint32_t v) { put16(m, v >> 16), put16(m, v & 0xffff); }
inline unsigned get16(const Message& m, size_t at) { return static_cast<unsigned>(m.at(at)) << 8 | m.at(at + 1); }
inline uint32_t get32(const Message& m, size_t at) { return static_cast<uint32_t>(get16(m, at)) << 16 | get16(m, at + 2); }

inline void put_name(Message& m, std::string_view text) {
    while (!text.empty()) {
        const std::string_view label = text.substr(0, text.find('.'));
        m.push_back(static_cast<uint8_t>(label.size()));
        m.insert(m.end(), label.begin(), label.end());
        text.remove_prefix(std::min(text.size(), label.size() + 1));
    }
    m.push_back(0);
}

struct Ask {
    std::string name;
    uint16_t type = 1;
    uint16_t id = 0x1234;
    uint16_t flags = 0x0100;  // RD
    std::optional<uint16_t> payload = {};
    bool dnssec = false;
    Message options = {};
};

inline Message query(const Ask& ask) {
    Message m;
    for (const unsigned v : {unsigned{ask.id}, unsigned{ask.flags}, 1u, 0u, 0u, ask.payload ? 1u : 0u}) put16(m, v);
    put_name(m, ask.name);
    put16(m, ask.type), put16(m, 1);
    if (ask.payload) {
        m.push_back(0);
        put16(m, 41), put16(m, *ask.payload), put32(m, ask.dnssec ? 0x8000 : 0);
        put16(m, static_cast<unsigned>(ask.options.size()));
        m.insert(m.end(), ask.options.begin(), ask.options.end());
    }
    return m;
}

inline std::string get_name(const Message& m, size_t& at) {
    std::string out;
    size_t here = at;
    bool jumped = false;
    for (int steps = 0; steps < 200; ++steps) {
        const uint8_t n = m.at(here);
        if (n >= 0xc0) {
            if (!jumped) at = here + 2;
            jumped = true;
            here = get16(m, here) & 0x3fff;
            continue;
        }
        if (n == 0) {
            if (!jumped) at = here + 1;
            return out;
        }
        if (!out.empty()) out += '.';
        for (size_t i = 1; i <= n; ++i) out += static_cast<char>(m.at(here + i));
        here += n + 1u;
    }
    FAIL("a compression loop");
    return {};
}

struct Record {
    std::string name;
    unsigned type = 0, klass = 0;
    uint32_t ttl = 0;
    std::string data;  // addresses and CNAMEs as text
};

struct Reply {
    unsigned id = 0, flags = 0;
    std::string question;
    unsigned type = 0;
    std::vector<Record> answers, authorities, additionals;
    size_t bytes = 0;
    [[nodiscard]] unsigned rcode() const { return flags & 15; }
    [[nodiscard]] bool truncated() const { return (flags & 0x0200) != 0; }
    [[nodiscard]] bool authoritative() const { return (flags & 0x0400) != 0; }
    [[nodiscard]] bool available() const { return (flags & 0x0080) != 0; }
    // "cname a.b: 1.2.3.4 5.6.7.8", addresses sorted, each where it should stand; "nodata"; "rcode 3"
    [[nodiscard]] std::string text() const {
        if (rcode() != 0) return "rcode " + std::to_string(rcode());
        std::string out, owner = question;
        std::vector<base::IpAddr> list;
        for (const Record& r : answers) {
            CHECK(r.name == owner);
            if (r.type == 5) {
                out = "cname " + r.data + ":";
                owner = r.data;
            } else {
                list.push_back(base::IpAddr::parse(r.data).value());
            }
        }
        std::sort(list.begin(), list.end());
        for (const auto ip : list) out += (out.empty() ? "" : " ") + ip.to_string();
        return answers.empty() ? "nodata" : out;
    }
};

inline Record get_record(const Message& m, size_t& at) {
    Record r;
    r.name = get_name(m, at);
    r.type = get16(m, at), r.klass = get16(m, at + 2), r.ttl = get32(m, at + 4);
    const size_t n = get16(m, at + 8);
    at += 10;
    REQUIRE(at + n <= m.size());
    size_t data = at;
    if (r.type == 5) {
        r.data = get_name(m, data);
    } else if (const auto ip = base::IpAddr::from_bytes(std::span(m).subspan(at, n)); ip && r.type != 41) {
        r.data = ip->to_string();
    }
    at += n;
    return r;
}

inline Reply read(const Message& m) {
    REQUIRE(m.size() >= 12);
    Reply r;
    r.id = get16(m, 0), r.flags = get16(m, 2), r.bytes = m.size();
    size_t at = 12;
    if (get16(m, 4) == 1) {
        r.question = get_name(m, at);
        r.type = get16(m, at);
        at += 4;
    }
    for (unsigned i = 0; i < get16(m, 6); ++i) r.answers.push_back(get_record(m, at));
    for (unsigned i = 0; i < get16(m, 8); ++i) r.authorities.push_back(get_record(m, at));
    for (unsigned i = 0; i < get16(m, 10); ++i) r.additionals.push_back(get_record(m, at));
    CHECK(at == m.size());
    return r;
}

// An answer to `query` by a name server: its header and question, then records.
class Answer {
  public:
    explicit Answer(std::span<const uint8_t> query, unsigned flags = 0x8580) {
        size_t end = 12;
        while (query[end] != 0) end += query[end] + 1u;
        end += 5;
        m_.assign(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(end));
        set(2, flags), set(10, 0);
    }
    Answer& address(std::string_view text, uint32_t ttl = 60) {
        const auto ip = base::IpAddr::parse(text).value();
        std::array<uint8_t, 16> raw{};
        const size_t n = ip.to_bytes(raw);
        put16(m_, 0xc00c), put16(m_, n == 4 ? 1 : 28), put16(m_, 1), put32(m_, ttl), put16(m_, static_cast<unsigned>(n));
        m_.insert(m_.end(), raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(n));
        return bump(6);
    }
    Answer& soa(uint32_t ttl, uint32_t minimum) {
        put16(m_, 0xc00c), put16(m_, 6), put16(m_, 1), put32(m_, ttl), put16(m_, 22);
        m_.push_back(0), m_.push_back(0);
        for (const uint32_t v : {1u, 2u, 3u, 4u, minimum}) put32(m_, v);
        return bump(8);
    }
    Answer& opt(unsigned payload) {
        m_.push_back(0);
        put16(m_, 41), put16(m_, payload), put32(m_, 0), put16(m_, 0);
        return bump(10);
    }
    Answer& set(size_t at, unsigned v) { return m_[at] = static_cast<uint8_t>(v >> 8), m_[at + 1] = static_cast<uint8_t>(v), *this; }
    [[nodiscard]] const Message& bytes() const { return m_; }

  private:
    Answer& bump(size_t at) { return set(at, get16(m_, at) + 1); }
    Message m_;
};

}  // namespace warren::tests::wire
