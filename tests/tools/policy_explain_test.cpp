// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/policy_explain.h"

#include "tests/catch.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>

using warren::tools::ExplainOptions;
using warren::tools::policy_explain;

namespace {

ExplainOptions shop(const char* from, const char* to) {
    return {.mesh_file = WARREN_SOURCE_DIR "/tools/demo/shop.yaml", .from = from, .to = to, .port = 8080};
}

std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("explain: an allowed connection names the policy and the rule, as the readme shows") {
    auto result = policy_explain(shop("shop/frontend", "shop/cart"));
    REQUIRE(result);
    CHECK(result->allowed);
    const std::string first_two = result->text.substr(0, result->text.find('\n', result->text.find('\n') + 1) + 1);
    CHECK(first_two ==
          "spiffe://cluster.local/ns/shop/sa/frontend 10.1.1.10 -> shop/cart 10.1.2.20:8080\n"
          "allowed: policy shop/cart-clients, rule 1, matched\n");
    CHECK(read(WARREN_SOURCE_DIR "/README.md").find(first_two) != std::string::npos);
}

TEST_CASE("explain: a denied connection says what stood in the way") {
    auto result = policy_explain(shop("ops/batch", "shop/cart"));
    REQUIRE(result);
    CHECK_FALSE(result->allowed);
    CHECK(result->text.find("\"cluster.local/ns/ops/sa/batch\" is not \"cluster.local/ns/shop/sa/frontend\"") != std::string::npos);
}

TEST_CASE("explain: without an identity strict policies deny, from a pod and from outside") {
    for (const char* from : {"shop/cart", "192.0.2.7"}) {
        ExplainOptions options = shop(from, "shop/payment");
        options.plaintext = true;
        auto result = policy_explain(options);
        REQUIRE(result);
        CHECK_FALSE(result->allowed);
        CHECK(result->text.find("policy shop/strict") != std::string::npos);
    }
}

TEST_CASE("explain: json carries the reason code and every rule") {
    ExplainOptions options = shop("ops/batch", "shop/cart");
    options.json = true;
    auto result = policy_explain(options);
    REQUIRE(result);
    const auto json = nlohmann::json::parse(result->text);
    CHECK(json["allowed"] == false);
    CHECK(json["reason"] == "denied_no_allow_matched");
    CHECK(json["policies"][0]["policy"] == "shop/cart-clients");
    CHECK(json["policies"][0]["rules"][0]["matched"] == false);
}

TEST_CASE("explain: what cannot be answered is an error with the way out") {
    CHECK(policy_explain(shop("shop/nobody", "shop/cart")).error().message().find("no workload shop/nobody") != std::string::npos);
    CHECK(policy_explain(shop("cart", "shop/cart")).error().message().find("of that name there is shop/cart") != std::string::npos);
    CHECK(policy_explain(shop("192.0.2.7", "shop/cart")).error().message().find("192.0.2.7") != std::string::npos);
    ExplainOptions missing = shop("shop/cart", "shop/cart");
    missing.mesh_file = "/nonexistent/mesh.yaml";
    CHECK(policy_explain(missing).error().message().find("/nonexistent/mesh.yaml") != std::string::npos);
}
