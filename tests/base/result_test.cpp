// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include "tests/catch.h"

#include <cerrno>
#include <memory>

using warren::base::Errc;
using warren::base::Error;
using warren::base::Result;

namespace {

Result<int> half(int n) {
    if (n % 2 != 0) return warren::base::invalid("count: 3 is odd; give an even number");
    return n / 2;
}

Result<int> quarter(int n) { return TRY(half(TRY(half(n)))); }

Result<void> check(int n) {
    TRY(half(n));
    return {};
}

}  // namespace

TEST_CASE("result: TRY hands the value on and returns the first error") {
    CHECK(quarter(8).value() == 2);
    REQUIRE_FALSE(quarter(6));
    CHECK(quarter(6).error().code == Errc::Invalid);
    CHECK(check(4));
    CHECK_FALSE(check(5));
}

TEST_CASE("result: a move-only value passes through TRY") {
    auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
    auto use = [&]() -> Result<int> {
        auto p = TRY(make());
        return *p;
    };
    CHECK(use().value() == 7);
}

TEST_CASE("result: an operating system error says what, where and why") {
    errno = EADDRINUSE;
    Error e = warren::base::os_error("bind", "[::]:15008");
    CHECK(e.code == Errc::Exists);
    CHECK(e.message() == "bind [::]:15008: Address already in use (EADDRINUSE)");
    CHECK(std::move(e).with("pod web-1").message() == "pod web-1: bind [::]:15008: Address already in use (EADDRINUSE)");
}
