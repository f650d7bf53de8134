// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/cli_fixture.h"
#include "tools/warren/certificates.h"
#include "tools/warren/duration.h"
#include "tools/warren/table.h"
#include "tools/warren/yaml_text.h"

using namespace warren::tools;

namespace {

const std::string kDump = kCliGolden + "config_dump.json";

// Whether a sample's certificate is valid depends on the day.
std::string any_day(std::string text) {
    for (size_t at = 0; (at = text.find("  false  ", at)) != std::string::npos;) text.replace(at, 9, "  true   ");
    return text;
}

}  // namespace

TEST_CASE("tables: of a stock dump, with the columns of the stock tool") {
    for (const char* command : {"workloads", "services", "policies", "certs", "connections"}) {
        const CliRun run = cli({command, "-f", kDump});
        CHECK(run.code == 0);
        CHECK(run.err.empty());
        check_golden(std::string(command) + ".txt", any_day(run.out));
    }
}

TEST_CASE("tables: filters leave out the rest, and json is what the dump says") {
    CHECK(cli({"workloads", "-f", kDump, "--node", "n2", "-n", "default"}).out.find("zt2") == std::string::npos);
    const Json workloads = Json::parse(cli({"workloads", "-f", kDump, "-o", "json", "--node", "n2"}).out);
    REQUIRE(workloads.size() == 3);
    CHECK(workloads[0]["uid"] == "Kubernetes//Pod/default/p2");
    CHECK(cli({"connections", "-f", kDump, "--raw"}).out.find("10.77.2.2:15008") != std::string::npos);
    CHECK(cli({"-o", "yaml", "policies", "-f", kDump, "-n", "default"})
              .out.starts_with("- action: Allow\n  dryRun: false\n  name: allow-client\n"));
}

TEST_CASE("tables: columns are aligned by characters, and names cannot steer a terminal") {
    Table table({"A", "B"});
    table.add({"\xc3\xa4\xc3\xa4\xc3\xa4", "x"});
    table.add({"a\x1b[31m\xff", {"y", Tone::Bad}});
    CHECK(table.render(false) == "A        B\n\xc3\xa4\xc3\xa4\xc3\xa4      x\na?[31m?  y\n");
    CHECK(table.render(true).find("\x1b[31my\x1b[0m") != std::string::npos);
    CHECK(short_number(999) == "999");
    CHECK(short_number(1234) == "1.2K");
    CHECK(short_number(999'999) == "1.0M");
}

TEST_CASE("yaml: what a reader would take for something else is quoted") {
    const Json j = {{"a", "yes"},         {"b", "plain-text"},     {"c", "1.5"},
                    {"d", Json::array()}, {"e", {{"k", nullptr}}}, {"f", {1, Json{{"x", true}, {"y", "a: b"}}}}};
    CHECK(to_yaml(j) == "a: \"yes\"\nb: plain-text\nc: \"1.5\"\nd: []\ne:\n  k: null\nf:\n- 1\n- x: true\n  \"y\": \"a: b\"\n");
}

TEST_CASE("certificates: serial numbers are hexadecimal as the stock tool shows them") {
    CHECK(hexadecimal("242053703775279995933065541135622511201") == "b619d8fdf4cd36e97af439f6b1489a61");
    CHECK(hexadecimal("0") == "0");
    CHECK(hexadecimal("12x") == "12x");
}

TEST_CASE("durations: numbers with a unit, and nothing else") {
    CHECK(*parse_duration("5m") == std::chrono::minutes(5));
    CHECK(*parse_duration("500ms") == std::chrono::milliseconds(500));
    for (const char* bad : {"", "5", "m", "-1s", "5 m", "5mm", "99999999999s"}) CHECK_FALSE(parse_duration(bad));
}

TEST_CASE("dumps: what is no dump is an error that says so") {
    const Folder folder;
    const CliRun run = cli({"workloads", "-f", folder.write("x", "[1]")});
    CHECK(run.code == 1);
    CHECK(run.err.find("is no configuration dump") != std::string::npos);
    CHECK(cli({"workloads", "-f", folder.write("y", "{")}).err.find("is no JSON") != std::string::npos);
    CHECK(cli({"workloads", "-f", folder.write("z", std::string(200, '[') + std::string(200, ']'))}).err.find("nested deeper") !=
          std::string::npos);
    CHECK(cli({"workloads", "-f", folder.write("odd", R"({"workloads": [1, {"workloadIps": 5}, null], "services": {}})")}).code == 0);
}
