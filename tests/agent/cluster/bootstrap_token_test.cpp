// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/bootstrap_token.h"

#include "agent/cluster/node_name.h"
#include "base/small_file.h"
#include "tests/agent/cluster/trouble.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

#include <sys/stat.h>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using namespace warren::cluster;

TEST_CASE("bootstrap tokens: made, found, expired, removed, and the file never holds the secret") {
    TempDir dir;
    base::FakeClock clock;
    const std::string path = dir.file("tokens.json");
    auto table = TokenTable::open(path, clock);
    REQUIRE(table);
    CHECK((*table)->size() == 0);
    const auto secret = add_token(path, {"rack-1", "rack-1-*", clock.wall() + 1h}, clock.wall());
    REQUIRE(secret);
    CHECK(looks_like_bootstrap_token(*secret));
    CHECK(secret->size() == 76);
    CHECK(add_token(path, {"rack-1", "x", clock.wall() + 1h}, clock.wall()).error().code == base::Errc::Exists);
    const auto other = add_token(path, {"rack-2", "n2", clock.wall() + 3h}, clock.wall());
    REQUIRE(other);
    CHECK(*other != *secret);
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK(base::read_small_file(path, 65536)->find(secret->substr(20)) == std::string::npos);
    // Seen without a restart.
    const auto found = (*table)->find(*secret);
    REQUIRE(found);
    CHECK(found->name == "rack-1");
    CHECK(found->node == "rack-1-*");
    for (const std::string& wrong : {std::string(), secret->substr(1), *secret + "0", std::string(100'000, 'a')})
        CHECK_FALSE((*table)->find(wrong));
    clock.advance(1h);
    CHECK((*table)->find(*secret).error().message().find("expired") != std::string::npos);
    CHECK((*table)->find(*other));
    REQUIRE(remove_token(path, "rack-2"));
    CHECK_FALSE((*table)->find(*other));
    CHECK(remove_token(path, "rack-2").error().code == base::Errc::NotFound);
    CHECK_FALSE(add_token(path, {"late", "n", clock.wall()}, clock.wall()));
}

TEST_CASE("bootstrap tokens: a wrong file keeps the tokens before, and none at the start") {
    TempDir dir;
    base::FakeClock clock;
    const std::string path = dir.file("tokens.json");
    const auto secret = add_token(path, {"a", "n1", clock.wall() + 1h}, clock.wall());
    auto table = TokenTable::open(path, clock);
    REQUIRE(table);
    REQUIRE((*table)->find(*secret));
    dir.replace("tokens.json", "{");
    CHECK((*table)->find(*secret));
    CHECK_FALSE(TokenTable::open(path, clock));
    std::filesystem::remove(path);
    CHECK_FALSE((*table)->find(*secret));
}

TEST_CASE("bootstrap tokens: a file that could not be read for a moment is read again; what a crash left of an edit goes") {
    TempDir dir;
    base::FakeClock clock;
    const std::string path = dir.file("tokens.json");
    dir.write("tokens.json.aB3xYz", "x");
    dir.write("tokens.json.bak", "x");
    auto table = TokenTable::open(path, clock);
    REQUIRE(table);
    CHECK_FALSE(std::filesystem::exists(dir.file("tokens.json.aB3xYz")));
    CHECK(std::filesystem::exists(dir.file("tokens.json.bak")));
    const auto secret = add_token(path, {"a", "n1", clock.wall() + 1h}, clock.wall());
    {
        const NoDescriptors none;
        CHECK_FALSE((*table)->find(*secret));
    }
    clock.advance(1s);
    CHECK((*table)->find(*secret));
}

TEST_CASE("bootstrap tokens: every field is checked, by name") {
    const std::string hash(64, 'a');
    const auto error = [](const std::string& entry) {
        const auto parsed = parse_tokens("{\"tokens\": [" + entry + "]}");
        return parsed ? std::string("no error") : parsed.error().message();
    };
    const auto entry = [&](const std::string& name, const std::string& sha, const std::string& node, const std::string& expires) {
        return error("{\"name\":" + name + ",\"sha256\":" + sha + ",\"node\":" + node + ",\"expires\":" + expires + "}");
    };
    const std::string h = "\"" + hash + "\"", t = "\"2030-01-01T00:00:00Z\"";
    CHECK(entry("\"a\"", h, "\"n*\"", t) == "no error");
    CHECK(entry("\"\"", h, "\"n\"", t).find("name") != std::string::npos);
    CHECK(entry("1", h, "\"n\"", t).find("name") != std::string::npos);
    CHECK(entry("\"a\"", "\"AA\"", "\"n\"", t).find("sha256") != std::string::npos);
    CHECK(entry("\"a\"", h, "\"N/x\"", t).find("node") != std::string::npos);
    CHECK(entry("\"a\"", h, "\"n\"", "\"soon\"").find("expires") != std::string::npos);
    CHECK(error("{}").find("tokens[0]: name") != std::string::npos);
    CHECK(error("[]").find("object") != std::string::npos);
    CHECK(error("{\"secret\":1}").find("secret") != std::string::npos);
    const std::string rest = ",\"node\":\"n\",\"sha256\":" + h + ",\"expires\":" + t;
    for (const char* bad : {"\"uses\":0", "\"uses\":-1", "\"uses\":\"2\"", "\"uses\":10001", "\"used\":1.5"})
        CHECK(error("{\"name\":\"a\"," + std::string(bad) + rest + "}").find("use") != std::string::npos);
    CHECK(parse_tokens("{\"tokens\":[{\"name\":\"a\"" + rest + "}]}")->front().uses == 1);
    for (const char* bad : {"", "[]", "{}", "{\"tokens\":1}", "{\"tokens\":[],\"x\":1}"}) CHECK_FALSE(parse_tokens(bad));
    const auto twice = parse_tokens(write_tokens({{"a", {}, "n", {}}, {"a", {}, "n", {}}}));
    REQUIRE_FALSE(twice);
    CHECK(twice.error().message().find("twice") != std::string::npos);
    CHECK(parse_tokens(write_tokens({{"a", {}, "n", {}}, {"b", {}, "n", {}}})));
}

TEST_CASE("bootstrap tokens: used once, or as often as was said, across restarts; a use that is not written down is none") {
    TempDir dir;
    base::FakeClock clock;
    const std::string path = dir.file("tokens.json");
    const auto once = add_token(path, {"once", "n1", clock.wall() + 1h}, clock.wall());
    const auto rack = add_token(path, {"rack", "n*", clock.wall() + 1h, 2}, clock.wall());
    REQUIRE(once);
    REQUIRE(rack);
    auto table = TokenTable::open(path, clock);
    REQUIRE(table);
    const auto found = (*table)->find(*once);
    REQUIRE(found);
    CHECK((*table)->consume(*found));
    CHECK((*table)->consume(*found).error().code == base::Errc::Denied);  // somebody who had found it at the same time
    CHECK((*table)->find(*once).error().message().find("used up") != std::string::npos);
    const auto again = TokenTable::open(path, clock);
    REQUIRE(again);
    CHECK((*again)->find(*once).error().message().find("used up") != std::string::npos);
    for (int i = 0; i < 2; ++i) {
        const auto of_rack = (*again)->find(*rack);
        REQUIRE(of_rack);
        CHECK((*again)->consume(*of_rack));
    }
    CHECK_FALSE((*table)->find(*rack));
    // A folder that takes no files: not used, and nothing to hand out.
    const auto third = add_token(path, {"third", "n3", clock.wall() + 1h}, clock.wall());
    const auto known = (*table)->find(*third);
    REQUIRE(known);
    std::filesystem::remove(path + ".lock");
    std::filesystem::create_directory(path + ".lock");
    const auto failed = (*table)->consume(*known);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code != base::Errc::Denied);
    CHECK((*table)->find(*third));
    CHECK_FALSE(make_token({"x", "n", clock.wall(), 0}));
}

TEST_CASE("node names: a node's URI is no workload's, and patterns match whole names") {
    CHECK(node_uri("td", "n1") == "spiffe://td/node/n1");
    CHECK(*node_of_uri("spiffe://td/node/n1", "td") == "n1");
    for (const char* bad : {"spiffe://td/node/", "spiffe://td/node/a/b", "spiffe://other/node/n1", "spiffe://td/ns/a/sa/b",
                            "spiffe://td/node/A", "spiffe://td/node/-a", "spiffe://td/node/ns/x/sa/y"})
        CHECK_FALSE(node_of_uri(bad, "td"));
    CHECK(is_node_uri("spiffe://x/node/"));
    CHECK_FALSE(is_node_uri("spiffe://x/ns/node/sa/node"));
    CHECK_FALSE(is_node_uri("http://x/node/a"));
    const std::tuple<const char*, const char*, bool> cases[] = {
        {"a", "a", true},    {"a", "ab", false},       {"a*", "a", true},        {"*", "", true},
        {"*b", "aab", true}, {"a*c*e", "abcde", true}, {"a*c*e", "abde", false}, {"rack-1-*", "rack-2-1", false}};
    for (const auto& [pattern, name, matches] : cases) {
        INFO(pattern << " " << name);
        CHECK(matches_pattern(pattern, name) == matches);
    }
}
