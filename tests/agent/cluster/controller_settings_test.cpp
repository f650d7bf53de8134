// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller_settings.h"

#include "tests/catch.h"

#include <algorithm>
#include <cstring>

using namespace warren;
using namespace warren::cluster;
using namespace std::chrono_literals;

namespace {
const char* nothing(const char*) { return nullptr; }
}  // namespace

TEST_CASE("controller settings: flags over variables, and what follows from them") {
    const auto env = [](const char* name) -> const char* {
        if (std::strcmp(name, "WARREN_CONTROLLER_MESH_TRUST_DOMAIN") == 0) return "corp.example";
        return std::strcmp(name, "WARREN_CONTROLLER_STATE") == 0 ? "/wrong" : nullptr;
    };
    const auto s =
        read_controller_settings({"--state", "/s", "--xds-dns-names=cp.corp.example", "--ca-lifetime", "12h", "--xds-debounce=5ms"}, env);
    REQUIRE(s);
    CHECK(s->authority.state == "/s/authority");
    CHECK(s->authority.trust_domain == "corp.example");
    CHECK(s->authority.default_lifetime == 12h);
    CHECK(s->tokens_path() == "/s/tokens.json");
    CHECK(s->debounce == 5ms);
    CHECK_FALSE(s->insecure_demo);
    const auto chosen = read_controller_settings(
        {"--mesh-discovery-selectors", "[{matchLabels: {mesh: 'on'}}, {}]", "--mesh-service-entry-visibility", "namespace"}, nothing);
    REQUIRE(chosen);
    CHECK(chosen->mesh.discovery.size() == 2);
    CHECK(chosen->mesh.service_entries == Settings::Visibility::Namespace);
    const auto names = s->server_names();
    for (const char* name : {"istiod.istio-system.svc", "cp.corp.example", "localhost"})
        CHECK(std::count(names.begin(), names.end(), name) == 1);
}

TEST_CASE("controller settings: the demo needs its flag, with or without a value") {
    CHECK(read_controller_settings({"--insecure-demo"}, nothing)->insecure_demo);
    CHECK(read_controller_settings({"--insecure-demo", "--state=/s"}, nothing)->insecure_demo);
    CHECK_FALSE(read_controller_settings({"--insecure-demo", "false"}, nothing)->insecure_demo);
}

TEST_CASE("controller settings: a wrong one names itself") {
    const auto error = [](std::vector<std::string> args) { return read_controller_settings(std::move(args), nothing).error().message(); };
    CHECK(error({"--xds-debounce=2s", "--xds-debounce-most=1s"}).find("xds.debounce-most") != std::string::npos);
    CHECK(error({"--log-filter=a=b"}).find("log.filter") != std::string::npos);
    CHECK(error({"--source-kind=etcd"}).find("source.kind") != std::string::npos);
    CHECK(error({"--addresses-ipv4=240.240.0.0"}).find("addresses.ipv4: '240.240.0.0/32' is no IPv4 prefix") == 0);
    CHECK(error({"--addresses-ipv6=here"}).find("addresses.ipv6") != std::string::npos);
    CHECK(error({"--mesh-discovery-selectors=[{}, 1]"}).find("mesh.discovery-selectors: ") == 0);
    CHECK(error({"--mesh-service-entry-visibility=mine"}).find("mesh.service-entry-visibility") != std::string::npos);
    CHECK(error({"--xds-listen=here"}).find("xds.listen") != std::string::npos);
}
