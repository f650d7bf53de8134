// SPDX-License-Identifier: Apache-2.0
#include "policy/identity.h"

#include "tests/catch.h"

using warren::policy::Identity;

TEST_CASE("identity: identity_from_string, the five parts and the text without the scheme") {
    const auto id = Identity::parse("spiffe://cluster.local/ns/app/sa/web");
    REQUIRE(id);
    CHECK(id->trust_domain() == "cluster.local");
    CHECK(id->ns() == "app");
    CHECK(id->service_account() == "web");
    CHECK(id->principal() == "cluster.local/ns/app/sa/web");
    CHECK(id->uri() == "spiffe://cluster.local/ns/app/sa/web");
    CHECK(id->ns_hash() == warren::policy::hash_text("app"));
    CHECK(id->account_hash() == warren::policy::hash_account("app", "web"));
    CHECK(*id == Identity("cluster.local", "app", "web"));
}

TEST_CASE("identity: parts may be empty") {
    const auto id = Identity::parse("spiffe:///ns//sa/");
    REQUIRE(id);
    CHECK(id->trust_domain().empty());
    CHECK(id->ns().empty());
    CHECK(id->service_account().empty());
    CHECK_FALSE(id->empty());
    CHECK(id->uri() == "spiffe:///ns//sa/");
    CHECK(Identity().empty());
}

TEST_CASE("identity: anything but five parts with ns and sa is refused, naming the text and the form") {
    for (const char* bad : {"", "spiffe:/", "spiffe://", "td/ns/a/sa/b", "SPIFFE://td/ns/a/sa/b", "spiffe://td/ns/a/sa",
                            "spiffe://td/ns/a/sa/b/", "spiffe://td/ns/a/sa/b/c", "spiffe://td/sa/a/ns/b", "spiffe://td/ns/a/SA/b",
                            "spiffe://td//a/sa/b", " spiffe://td/ns/a/sa/b", "spiffe://td"}) {
        INFO(bad);
        const auto id = Identity::parse(bad);
        REQUIRE_FALSE(id);
        CHECK(id.error().message().find("'" + std::string(bad) + "'") != std::string::npos);
        CHECK(id.error().message().find("spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT") != std::string::npos);
    }
}

TEST_CASE("identity: equality compares all three parts") {
    const Identity a("td", "app", "web");
    CHECK(a == Identity("td", "app", "web"));
    CHECK_FALSE(a == Identity("other", "app", "web"));
    CHECK_FALSE(a == Identity("td", "ops", "web"));
    CHECK_FALSE(a == Identity("td", "app", "job"));
    // The text alone is ambiguous for parts with slashes, which parse() never makes.
    CHECK(a.account_hash() == Identity("other", "app", "web").account_hash());
    CHECK(a.account_hash() != Identity("td", "web", "app").account_hash());
}

TEST_CASE("identity: foreign text in a refusal stays on one line") {
    const auto refused = warren::policy::Identity::parse("spiffe://t\x1a\ns/default/sa/web");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().detail.find('\n') == std::string::npos);
    CHECK(refused.error().detail.find('\x1a') == std::string::npos);
}
