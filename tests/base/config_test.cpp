// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include "tests/catch.h"

#include <map>
#include <string>
#include <vector>

using namespace warren::base;
using namespace std::chrono_literals;

namespace {

enum class Mode { Shared, Dedicated };

// One option of each type, as a daemon declares them.
struct Fixture {
    bool ipv6 = true;
    uint16_t port = 15000;
    int64_t offset = 0;
    std::chrono::nanoseconds drain = 5s;
    uint64_t window = 4 << 20;
    std::string cluster = "Kubernetes";
    Mode mode = Mode::Shared;
    std::vector<std::string> suites = {"a"};
    std::string admin = "127.0.0.1:15000";
    config::Schema schema;
    std::map<std::string, std::string> env;

    Fixture() {
        schema.boolean({"ipv6", {"IPV6_ENABLED"}, "--ipv6", "Use IPv6."}, ipv6);
        schema.integer<uint16_t>({"admin.port", {"ADMIN_PORT"}, "--admin-port", "Port."}, port, 1, 65535);
        schema.integer({"offset", {}, "--offset", "Offset."}, offset);
        schema.duration({"drain.period", {"DRAIN"}, "--drain", "How | long."}, drain, 0s, 1h);
        schema.size({"http2.window", {"WINDOW"}, "", "Window."}, window, 65535, 1u << 31);
        schema.text({"cluster.id", {"ISTIO_META_CLUSTER_ID", "CLUSTER_ID"}, "", "Cluster."}, cluster, 20);
        schema.choice<Mode>({"proxy.mode", {"PROXY_MODE"}, "--mode", "Mode."}, mode,
                            {{"shared", Mode::Shared}, {"dedicated", Mode::Dedicated}});
        schema.list({"tls.suites", {"SUITES"}, "--suite", "Suites."}, suites, 3, {"a", "b", "c"});
        schema.socket_addr({"admin.addr", {"ADMIN_ADDR"}, "--admin", "Address."}, admin);
    }

    Result<config::Effective> read(std::string yaml, std::vector<std::string> args = {}) {
        config::Sources sources;
        sources.file = "warren.yaml";
        sources.file_text = std::move(yaml);
        sources.args = std::move(args);
        sources.env = [this](const char* name) { return env.contains(name) ? env.at(name).c_str() : nullptr; };
        return schema.read(sources);
    }
    std::string why(std::string yaml, std::vector<std::string> args = {}) {
        const auto got = read(std::move(yaml), std::move(args));
        return got ? "accepted: " + got->text() : got.error().message();
    }
};

}  // namespace

TEST_CASE("config: nothing given means the defaults") {
    Fixture f;
    const auto got = f.read("");
    REQUIRE(got);
    CHECK(f.drain == 5s);
    CHECK(got->text() ==
          "ipv6: \"true\"  # default\nadmin.port: \"15000\"  # default\noffset: \"0\"  # default\ndrain.period: \"5s\"  # default\n"
          "http2.window: \"4MiB\"  # default\ncluster.id: \"Kubernetes\"  # default\nproxy.mode: \"shared\"  # default\n"
          "tls.suites: \"a\"  # default\nadmin.addr: \"127.0.0.1:15000\"  # default\n");
}

TEST_CASE("config: the file gives every type") {
    Fixture f;
    const auto got = f.read(
        "ipv6: false\nadmin:\n  port: 80\n  addr: '[::1]:9'\noffset: -7\ndrain: {period: 1h}\n"
        "http2.window: 64KiB\ncluster: {id: \"\"}\nproxy: {mode: dedicated}\ntls:\n  suites: [b, c]\n");
    REQUIRE(got);
    CHECK_FALSE(f.ipv6);
    CHECK(f.port == 80);
    CHECK(f.offset == -7);
    CHECK(f.drain == 1h);
    CHECK(f.window == 65536);
    CHECK(f.cluster.empty());
    CHECK(f.mode == Mode::Dedicated);
    CHECK(f.suites == std::vector<std::string>{"b", "c"});
    CHECK(f.admin == "[::1]:9");
    CHECK(got->find("admin.addr")->origin == "warren.yaml:4");
    CHECK(got->find("tls.suites")->origin == "warren.yaml:11");
    CHECK(got->find("tls.suites")->value == "b,c");
    CHECK(got->find("nothing") == nullptr);
}

TEST_CASE("config: flags beat the environment, the environment beats the file") {
    Fixture f;
    f.env = {{"ADMIN_PORT", "2"}, {"PROXY_MODE", "dedicated"}, {"CLUSTER_ID", "second"}, {"SUITES", "c,b"}, {"UNKNOWN", "x"}};
    const auto got =
        f.read("admin: {port: 1}\ndrain.period: 1m30s\nproxy: {}\n", {"--admin-port=3", "--suite", "a", "--suite", "b", "--offset", "-5"});
    REQUIRE(got);
    CHECK(f.port == 3);
    CHECK(f.mode == Mode::Dedicated);
    CHECK(f.cluster == "second");
    CHECK(f.drain == 90s);
    CHECK(f.offset == -5);
    CHECK(f.suites == std::vector<std::string>{"a", "b"});
    CHECK(got->find("admin.port")->origin == "flag --admin-port");
    CHECK(got->find("proxy.mode")->origin == "environment variable PROXY_MODE");
    CHECK(got->find("drain.period")->origin == "warren.yaml:2");
    CHECK(got->find("drain.period")->value == "1m30s");
    CHECK_FALSE(got->find("ipv6")->given);

    f.env["ISTIO_META_CLUSTER_ID"] = "first";
    REQUIRE(f.read(""));
    CHECK(f.cluster == "first");
}

TEST_CASE("config: an error names the key, the value, what is allowed and the place") {
    Fixture f;
    CHECK(f.why("\nipv6: yes") == "warren.yaml:2: ipv6: \"yes\" is not allowed (allowed: true, false)");
    CHECK(f.why("proxy: {mode: both}") == "warren.yaml:1: proxy.mode: \"both\" is not allowed (allowed: shared, dedicated)");
    CHECK(f.why("proxy: {mod: both}") ==
          "warren.yaml:1: unknown key \"proxy.mod\" (value \"both\"); did you mean \"proxy.mode\" (shared, dedicated)?");
    CHECK(f.why("zzzzzzzzz: [1]") ==
          "warren.yaml:1: unknown key \"zzzzzzzzz\"; known keys: ipv6, admin.port, offset, drain.period, http2.window, cluster.id, "
          "proxy.mode, "
          "tls.suites, admin.addr");
    CHECK(f.why("ipv6:") == "warren.yaml:1: ipv6: has no value (allowed: true, false)");
    CHECK(f.why("ipv6: {}") == "warren.yaml:1: ipv6: is a mapping (allowed: true, false)");
    CHECK(f.why("ipv6: [true]") == "warren.yaml:1: ipv6: is a list (allowed: true, false)");
    CHECK(f.why("ipv6: true\nipv6: false") == "warren.yaml:2: \"ipv6\": given twice");
    CHECK(f.why("admin: {port: 1}\nadmin.port: 2") == "warren.yaml:2: \"admin.port\": given twice");
    CHECK(f.why("- a") == "warren.yaml:1: the file must be a mapping of keys to values");
    CHECK(f.why("a: [") == "warren.yaml:1: not YAML: end of sequence flow not found");
    CHECK(f.why("---\na: 1\n---\nb: 2\n") == "warren.yaml: text after the end of the YAML document; one document is taken");
    CHECK(f.why(",!") == "warren.yaml: text after the end of the YAML document; one document is taken");
    CHECK(f.why("tls: {suites: [a, [b]]}") == "warren.yaml:1: \"tls.suites\": the items of a list must be plain text or numbers");
    CHECK(f.why("tls: {suites: [a, d]}") ==
          "warren.yaml:1: tls.suites: \"a,d\" is not allowed (allowed: at most 3 items of: a, b, c; item \"d\")");
    CHECK(f.why("? [a]\n: 1") == "warren.yaml:1: a key must be plain text");
    CHECK(f.why("", {"--mode", "x"}) == "flag --mode: proxy.mode: \"x\" is not allowed (allowed: shared, dedicated)");
    CHECK(f.why("", {"--mode=shared", "--mode=shared"}) == "flag --mode: given 2 times, once is taken");
    CHECK(f.why("", {"--moode", "x"}) == "command line: unknown argument \"--moode\"; --help lists the flags");
    CHECK(f.why("", {"stray"}) == "command line: unknown argument \"stray\"; --help lists the flags");
    CHECK(f.why("", {"--mode"}).starts_with("command line: --mode"));
    f.env["PROXY_MODE"] = "";
    CHECK(f.why("", {"--mode", "shared"}) ==
          "environment variable PROXY_MODE: proxy.mode: \"\" is not allowed (allowed: shared, dedicated)");
}

TEST_CASE("config: one wrong value leaves every target as it was") {
    Fixture f;
    CHECK_FALSE(f.read("admin: {port: 99}\nipv6: maybe"));
    CHECK(f.port == 15000);
}

TEST_CASE("config: values at the edges of their types") {
    struct Case {
        const char* flag;
        const char* text;
        const char* prints;  // null: refused
    };
    const auto c = GENERATE(values<Case>({
        {"--admin-port", "1", "1"},
        {"--admin-port", "65535", "65535"},
        {"--admin-port", "0", nullptr},
        {"--admin-port", "65536", nullptr},
        {"--admin-port", "1x", nullptr},
        {"--admin-port", "+1", nullptr},
        {"--admin-port", " 1", nullptr},
        {"--admin-port", "", nullptr},
        {"--admin-port", "99999999999999999999", nullptr},
        {"--offset", "-9223372036854775808", "-9223372036854775808"},
        {"--offset", "9223372036854775808", nullptr},
        {"--drain", "5s", "5s"},
        {"--drain", "500ms", "500ms"},
        {"--drain", "0s", "0s"},
        {"--drain", "90s", "1m30s"},
        {"--drain", "59m60s", "1h"},
        {"--drain", "1h1ns", nullptr},
        {"--drain", "5", nullptr},
        {"--drain", "s", nullptr},
        {"--drain", "5 s", nullptr},
        {"--drain", "-5s", nullptr},
        {"--drain", "1.5s", nullptr},
        {"--drain", "1s1m", nullptr},
        {"--drain", "1s1s", nullptr},
        {"--drain", "99999999999999999h", nullptr},
        {"--ipv6", "true", "true"},
        {"--ipv6", "True", nullptr},
        {"--ipv6", "1", nullptr},
        {"--admin", "0.0.0.0:0", "0.0.0.0:0"},
        {"--admin", "[::]:65535", "[::]:65535"},
        {"--admin", "::1:80", nullptr},
        {"--admin", "1.2.3.4", nullptr},
        {"--admin", "1.2.3.4:", nullptr},
        {"--admin", "1.2.3.4:65536", nullptr},
        {"--admin", "1.2.3:80", nullptr},
        {"--admin", "[1.2.3.4]:80", nullptr},
        {"--admin", "host:80", nullptr},
        {"--admin", "1.2.3.4:-1", nullptr},
        {"--suite", "a,b", "a,b"},
        {"--suite", "a,", nullptr},
        {"--suite", "", ""},
        {"--suite", "a,b,c,a", nullptr},
        {"--suite", "[a]", nullptr},
    }));
    Fixture f;
    const std::string arg = std::string(c.flag) + "=" + c.text;
    CAPTURE(arg);
    const auto got = f.read("", {c.flag, c.text});
    if (!c.prints) {
        CHECK_FALSE(got);
        return;
    }
    REQUIRE(got);
    const auto given = std::find_if(got->settings.begin(), got->settings.end(), [](const config::Setting& s) { return s.given; });
    REQUIRE(given != got->settings.end());
    CHECK(given->value == c.prints);
}

TEST_CASE("config: sizes") {
    Fixture f;
    const auto size = [&](std::string text) {
        f.env["WINDOW"] = std::move(text);
        const auto got = f.read("");
        return got ? got->find("http2.window")->value : got.error().message();
    };
    CHECK(size("65536") == "64KiB");
    CHECK(size("65537") == "65537");
    CHECK(size("16Mi") == "16MiB");
    CHECK(size("2GiB") == "2GiB");
    const std::string range = " is not allowed (allowed: bytes from 65535 to 2GiB, as in 4096, 64KiB, 16Mi)";
    for (const std::string text : {"3GiB", "1", "64kb", "64 KiB", "KiB", "-1", "99999999999GiB", "1e6"})
        CHECK(size(text) == "environment variable WINDOW: http2.window: \"" + text + "\"" + range);
}

TEST_CASE("config: the file named by a flag must exist, a default one may be missing") {
    Fixture f;
    config::Sources sources;
    sources.env = [](const char*) -> const char* { return nullptr; };
    sources.file = "/nonexistent/warren.yaml";
    CHECK(f.schema.read(sources).error().message() ==
          "configuration file: open /nonexistent/warren.yaml: No such file or directory (ENOENT)");
    sources.file_may_be_missing = true;
    CHECK(f.schema.read(sources));
    sources.args = {"--config", "/nonexistent/other.yaml"};
    CHECK(f.schema.read(sources).error().message() ==
          "configuration file: open /nonexistent/other.yaml: No such file or directory (ENOENT)");
    sources.args = {"--config", "/"};
    CHECK(f.schema.read(sources).error().message() == "configuration file: read /: Is a directory (EISDIR)");
}

TEST_CASE("config: help and the reference table come from the declarations") {
    Fixture f;
    const auto got = f.read("broken: [", {"--help"});
    REQUIRE(got);
    CHECK(got->help);
    const std::string help = f.schema.help("warren-node");
    CHECK(help.find("--drain duration") != std::string::npos);
    CHECK(help.find("drain.period; default 5s") != std::string::npos);
    CHECK(help.find("--config") != std::string::npos);
    const std::string table = f.schema.reference();
    CHECK(
        table.starts_with("| key | environment | flag | type | default | allowed | meaning |\n|---|---|---|---|---|---|---|\n"
                          "| `ipv6` | `IPV6_ENABLED` | `--ipv6` | boolean | `true` | true, false | Use IPv6. |\n"));
    CHECK(table.find("| `drain.period` | `DRAIN` | `--drain` | duration | `5s` | a duration from 0s to 1h, as in 5s, 500ms, 1h30m | How "
                     "\\| long. |\n") != std::string::npos);
    CHECK(table.find("| `cluster.id` | `ISTIO_META_CLUSTER_ID`, `CLUSTER_ID` |  | text |") != std::string::npos);
}

TEST_CASE("config: a schema that contradicts itself is our bug") {
    bool b = false;
    for (const auto& second : {config::Decl{"a", {}, "", ""}, config::Decl{"b", {"A"}, "", ""}, config::Decl{"b", {}, "--a", ""},
                               config::Decl{"b", {}, "-b", ""}, config::Decl{"b", {}, "--help", ""}}) {
        config::Schema schema;
        schema.boolean({"a", {"A"}, "--a", ""}, b);
        schema.boolean(second, b);
        const auto got = schema.read({});
        REQUIRE_FALSE(got);
        CHECK(got.error().code == Errc::Internal);
    }
}

TEST_CASE("config: YAML that grows by aliases or depth is refused") {
    Fixture f;
    std::string deep;
    for (int i = 0; i < 40; ++i) deep += "{a: ";
    CHECK(f.why("a: " + deep + "1" + std::string(40, '}')).find("nested deeper than 16 levels") != std::string::npos);
    std::string laughs = "a: &a {x: 1, y: 2, z: 3}\n";
    for (char c = 'b'; c < 'k'; ++c) {
        const std::string p = std::string("*") + static_cast<char>(c - 1);
        laughs += std::string(1, c) + ": &" + c + " {p: " + p + ", q: " + p + ", r: " + p + "}\n";
    }
    CHECK(f.why(laughs).find("more than 1000 values") != std::string::npos);
    CHECK(f.why(std::string((1 << 20) + 1, ' ')) == "warren.yaml: 1048577 bytes, at most 1048576 are taken");
}
