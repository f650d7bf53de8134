// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_settings.h"

#include "tests/catch.h"

using namespace warren;
using namespace warren::ztunnel;

TEST_CASE("dns settings: invalid_dns_proxy_addr_returns_error") {
    const auto local = parse_dns_proxy_addr("localhost:5353");
    REQUIRE(local);
    CHECK_FALSE(local->ip);
    CHECK(local->port == 5353);
    const auto v6 = parse_dns_proxy_addr("[::1]:53");
    REQUIRE(v6);
    CHECK(v6->ip == base::IpAddr::parse("::1").value());
    CHECK(v6->port == 53);
    for (const char* bad : {"", "localhost", "localhost:", "localhost:0", "localhost:65536", "localhost:53x", "example:53", "127.0.0.1",
                            "127.0.0.1:0", "::1", ":53"}) {
        INFO(bad);
        const auto refused = parse_dns_proxy_addr(bad);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().message().find("DNS_PROXY_ADDR") != std::string::npos);
    }
}

TEST_CASE("dns settings: capture is on unless told otherwise") {
    CHECK(dns_capture_enabled(std::nullopt));
    CHECK(dns_capture_enabled("true"));
    CHECK(dns_capture_enabled("TRUE"));
    for (const char* off : {"", "false", "1", "true ", "truer"}) CHECK_FALSE(dns_capture_enabled(off));
}

TEST_CASE("dns settings: resolv.conf") {
    const auto conf = parse_resolv_conf(
        "# comment\n"
        "nameserver 10.96.0.10 ; kube-dns\n"
        "  nameserver\tfd00::a\r\n"
        "nameserver fe80::1%eth0\n"
        "nameserver\n"
        "domain old.example\n"
        "search ns1.svc.cluster.local svc.cluster.local\tcluster.local .\n"
        "options ndots:5\n"
        "nonsense\n"
        "nameserver ::ffff:127.0.0.53");
    REQUIRE(conf.servers.size() == 3);
    CHECK(conf.servers[0].to_string() == "10.96.0.10:53");
    CHECK(conf.servers[1].to_string() == "[fd00::a]:53");
    CHECK(conf.servers[2].to_string() == "127.0.0.53:53");
    CHECK(conf.search == std::vector<std::string>{"ns1.svc.cluster.local", "svc.cluster.local", "cluster.local"});
    CHECK(conf.skipped == std::vector<std::string>{"'fe80::1%eth0'", "''"});
    CHECK(parse_resolv_conf("").servers.empty());
    std::string many;
    for (int i = 1; i < 20; ++i) many += "nameserver 10.0.0." + std::to_string(i) + "\n";
    CHECK(parse_resolv_conf(many).servers.size() == ResolvConf::kMaxServers);
    const auto missing = read_resolv_conf("/nonexistent/resolv.conf");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message().find("/nonexistent/resolv.conf") != std::string::npos);
    CHECK_FALSE(read_resolv_conf("/proc/self"));
}
