// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/last_bytes.h"

#include "tests/catch.h"

using warren::ztunnel::next_look;

TEST_CASE("last bytes: nothing missing is nothing to wait for") {
    uint64_t mark = UINT64_MAX;
    uint16_t waited = 0;
    CHECK_FALSE(next_look(0, mark, waited));
}

TEST_CASE("last bytes: looks become slower, and end ten seconds after the last byte moved") {
    uint64_t mark = UINT64_MAX;
    uint16_t waited = 0;
    CHECK(next_look(100, mark, waited) == 1);
    int total = 1, looks = 1;
    while (const auto next = next_look(100, mark, waited)) {
        CHECK(*next <= 50);
        total += *next;
        REQUIRE(++looks < 1000);
    }
    CHECK(total >= 10'000);
    CHECK(total <= 10'050);
    CHECK_FALSE(next_look(100, mark, waited));
    CHECK(next_look(99, mark, waited) == 1);  // one byte more, and the wait begins anew
    CHECK_FALSE(next_look(0, mark, waited));
}
