// SPDX-License-Identifier: Apache-2.0
#include "base/prefix_map.h"

#include "tests/base/naive_prefix.h"
#include "tests/catch.h"

#include <algorithm>
#include <memory>
#include <string>

using warren::base::Cidr;
using warren::base::IpAddr;
using warren::base::PrefixMap;

namespace {

IpAddr ip(std::string_view text) { return IpAddr::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

std::string found(const PrefixMap<std::string>& map, std::string_view address) {
    const std::string* value = map.find(ip(address));
    return value ? *value : "-";
}

std::string covering(const PrefixMap<std::string>& map, std::string_view address) {
    std::string out;
    map.for_each_covering(ip(address), [&](const Cidr& prefix, const std::string& value) {
        CHECK(prefix.to_string() == value);
        out += value + " ";
    });
    return out;
}

// The reference: a list, looked through from one end to the other.
struct NaiveMap {
    std::vector<std::pair<Cidr, int>> rows;

    auto at(const Cidr& prefix) {
        return std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.first == prefix; });
    }
    [[nodiscard]] std::vector<int> covering(IpAddr address) const {
        std::vector<std::pair<Cidr, int>> hits;
        for (const auto& row : rows)
            if (warren::tests::naive_contains(row.first, address)) hits.push_back(row);
        std::sort(hits.begin(), hits.end(), [](const auto& a, const auto& b) { return a.first.length() > b.first.length(); });
        std::vector<int> values;
        for (const auto& hit : hits) values.push_back(hit.second);
        return values;
    }
};

}  // namespace

TEST_CASE("prefix map: the longest prefix of the address's own family wins") {
    PrefixMap<std::string> map;
    CHECK(map.empty());
    for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00::/8", "fd00::1/128"})
        CHECK(map.insert(cidr(text), text));
    CHECK(map.size() == 7);

    CHECK(found(map, "10.1.2.3") == "10.1.2.3/32");
    CHECK(found(map, "::ffff:10.1.2.3") == "10.1.2.3/32");
    CHECK(found(map, "10.1.2.4") == "10.1.0.0/16");
    CHECK(found(map, "10.2.0.0") == "10.0.0.0/8");
    CHECK(found(map, "11.0.0.0") == "0.0.0.0/0");
    CHECK(found(map, "fd00::1") == "fd00::1/128");
    CHECK(found(map, "fd00::2") == "fd00::/8");
    CHECK(found(map, "::") == "::/0");
    CHECK(covering(map, "10.1.2.3") == "10.1.2.3/32 10.1.0.0/16 10.0.0.0/8 0.0.0.0/0 ");
    CHECK(covering(map, "fd00::1") == "fd00::1/128 fd00::/8 ::/0 ");

    CHECK(map.erase(cidr("0.0.0.0/0")));
    CHECK(found(map, "11.0.0.0") == "-");  // ::/0 says nothing about IPv4
    CHECK(map.erase(cidr("::/0")));
    CHECK(found(map, "1::") == "-");
}

TEST_CASE("prefix map: insert replaces, erase removes only the very prefix") {
    PrefixMap<std::string> map;
    CHECK(map.insert(cidr("10.0.0.0/8"), "a"));
    CHECK_FALSE(map.insert(cidr("10.9.9.9/8"), "b"));
    CHECK(map.size() == 1);
    CHECK(*map.find(ip("10.0.0.1")) == "b");
    CHECK_FALSE(map.erase(cidr("10.0.0.0/9")));
    CHECK_FALSE(map.erase(cidr("11.0.0.0/8")));
    CHECK_FALSE(map.erase(cidr("::/8")));
    CHECK(map.find_exact(cidr("10.0.0.0/9")) == nullptr);
    REQUIRE(map.find_exact(cidr("10.0.0.0/8")) != nullptr);
    *map.find_exact(cidr("10.0.0.0/8")) = "c";
    CHECK(found(map, "10.0.0.1") == "c");
    CHECK(map.erase(cidr("10.0.0.0/8")));
    CHECK_FALSE(map.erase(cidr("10.0.0.0/8")));
    CHECK(map.empty());
    CHECK(map.size() == 0);
}

TEST_CASE("prefix map: holds move-only values") {
    PrefixMap<std::unique_ptr<int>> map;
    for (const char* text : {"10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24"}) CHECK(map.insert(cidr(text), std::make_unique<int>(7)));
    REQUIRE(map.find(ip("10.0.0.1")) != nullptr);
    CHECK(**map.find(ip("10.0.0.1")) == 7);
}

TEST_CASE("prefix map: agrees with a naive scan through random changes") {
    std::mt19937_64 random(42);
    PrefixMap<int> map;
    NaiveMap naive;
    size_t hits = 0, erased = 0;
    for (int step = 0; step < 4000; ++step) {
        // One change in three removes, sometimes a prefix that is not there.
        if (random() % 3 == 0) {
            const Cidr prefix = random() % 4 != 0 && !naive.rows.empty() ? naive.rows[random() % naive.rows.size()].first
                                                                         : warren::tests::random_prefix(random);
            const auto row = naive.at(prefix);
            CHECK(map.erase(prefix) == (row != naive.rows.end()));
            if (row != naive.rows.end()) {
                naive.rows.erase(row);
                ++erased;
            }
        } else if (naive.rows.size() < 200) {
            const Cidr prefix = warren::tests::random_prefix(random);
            const auto row = naive.at(prefix);
            CHECK(map.insert(prefix, step) == (row == naive.rows.end()));
            if (row == naive.rows.end())
                naive.rows.emplace_back(prefix, step);
            else
                row->second = step;
        }
        REQUIRE(map.size() == naive.rows.size());

        const IpAddr address = warren::tests::random_address(random);
        std::vector<int> values;
        map.for_each_covering(address, [&](const Cidr&, int value) { values.push_back(value); });
        const std::vector<int> expected = naive.covering(address);
        CAPTURE(step, address.to_string());
        REQUIRE(values == expected);
        const int* best = map.find(address);
        REQUIRE((best != nullptr) == !expected.empty());
        if (best != nullptr) {
            REQUIRE(*best == expected.front());
            ++hits;
        }
    }
    CHECK(hits > 1000);
    CHECK(erased > 300);
}
