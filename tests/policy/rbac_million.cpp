// SPDX-License-Identifier: Apache-2.0
// rbac_million PAIRS [SEED]: judges that many random (set, connection) pairs by decide(), explain() and the naive engine. Prints the seed
// first, so a finding can be repeated; exit 1 and the whole story on the first difference.
#include "tests/policy/rbac_case.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

int main(int argc, char** argv) {
    using namespace warren;
    const uint64_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
    if (wanted == 0 || argc > 3) {
        std::fprintf(stderr, "usage: rbac_million PAIRS [SEED]\n");
        return 2;
    }
    const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
    std::printf("rbac_million: %llu pairs, seed %llu\n", static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    const auto begin = std::chrono::steady_clock::now();
    uint64_t pairs = 0, cases = 0;
    for (; pairs < wanted; ++cases) {
        const auto bytes = tests::random_bytes((seed << 32) + cases, 100 + cases % 1500);
        const tests::RbacCase c = tests::make_rbac_case(bytes);
        const std::string difference = tests::compare_engines(c);
        if (!difference.empty()) {
            std::printf("case %llu differs\n%s", static_cast<unsigned long long>(cases), difference.c_str());
            return 1;
        }
        pairs += c.connections.size();
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("%llu pairs in %llu sets agree, %.1f s\n", static_cast<unsigned long long>(pairs), static_cast<unsigned long long>(cases),
                seconds);
    return 0;
}
