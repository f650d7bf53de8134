// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include "tests/catch.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

IpAddr ip(std::string_view text) { return IpAddr::parse(text).value(); }

}  // namespace

TEST_CASE("ip: addresses parse and print in one canonical form") {
    struct Row {
        const char* text;
        const char* printed;
        bool v4;
    };
    const Row rows[] = {
        {"0.0.0.0", "0.0.0.0", true},
        {"255.255.255.255", "255.255.255.255", true},
        {"10.0.0.1", "10.0.0.1", true},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::FFFF:a00:1", "10.0.0.1", true},
        {"0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1", true},
        {"::", "::", false},
        {"::1", "::1", false},
        {"FD00:0:0:0:0:0:0:A", "fd00::a", false},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", false},
        {"fe80::ffff:10.0.0.1", "fe80::ffff:a00:1", false},
        {"::fffe:10.0.0.1", "::fffe:a00:1", false},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        const auto parsed = IpAddr::parse(row.text);
        REQUIRE(parsed);
        CHECK(parsed->to_string() == row.printed);
        CHECK(parsed->is_v4() == row.v4);
        CHECK(parsed->is_v6() != row.v4);
        CHECK(parsed->bits() == (row.v4 ? 32u : 128u));
        CHECK(ip(row.printed) == *parsed);
    }
}

TEST_CASE("ip: what is not exactly an address is refused, naming the value and the fix") {
    struct Row {
        std::string_view text;
        const char* fix;
    };
    const Row rows[] = {
        {"", "is empty"},
        {"fe80::1%eth0", "zone"},
        {"fe80::1%2", "zone"},
        {"[::1]", "brackets"},
        {"[::1]:80", "brackets"},
        {"10.0.0.1:80", "port"},
        {" 10.0.0.1", "space"},
        {"10.0.0.1 ", "space"},
        {"::1\n", "space"},
        {std::string_view("10.0.0.1\0", 9), "space"},
        {"10.0.0.0/8", "prefix"},
        {"10.0.0", "write it like"},
        {"10.0.0.256", "write it like"},
        {"010.0.0.1", "write it like"},
        {"0x0a.0.0.1", "write it like"},
        {"10.0.0.1.", "write it like"},
        {"+1.0.0.0", "write it like"},
        {":::", "write it like"},
        {"1::2::3", "write it like"},
        {"00001::", "write it like"},
        {"1:2:3:4:5:6:7:8:9", "write it like"},
        {"1:2:3:4:5:6:7", "write it like"},
        {"::10.0.0.1:5", "write it like"},
        {"localhost", "write it like"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        const auto parsed = IpAddr::parse(row.text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().code == warren::base::Errc::Invalid);
        CHECK(parsed.error().message().find(row.fix) != std::string::npos);
    }
    CHECK(IpAddr::parse("10.0.0.256").error().message() == "address '10.0.0.256' is not an address; write it like 10.0.0.1 or fd00::1");
    CHECK(IpAddr::parse(std::string(100'000, '1')).error().message().size() < 200);
}

TEST_CASE("ip: bytes are network order and of the family's length") {
    const std::array<uint8_t, 16> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3};
    CHECK(IpAddr::from_bytes(mapped) == ip("10.1.2.3"));
    CHECK(IpAddr::from_bytes(std::span(mapped).last(4)) == ip("10.1.2.3"));
    for (const size_t n : {0u, 1u, 3u, 5u, 15u}) CHECK_FALSE(IpAddr::from_bytes(std::span(mapped).first(n)));
    CHECK_FALSE(IpAddr::from_bytes(std::array<uint8_t, 17>{}));

    std::array<uint8_t, 16> out{};
    REQUIRE(ip("10.1.2.3").to_bytes(out) == 4);
    CHECK(std::equal(out.begin(), out.begin() + 4, mapped.begin() + 12));
    REQUIRE(ip("102:304::8").to_bytes(out) == 16);
    CHECK(out == std::array<uint8_t, 16>{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8});
}

TEST_CASE("ip: unspecified and loopback addresses are known in both families") {
    for (const char* text : {"0.0.0.0", "::", "::ffff:0.0.0.0"}) CHECK(ip(text).is_unspecified());
    for (const char* text : {"0.0.0.1", "::1", "1::"}) CHECK_FALSE(ip(text).is_unspecified());
    for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"}) CHECK(ip(text).is_loopback());
    for (const char* text : {"126.255.255.255", "128.0.0.0", "::2", "::", "1::1", "::127.0.0.1"}) CHECK_FALSE(ip(text).is_loopback());
}

TEST_CASE("ip: masking counts in the address's own family") {
    CHECK(ip("10.1.2.3").masked(0) == ip("0.0.0.0"));
    CHECK(ip("10.1.2.3").masked(8) == ip("10.0.0.0"));
    CHECK(ip("10.1.2.3").masked(32) == ip("10.1.2.3"));
    CHECK(ip("10.1.2.3").masked(200) == ip("10.1.2.3"));
    const IpAddr ones = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    CHECK(ones.masked(0) == ip("::"));
    CHECK(ones.masked(1) == ip("8000::"));
    CHECK(ones.masked(63) == ip("ffff:ffff:ffff:fffe::"));
    CHECK(ones.masked(64) == ip("ffff:ffff:ffff:ffff::"));
    CHECK(ones.masked(65) == ip("ffff:ffff:ffff:ffff:8000::"));
    CHECK(ones.masked(127) == ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"));
    CHECK(ones.masked(128) == ones);
}

TEST_CASE("ip: an address with a port parses and prints") {
    struct Row {
        const char* text;
        const char* printed;
        uint16_t port;
    };
    const Row rows[] = {
        {"1.2.3.4:80", "1.2.3.4:80", 80},          {"1.2.3.4:0", "1.2.3.4:0", 0},       {"[::1]:65535", "[::1]:65535", 65535},
        {"[::ffff:1.2.3.4]:80", "1.2.3.4:80", 80}, {"[::]:15008", "[::]:15008", 15008},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        const auto parsed = SockAddr::parse(row.text);
        REQUIRE(parsed);
        CHECK(parsed->port == row.port);
        CHECK(parsed->to_string() == row.printed);
        CHECK(SockAddr::parse(row.printed).value() == *parsed);
    }
    for (const char* text : {"",
                             ":",
                             ":80",
                             "1.2.3.4",
                             "1.2.3.4:",
                             "1.2.3.4:65536",
                             "1.2.3.4:99999999999",
                             "1.2.3.4:+80",
                             "1.2.3.4:-1",
                             "1.2.3.4:080",
                             "1.2.3.4: 80",
                             "1.2.3.4:80 ",
                             " 1.2.3.4:80",
                             "[1.2.3.4]:80",
                             "::1:80",
                             "::1",
                             "[::1]",
                             "[::1]80",
                             "[::1]:",
                             "[]:80",
                             "[:80",
                             "[::1%lo]:80",
                             "[[::1]]:80",
                             "localhost:80",
                             "1.2.3.4:http"}) {
        CAPTURE(text);
        CHECK_FALSE(SockAddr::parse(text));
    }
    CHECK(SockAddr::parse("1.2.3.4:65536").error().message() ==
          "address and port '1.2.3.4:65536': port '65536' is not a number from 0 to 65535; correct it");
}

TEST_CASE("ip: socket addresses of the kernel come and go in both families") {
    const SockAddr v4{ip("10.1.2.3"), 8080}, v6{ip("fd00::1"), 15008};
    CHECK(v4.family() == AF_INET);
    CHECK(v6.family() == AF_INET6);

    sockaddr_storage out{};
    const auto* raw = reinterpret_cast<const sockaddr*>(&out);
    REQUIRE(v4.to_sockaddr(out, AF_INET) == sizeof(sockaddr_in));
    CHECK(reinterpret_cast<const sockaddr_in*>(&out)->sin_port == htons(8080));
    CHECK(SockAddr::from_sockaddr(raw, sizeof(sockaddr_in)) == v4);
    CHECK_FALSE(SockAddr::from_sockaddr(raw, sizeof(sockaddr_in) - 1));

    REQUIRE(v6.to_sockaddr(out, AF_INET6) == sizeof(sockaddr_in6));
    CHECK(SockAddr::from_sockaddr(raw, sizeof out) == v6);
    CHECK_FALSE(SockAddr::from_sockaddr(raw, sizeof(sockaddr_in6) - 1));

    REQUIRE(v4.to_sockaddr(out, AF_INET6) == sizeof(sockaddr_in6));
    CHECK(IN6_IS_ADDR_V4MAPPED(&reinterpret_cast<const sockaddr_in6*>(&out)->sin6_addr));
    CHECK(SockAddr::from_sockaddr(raw, sizeof(sockaddr_in6)) == v4);

    CHECK(v6.to_sockaddr(out, AF_INET) == 0);
    CHECK(v4.to_sockaddr(out, AF_UNIX) == 0);
    out = {};
    out.ss_family = AF_UNIX;
    CHECK_FALSE(SockAddr::from_sockaddr(raw, sizeof out));
    CHECK_FALSE(SockAddr::from_sockaddr(raw, 1));
    CHECK_FALSE(SockAddr::from_sockaddr(nullptr, sizeof out));
}
