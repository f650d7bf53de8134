// SPDX-License-Identifier: Apache-2.0
// The one include of the test framework: Catch2 2.13 on Debian 12, 3.x elsewhere. Keep to TEST_CASE, SECTION, CHECK, REQUIRE, GENERATE.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <unistd.h>
#include <cstdio>
#include <cstdlib>

namespace warren::tests {

// Ends the process as skipped (77), saying why; a failure where WARREN_REQUIRE_ROOT=1 (CI) says that nothing may be skipped for lack of
// rights. Catch2 2.13 has no SKIP; every test case is a process of its own under ctest, so only this one is skipped.
[[noreturn]] inline void skip(const char* why) {
    const char* must = std::getenv("WARREN_REQUIRE_ROOT");
    const bool fail = must != nullptr && *must == '1';
    std::fprintf(stderr, "%s: %s\n", fail ? "may not be skipped here" : "skipped", why);
    std::fflush(nullptr);
    std::_Exit(fail ? 1 : 77);
}

inline void require_root() {
    if (::geteuid() != 0) skip("needs root");
}

}  // namespace warren::tests
