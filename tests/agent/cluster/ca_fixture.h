// SPDX-License-Identifier: Apache-2.0
// An authority in a folder of its own, requests for it, and the openssl command to check what it made: something that is not ours.
#pragma once

#include "agent/cluster/authority.h"
#include "agent/xds/join.h"
#include "base/small_file.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace warren::tests {

// What the command printed, both channels, and whether it ended well.
inline std::pair<bool, std::string> run_command(const std::string& command) {
    std::string out;
    FILE* pipe = ::popen(("timeout 20 " + command + " 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4096> buffer{};
    for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
    return {::pclose(pipe) == 0, out};
}

inline xds::KeyAndRequest fresh_request() {
    auto made = xds::make_node_request();
    REQUIRE(made);
    return std::move(*made);
}

inline const cluster::Subject kWebSubject{cluster::Purpose::Workload, "spiffe://cluster.local/ns/prod/sa/web", {}};

struct CaWorld {
    TempDir dir;
    base::FakeClock clock{std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now())};
    cluster::AuthorityOptions options;

    // Its clock begins that long ago.
    explicit CaWorld(std::chrono::seconds ago = std::chrono::seconds(0)) {
        clock.set_wall(clock.wall() - ago);
        options.state = dir.file("state");
    }
    std::unique_ptr<cluster::Authority> open() {
        auto made = cluster::Authority::open(options, clock);
        if (!made) FAIL(made.error().message());
        return std::move(*made);
    }
    // Made and checked; the chain in files "leaf.pem", "between.pem", "roots.pem" of dir.
    cluster::IssuedCertificate sign(const cluster::Authority& authority, std::chrono::seconds lifetime = std::chrono::seconds(0),
                                    const cluster::Subject& subject = kWebSubject) {
        auto made = authority.sign(fresh_request().csr_pem, subject, lifetime);
        if (!made) FAIL(made.error().message());
        return std::move(*made);
    }
    // Does the leaf with its own intermediates lead to these roots, for the openssl command, at the clock's time?
    [[nodiscard]] std::pair<bool, std::string> verified(const cluster::IssuedCertificate& made, const std::string& roots_pem,
                                                        const std::string& extra = "") {
        std::string between;
        for (size_t i = 1; i + 1 < made.chain.size(); ++i) between += made.chain[i];
        dir.write("leaf.pem", made.chain.front());
        dir.write("roots.pem", roots_pem);
        const std::string untrusted = between.empty() ? "" : " -untrusted " + dir.write("between.pem", between);
        const auto at = std::chrono::system_clock::to_time_t(clock.wall());
        return run_command("openssl verify -x509_strict -attime " + std::to_string(at) + " -CAfile " + dir.file("roots.pem") + untrusted +
                           " " + extra + " " + dir.file("leaf.pem"));
    }
};

}  // namespace warren::tests
