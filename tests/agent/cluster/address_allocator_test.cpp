// SPDX-License-Identifier: Apache-2.0
// Which addresses hosts of ServiceEntries are given (Kubernetes contract 2.8).
#include "agent/cluster/address_allocator.h"

#include "tests/catch.h"

#include <map>
#include <set>

using namespace warren;
using namespace warren::cluster;
using Addresses = AddressAllocator::Addresses;

namespace {

ServiceEntry entry(const std::string& name, std::vector<std::string> hosts, int64_t created = 1) {
    ServiceEntry out;
    out.meta.ns = "a";
    out.meta.name = name;
    out.meta.uid = "u-" + name;
    out.meta.created_ns = created;
    out.hosts = std::move(hosts);
    out.resolution = Resolution::Dns;
    return out;
}

base::IpAddr ip(std::string_view text) { return *base::IpAddr::parse(text); }

// Assigns and has it read again, as a controller and its watch do.
Addresses settle(AddressAllocator& allocator, ServiceEntry& of) {
    const auto assigned = allocator.assign(of.meta.key());
    REQUIRE(assigned);
    allocator.written(*assigned);
    CHECK_FALSE(allocator.lacking().contains(of.meta.key()));
    of.allocated = assigned->addresses;
    allocator.put(of);
    return assigned->addresses;
}

}  // namespace

TEST_CASE("addresses: every host gets one of each family, out of the ranges") {
    AddressAllocator allocator{AddressRanges{}};
    ServiceEntry one = entry("e", {"a.example", "b.example", "a.example"});
    allocator.put(one);
    CHECK(allocator.lacking() == std::set<std::string>{"a/e"});
    const Addresses got = settle(allocator, one);
    REQUIRE(got.size() == 4);
    std::set<base::IpAddr> distinct;
    for (size_t i = 0; i < got.size(); ++i) {
        CHECK(got[i].first == (i < 2 ? "a.example" : "b.example"));
        CHECK((i % 2 == 0 ? AddressRanges{}.v4 : AddressRanges{}.v6).contains(got[i].second));
        distinct.insert(got[i].second);
    }
    CHECK(distinct.size() == 4);
    CHECK(allocator.taken() == 4);
    CHECK(allocator.lacking().empty());
    // A new leader, who reads the status, has nothing to write; one that reads an entry without it draws the same.
    AddressAllocator next{AddressRanges{}};
    next.put(one);
    CHECK(next.lacking().empty());
    one.allocated.clear();
    next.put(one);
    CHECK(settle(next, one) == got);
}

TEST_CASE("addresses: none where the user gave some, or nothing is resolved") {
    const auto refused = [](const ServiceEntry& e) {
        AddressAllocator allocator{AddressRanges{}};
        allocator.put(e);
        return allocator.lacking().empty() && allocator.taken() == 0;
    };
    ServiceEntry own = entry("e", {"a.example"});
    own.addresses.push_back({ip("192.0.2.1"), std::nullopt});
    CHECK(refused(own));
    ServiceEntry none = entry("e", {"a.example"});
    none.resolution = Resolution::None;
    CHECK(refused(none));
    ServiceEntry out = entry("e", {"a.example"});
    out.meta.labels.emplace("networking.istio.io/enable-autoallocate-ip", "false");
    CHECK(refused(out));
    ServiceEntry leaving = entry("e", {"a.example"});
    leaving.meta.deleting = true;
    CHECK(refused(leaving));
    ServiceEntry wild = entry("e", {"*.example"});
    CHECK(refused(wild));
    wild.resolution = Resolution::DynamicDns;
    CHECK_FALSE(refused(wild));
}

TEST_CASE("addresses: what a status says stays, also when hosts come and go") {
    AddressAllocator allocator{AddressRanges{}};
    ServiceEntry e = entry("e", {"a.example", "b.example"});
    // Of another range, and one family only: from before the ranges were changed, say.
    e.allocated = {{"a.example", ip("198.18.0.7")}, {"gone.example", ip("198.18.0.8")}};
    allocator.put(e);
    CHECK(allocator.lacking().size() == 1);
    const Addresses got = settle(allocator, e);
    REQUIRE(got.size() == 4);
    CHECK(got[0] == std::pair<std::string, base::IpAddr>("a.example", ip("198.18.0.7")));
    CHECK(allocator.taken() == 4);  // that of the host that is gone is free
    e.hosts = {"b.example"};
    allocator.put(e);
    CHECK(settle(allocator, e) == Addresses(got.begin() + 2, got.end()));
    allocator.remove("a/e");
    CHECK(allocator.taken() == 0);
}

TEST_CASE("addresses: of two entries with one address the older keeps it") {
    for (const bool older_first : {true, false}) {
        AddressAllocator allocator{AddressRanges{}};
        ServiceEntry old = entry("z", {"old.example"}, 1), young = entry("y", {"young.example"}, 2);
        old.allocated = {{"old.example", ip("240.240.0.9")}, {"old.example", ip("2001:2::9")}};
        young.allocated = {{"young.example", ip("240.240.0.9")}, {"young.example", ip("2001:2::8")}};
        allocator.put(older_first ? old : young);
        allocator.put(older_first ? young : old);
        CHECK(allocator.lacking() == std::set<std::string>{"a/y"});
        const Addresses got = settle(allocator, young);
        REQUIRE(got.size() == 2);
        CHECK(got[0].second != ip("240.240.0.9"));
        CHECK(got[1].second == ip("2001:2::8"));
    }
}

TEST_CASE("addresses: what was about to be written gives way to what a status says") {
    AddressAllocator allocator{AddressRanges{}};
    ServiceEntry mine = entry("e", {"a.example"}, 1), theirs = entry("f", {"b.example"}, 2);
    allocator.put(mine);
    const auto assigned = allocator.assign("a/e");
    REQUIRE(assigned);
    theirs.allocated = {{"b.example", assigned->addresses[0].second}, {"b.example", assigned->addresses[1].second}};
    allocator.put(theirs);
    allocator.written(*assigned);  // too late: it is not what the entry is to say any more
    CHECK(allocator.lacking() == std::set<std::string>{"a/e"});
    const Addresses got = settle(allocator, mine);
    CHECK(got[0].second != theirs.allocated[0].second);
    CHECK(got[1].second != theirs.allocated[1].second);
}

TEST_CASE("addresses: a range is used to its last, and then it is said") {
    const AddressRanges small{*base::Cidr::parse("192.0.2.16/28"), *base::Cidr::parse("2001:db8::/124")};
    AddressAllocator allocator{small};
    std::map<std::string, ServiceEntry> entries;
    std::set<base::IpAddr> seen;
    for (int i = 0; i < 14; ++i) {
        const std::string name = "e" + std::to_string(i);
        auto [at, is_new] = entries.emplace(name, entry(name, {name + ".example"}));
        allocator.put(at->second);
        for (const auto& [host, address] : settle(allocator, at->second)) {
            CHECK(small.v4.contains(address) != small.v6.contains(address));
            CHECK(seen.insert(address).second);
        }
    }
    CHECK_FALSE(seen.contains(ip("192.0.2.16")));
    CHECK_FALSE(seen.contains(ip("192.0.2.31")));
    ServiceEntry late = entry("late", {"late.example"});
    allocator.put(late);
    const auto none = allocator.assign("a/late");
    REQUIRE_FALSE(none);
    CHECK(none.error().message().find("192.0.2.16/28") != std::string::npos);
    CHECK(allocator.lacking() == std::set<std::string>{"a/late"});
    allocator.remove("a/e3");
    CHECK(settle(allocator, late).size() == 2);
}

TEST_CASE("addresses: ranges that hold nothing are refused") {
    const auto fits = [](std::string_view range, bool v4) { return check_range(*base::Cidr::parse(range), v4).has_value(); };
    CHECK(fits("10.0.0.0/28", true));
    CHECK_FALSE(fits("10.0.0.0/29", true));
    CHECK_FALSE(fits("fd00::/64", true));
    CHECK(fits("fd00::/124", false));
    CHECK_FALSE(fits("fd00::/125", false));
    CHECK_FALSE(fits("10.0.0.0/8", false));
}
