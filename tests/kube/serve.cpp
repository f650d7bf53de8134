// SPDX-License-Identifier: Apache-2.0
// The API server for tests in other languages: kube_api_test "[.serve]" with WARREN_KUBE_FOLDER set writes ca.crt, admin.crt, admin.key and
// a kubeconfig there, says "ready" on a line of its own, and serves until its standard input ends.
#include "tests/catch.h"
#include "tests/kube/api_server.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace warren::tests {

TEST_CASE("kube: a server for others until they hang up", "[.serve]") {
    const char* folder = std::getenv("WARREN_KUBE_FOLDER");
    REQUIRE(folder != nullptr);
    ApiServer server;
    server.install_definitions();
    const kube::KubeConfig config = server.config();
    const auto write = [&](const std::string& name, const std::string& text) {
        std::ofstream file(std::string(folder) + '/' + name);
        file << text;
        REQUIRE(file.flush());
    };
    const auto key = kube::read_small_file(config.key.file);
    REQUIRE(key);
    write("ca.crt", config.roots.text);
    write("admin.crt", config.certificate.text);
    write("admin.key", *key);
    write("kubeconfig", R"({apiVersion: v1, kind: Config, current-context: test,
clusters: [{name: test, cluster: {server: ")" +
                            config.server + R"(", certificate-authority: ca.crt}}],
users: [{name: admin, user: {client-certificate: admin.crt, client-key: admin.key}}],
contexts: [{name: test, context: {cluster: test, user: admin}}]}
)");
    std::printf("ready %u\n", server.port());
    std::fflush(stdout);
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

}  // namespace warren::tests
