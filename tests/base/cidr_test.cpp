// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include "tests/base/naive_prefix.h"
#include "tests/catch.h"

#include <algorithm>

using warren::base::Cidr;
using warren::base::CidrSet;
using warren::base::IpAddr;

namespace {

IpAddr ip(std::string_view text) { return IpAddr::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

CidrSet set_of(std::initializer_list<const char*> texts) {
    std::vector<Cidr> prefixes;
    for (const char* text : texts) prefixes.push_back(cidr(text));
    return CidrSet(prefixes);
}

size_t bytes_of_ranges(size_t n) { return n * 2 * sizeof(IpAddr); }

}  // namespace

TEST_CASE("cidr: prefixes parse, clear their host bits and print") {
    struct Row {
        const char* text;
        const char* printed;
        const char* last;
    };
    const Row rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8", "10.255.255.255"},
        {"10.0.0.7/24", "10.0.0.0/24", "10.0.0.255"},
        {"10.0.0.7", "10.0.0.7/32", "10.0.0.7"},
        {"10.0.0.7/32", "10.0.0.7/32", "10.0.0.7"},
        {"1.2.3.4/0", "0.0.0.0/0", "255.255.255.255"},
        {"255.255.255.255/1", "128.0.0.0/1", "255.255.255.255"},
        {"fd00::1/8", "fd00::/8", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"fd00::1", "fd00::1/128", "fd00::1"},
        {"fd00::1/64", "fd00::/64", "fd00::ffff:ffff:ffff:ffff"},
        {"fd00::1/65", "fd00::/65", "fd00::7fff:ffff:ffff:ffff"},
        {"fd00::1/127", "fd00::/127", "fd00::1"},
        {"fd00::/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8", "10.255.255.255"},
        {"::ffff:10.0.0.7/128", "10.0.0.7/32", "10.0.0.7"},
        {"::ffff:10.0.0.7", "10.0.0.7/32", "10.0.0.7"},
        {"::ffff:10.0.0.7/96", "0.0.0.0/0", "255.255.255.255"},
        {"::fffe:0:0/96", "::fffe:0:0/96", "::fffe:ffff:ffff"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        const auto parsed = Cidr::parse(row.text);
        REQUIRE(parsed);
        CHECK(parsed->to_string() == row.printed);
        CHECK(parsed->last() == ip(row.last));
        CHECK(parsed->is_v4() == parsed->first().is_v4());
        CHECK(cidr(row.printed) == *parsed);
    }
    CHECK(Cidr() == cidr("::/0"));
    CHECK(cidr("::/0") != cidr("0.0.0.0/0"));
}

TEST_CASE("cidr: bad lengths and addresses are refused, naming the value and the fix") {
    for (const char* text : {"",
                             "/",
                             "/8",
                             "10.0.0.0/",
                             "10.0.0.0/33",
                             "10.0.0.0/-1",
                             "10.0.0.0/+8",
                             "10.0.0.0/08",
                             "10.0.0.0/8 ",
                             " 10.0.0.0/8",
                             "10.0.0.0/ 8",
                             "10.0.0.0 /8",
                             "10.0.0.0/8/8",
                             "10.0.0.0/8x",
                             "10.0.0.0/0x8",
                             "10.0.0/8",
                             "10.0.0.0/4294967304",
                             "10.0.0.0/255.0.0.0",
                             "fd00::/129",
                             "fd00::%1/64",
                             "[fd00::]/64",
                             "fd00::/64%eth0",
                             "::ffff:10.0.0.0/95",
                             "::ffff:10.0.0.0/8",
                             "::ffff:10.0.0.0/0",
                             "::ffff:10.0.0.0/129"}) {
        CAPTURE(text);
        const auto parsed = Cidr::parse(text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().code == warren::base::Errc::Invalid);
    }
    CHECK(Cidr::parse("10.0.0.0/33").error().message() == "prefix '10.0.0.0/33': length '33' is out of range; give a number from 0 to 32");
    CHECK(Cidr::parse("::ffff:10.0.0.0/95").error().message() ==
          "prefix '::ffff:10.0.0.0/95': length '95' of an IPv4-mapped address is out of range; give a number from 96 to 128");
    CHECK(Cidr::make(ip("10.0.0.0"), 32));
    CHECK(Cidr::make(ip("10.0.0.0"), 33).error().message() == "prefix of 10.0.0.0: length 33 is out of range for IPv4; give 0 to 32");
    CHECK(Cidr::make(ip("fd00::"), 128));
    CHECK_FALSE(Cidr::make(ip("fd00::"), 129));
    CHECK_FALSE(Cidr::make(ip("fd00::"), 256));  // not cut to eight bits
}

TEST_CASE("cidr: a prefix contains addresses of its own family only") {
    struct Row {
        const char* prefix;
        const char* address;
        bool inside;
    };
    const Row rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.0.0.1", true},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "::", false},
        {"0.0.0.0/0", "::fffe:ffff:ffff", false},
        {"0.0.0.0/0", "::1:0:0:0", false},
        {"::/0", "10.0.0.1", false},
        {"::/0", "::ffff:10.0.0.1", false},
        {"::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
        {"::/80", "0.0.0.0", false},
        {"::/80", "::fffe:1", true},
        {"::/96", "::10.0.0.1", true},
        {"::/96", "10.0.0.1", false},
        {"10.0.0.1/32", "10.0.0.1", true},
        {"10.0.0.1/32", "10.0.0.2", false},
        {"fd00::1/128", "fd00::1", true},
        {"fd00::1/128", "fd00::2", false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.prefix, row.address);
        CHECK(cidr(row.prefix).contains(ip(row.address)) == row.inside);
        CHECK(warren::tests::naive_contains(cidr(row.prefix), ip(row.address)) == row.inside);
        CHECK(set_of({row.prefix}).contains(ip(row.address)) == row.inside);
    }
}

TEST_CASE("cidr set: neighbours and overlaps become one range, families stay apart") {
    struct Row {
        std::vector<const char*> prefixes;
        size_t ranges;
    };
    const Row rows[] = {
        {{"10.0.0.0/9", "10.128.0.0/9"}, 1},
        {{"10.128.0.0/9", "10.0.0.0/9"}, 1},
        {{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"}, 1},
        {{"10.0.0.1/32", "10.0.0.3/32"}, 2},
        {{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"}, 1},
        {{"0.0.0.0/1", "128.0.0.0/1"}, 1},
        {{"fd00::ffff:ffff:ffff:ffff/128", "fd00:0:0:1::/128"}, 1},      // the carry from the low to the high half
        {{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "::/128"}, 2},  // the last address has no neighbour above
        {{"8000::/1", "::/1"}, 2},                                       // all of IPv6: below and above the mapped block
        {{"::/0", "0.0.0.0/0"}, 3},
        {{"::fffe:0:0/96", "0.0.0.0/0", "::1:0:0:0/96"}, 3},  // numbers adjoin, families differ
        {{"::/80"}, 1},
        {{"::/64", "255.255.255.255/32", "0.0.0.0/32"}, 4},
    };
    for (const Row& row : rows) {
        CAPTURE(row.prefixes.front(), row.prefixes.size());
        std::vector<Cidr> prefixes;
        for (const char* text : row.prefixes) prefixes.push_back(cidr(text));
        const CidrSet set(prefixes);
        CHECK(set.bytes() == bytes_of_ranges(row.ranges));
        for (const Cidr& prefix : prefixes) CHECK(set.contains(prefix.first()));
    }
}

TEST_CASE("cidr set: adjacent prefixes tile a whole range without a hole or a leak") {
    // 10.0.0.0/24 as 256 single addresses in a scrambled order, then every address in it and both outside neighbours.
    std::vector<Cidr> prefixes;
    for (uint32_t i = 0; i < 256; ++i) prefixes.push_back(Cidr::make(IpAddr::v4(0x0a000000 + i * 37 % 256), 32).value());
    const CidrSet set(prefixes);
    CHECK(set.bytes() == bytes_of_ranges(1));
    for (uint32_t i = 0; i < 256; ++i) CHECK(set.contains(IpAddr::v4(0x0a000000 + i)));
    CHECK_FALSE(set.contains(ip("9.255.255.255")));
    CHECK_FALSE(set.contains(ip("10.0.1.0")));

    // Each family in full, from every length: x/1, x/2 ... and the last address, which together are everything.
    for (const unsigned bits : {32u, 128u}) {
        prefixes.clear();
        const IpAddr ones = bits == 32 ? ip("255.255.255.255") : ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        for (unsigned length = 1; length <= bits; ++length) {
            const IpAddr upper = ones.masked(length - 1);  // the lower half of what the longer ones leave
            prefixes.push_back(Cidr::make(upper, length).value());
        }
        prefixes.push_back(Cidr::make(ones, bits).value());
        const CidrSet all(prefixes);
        CHECK(all.bytes() == bytes_of_ranges(bits == 32 ? 1 : 2));
        CHECK(all.contains(ones));
        CHECK(all.contains(ones.masked(0)));
        CHECK(all.contains(ip("0.0.0.0")) == (bits == 32));
        CHECK(all.contains(ip("255.255.255.255")) == (bits == 32));
        CHECK(all.contains(ip("::1:0:0:0")) == (bits == 128));
    }
}

TEST_CASE("cidr set: an empty set contains nothing") {
    CHECK(CidrSet().empty());
    CHECK(CidrSet(std::span<const Cidr>()).empty());
    CHECK_FALSE(CidrSet().contains(ip("::")));
    CHECK_FALSE(set_of({"::/0"}).empty());
}

TEST_CASE("cidr set: agrees with a naive scan on random prefixes") {
    std::mt19937_64 random(20240131);
    size_t inside = 0, asked = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<Cidr> prefixes;
        for (uint64_t n = random() % 12; n > 0; --n) prefixes.push_back(warren::tests::random_prefix(random));
        const CidrSet set(prefixes);
        std::vector<IpAddr> addresses;
        for (int i = 0; i < 60; ++i) addresses.push_back(warren::tests::random_address(random));
        for (const Cidr& prefix : prefixes) {
            for (const IpAddr edge : {prefix.first(), prefix.last()}) {
                addresses.push_back(edge);
                addresses.push_back(IpAddr::from_number(edge.hi() - (edge.lo() == 0 ? 1 : 0), edge.lo() - 1));
                addresses.push_back(IpAddr::from_number(edge.hi() + (edge.lo() + 1 == 0 ? 1 : 0), edge.lo() + 1));
            }
        }
        for (const IpAddr address : addresses) {
            const bool naive = std::any_of(prefixes.begin(), prefixes.end(),
                                           [&](const Cidr& prefix) { return warren::tests::naive_contains(prefix, address); });
            if (set.contains(address) != naive) {
                CAPTURE(round, address.to_string());
                CHECK(set.contains(address) == naive);
            }
            inside += naive ? 1 : 0;
            ++asked;
        }
    }
    CHECK(inside > asked / 10);  // the generator asks both questions
    CHECK(inside < asked * 9 / 10);
}
