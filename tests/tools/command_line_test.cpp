// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/cli_fixture.h"
#include "tools/warren/redact.h"
#include "tools/warren/run_program.h"

#include <sys/stat.h>

using namespace warren::tools;
using namespace std::chrono_literals;

namespace {

const std::string kStatus =
    R"({"node": "n1", "instance": "warren", "version": "0.1.0", "uptime_seconds": 7300, "ready": true, "waiting_for": [],
  "redirection": true, "same_node": "direct", "mesh": {"source": "xds", "from": "https://c:15012", "synced": true, "connected": true},
  "enrolment": {"enrolled": 3, "waiting": 0, "failing": 1, "refused": 0}, "tunnel": {"connected": [{"pods": 3}]},
  "pods": [{"namespace": "a", "name": "p", "state": "failing", "why": "its namespace is gone"}],
  "kernel": {"release": "6.1.0", "hooks": [{"attached": true}], "unrepaired": []}, "flows": {"open": 4, "closed": 5}, "xds_token": "abcdefgh"})";

}  // namespace

TEST_CASE("command line: a wrong one is exit code 2, help is 0") {
    CHECK(cli({}).code == 2);
    CHECK(cli({"frobnicate"}).code == 2);
    CHECK(cli({"frobnicate"}).err.starts_with("warren: there is no command \"frobnicate\"\n"));
    CHECK(cli({"policy", "frobnicate"}).err.starts_with("warren: there is no command \"frobnicate\"\n"));
    CHECK(cli({"workloads", "--frob"}).code == 2);
    CHECK(cli({"workloads", "-o", "xml"}).code == 2);
    CHECK(cli({"log-level", "xds:loud"}).code == 2);
    CHECK(cli({"--help"}).out.find("Subcommands:") != std::string::npos);
    CHECK(cli({"--version"}).out.starts_with("warren "));
    CHECK(cli({"version", "--client", "-o", "json"}).code == 0);
    CHECK(cli({"--netns", "warren-no-such-netns", "version", "--client"}).err.find("--netns warren-no-such-netns") != std::string::npos);
}

TEST_CASE("command line: variables stand for global options, and options win") {
    ::setenv("WARREN_OUTPUT", "json", 1);
    CHECK(Json::parse(cli({"version", "--client"}).out).contains("warren"));
    CHECK(cli({"version", "--client", "-o", "table"}).out.starts_with("PROGRAM"));
    ::unsetenv("WARREN_OUTPUT");
    CHECK(cli({"version", "--client", "--color", "always"}).out.find("\x1b[2m") != std::string::npos);
}

TEST_CASE("convert: the settings of a controller are options") {
    const Folder folder;
    const std::string file =
        folder.write("a.yaml",
                     "{apiVersion: v1, kind: Namespace, metadata: {name: mesh, labels: {topology.istio.io/network: net1}}}\n"
                     "---\n{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {podIP: 10.0.0.1}}\n"
                     "---\n{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, spec: {}, "
                     "metadata: {name: tried, annotations: {istio.io/dry-run: 'true'}}}\n");
    const CliRun plain = cli({"convert", "-f", file, "-o", "json"});
    CHECK(plain.code == 0);
    CHECK(plain.out.find("net1") == std::string::npos);
    CHECK(plain.out.find("tried") == std::string::npos);
    const CliRun set = cli({"convert", "-f", file, "--system-namespace", "mesh", "--dry-run-policies", "-o", "json"});
    CHECK(set.code == 0);
    CHECK(set.out.find("\"network\": \"net1\"") != std::string::npos);
    CHECK(set.out.find("\"dryRun\": true") != std::string::npos);
    CHECK(cli({"convert", "-f", file, "--discovery-selectors", "[{matchLabels: {mesh: 'on'}}]", "-o", "json"}).out.find("10.0.0.1") ==
          std::string::npos);
    const CliRun wrong = cli({"convert", "-f", file, "--discovery-selectors", "[{matchLabel: {mesh: 'on'}}]"});
    CHECK(wrong.code == 1);
    CHECK(wrong.err.find("--discovery-selectors: ") != std::string::npos);
    CHECK(wrong.err.find("unknown field 'matchLabel'; the fields here are matchLabels, matchExpressions") != std::string::npos);
}

TEST_CASE("man page: the one in docs is what the options say") {
    const std::string path = WARREN_SOURCE_DIR "/docs/warren.1";
    const std::string now = cli({"man"}).out;
    if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(path) << now;
    CHECK(read_all(path) == now);
}

TEST_CASE("command line: the lines of the readme and of the page on policies run") {
    size_t lines = 0;
    for (const char* page : {"README.md", "docs/policy.md"}) {
        std::istringstream text(read_all(WARREN_SOURCE_DIR "/" + std::string(page)));
        for (std::string line; std::getline(text, line);) {
            const std::string program = "build/release/bin/warren ";
            if (!line.starts_with(program)) continue;
            std::istringstream words(line.substr(program.size()));
            std::vector<std::string> arguments;
            for (std::string word; words >> word;) arguments.push_back(word.starts_with("tools/") ? WARREN_SOURCE_DIR "/" + word : word);
            if (arguments[0] == "lab") continue;  // tests/lab runs those, with a lab up
            const CliRun run = cli(arguments);
            INFO(line << '\n' << run.err);
            CHECK((run.code == 0 || run.code == 3));
            CHECK(!run.out.empty());
            ++lines;
        }
    }
    CHECK(lines >= 4);
}

TEST_CASE("completion: bash completes commands, options and values") {
    const Folder folder;
    const std::string script = folder.write("warren.bash", cli({"completion", "bash"}).out);
    const auto complete = [&](const std::string& words, int at) {
        const std::string command =
            "source " + script + "; COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(at) + "; _warren; echo ${COMPREPLY[*]}";
        const auto out = run_program({"bash", "-c", command}, 10s, 65536);
        REQUIRE(out);
        return *out;
    };
    CHECK(complete("warren poli", 1) == "policies policy\n");
    CHECK(complete("warren policy ''", 2).starts_with("explain diff audit "));
    CHECK(complete("warren flows --ver", 2) == "--verdict --version\n");
    CHECK(complete("warren flows --verdict ''", 3) == "allowed denied not_judged\n");
    CHECK(complete("warren --color never completion z", 4).find("zsh") != std::string::npos);
    CHECK(cli({"completion", "fish"})
              .out.find("complete -c warren -n '__fish_seen_subcommand_from flows' -l verdict -r -a 'allowed denied not_judged'") !=
          std::string::npos);
    CHECK(cli({"completion", "tcsh"}).code == 2);
}

TEST_CASE("status: people see a line for each part, machines all of it") {
    const FakeDaemon agent({{"/status", kStatus}});
    const FakeDaemon tunnel({{"/config_dump", read_all(kCliGolden + "config_dump.json")}});
    const CliRun run = cli({"status", "--agent", agent.address(), "--tunnel", tunnel.address()});
    CHECK(run.code == 0);
    check_golden("status.txt", run.out);
    const Json j = Json::parse(cli({"status", "--agent", agent.address(), "--tunnel", tunnel.address(), "-o", "json"}).out);
    CHECK(j["agent"]["node"] == "n1");
    CHECK(j["tunnel"]["workloads"] == 7);
    const FakeDaemon controller(
        {{"/status", std::string(R"({"ready": false, "waitingFor": ["source"], "version": "0.1.0", "clients": [{}]})")}});
    const CliRun three = cli({"status", "--agent", agent.address(), "--tunnel", tunnel.address(), "--controller", controller.address()});
    CHECK(three.out.find("controller    not ready, waits for source\n              version 0.1.0, 1 clients") != std::string::npos);
    const CliRun half = cli({"status", "--agent", agent.address(), "--tunnel", "127.0.0.1:1"});
    CHECK(half.code == 1);
    CHECK(half.out.find("no answer on 127.0.0.1:1") != std::string::npos);
}

TEST_CASE("log-level: what is there is kept, and the stock spelling works") {
    const FakeDaemon agent(std::map<std::string, std::string>{{"/logging", "info,flows=debug\n"}});
    const FakeDaemon tunnel(std::map<std::string, std::string>{{"/logging", "current log level is info\n"}});
    const CliRun run = cli({"log-level", "xds:trace", "--agent", agent.address(), "--tunnel", tunnel.address()});
    CHECK(run.code == 0);
    REQUIRE(agent.asked().size() == 2);
    CHECK(agent.asked()[1] == "POST /logging?level=info%2Cflows%3Ddebug%2Cxds%3Dtrace");
    CHECK(tunnel.asked() == std::vector<std::string>{"POST /logging", "POST /logging?level=info%2Cxds%3Dtrace"});
    CHECK(cli({"log-level", "--of", "agent", "-o", "json", "--agent", agent.address()}).out.find("\"info,flows=debug\"") !=
          std::string::npos);
}

TEST_CASE("bug report: one archive, with no secret in it") {
    const Folder folder;
    std::filesystem::create_directory(folder.path / "logs");
    folder.write("logs/agent.log", "started\nAuthorization: Bearer abcdefghijkl\npassword=hunter22 next\n");
    const FakeDaemon agent({{"/status", kStatus}, {"/flows", "[]"}, {"/logging", "info"}});
    const std::string file = folder.path / "r.tar.gz";
    const std::vector<std::string> command = {"bug-report",       file,         "--logs",      folder.path / "logs", "--agent",
                                              agent.address(),    "--tunnel",   "127.0.0.1:1", "--agent-metrics",    "127.0.0.1:1",
                                              "--tunnel-metrics", "127.0.0.1:1"};
    const CliRun run = cli(command);
    REQUIRE(run.code == 0);
    CHECK(run.err.find("tunnel/config_dump.json: the tunnel does not answer") != std::string::npos);
    const auto all = run_program({"tar", "-xOzf", file}, 10s, size_t{1} << 24);
    REQUIRE(all);
    CHECK(all->find("\"node\": \"n1\"") != std::string::npos);
    CHECK(all->find("started") != std::string::npos);
    for (const char* secret : {"abcdefgh", "hunter22"}) CHECK(all->find(secret) == std::string::npos);
    struct stat about{};
    REQUIRE(::stat(file.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
    CHECK(cli(command).code == 1);  // never over another file
}

TEST_CASE("redaction: keys, tokens and named secrets go, the rest stays") {
    const std::string key = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----";
    CHECK(redact_text("a " + key + " b") == "a [redacted] b");
    CHECK(redact_text("x -----BEGIN PRIVATE KEY-----\ncut") == "x [redacted]");
    CHECK(redact_text("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----").find("MII") != std::string::npos);
    CHECK(redact_text("pem LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t end") == "pem [redacted] end");
    CHECK(redact_text("t=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl!").find("eyJ") == std::string::npos);
    CHECK(redact_text("{\"clientSecret\": \"s3cr3t\", \"name\": \"web\"}") == "{\"clientSecret\": \"[redacted]\", \"name\": \"web\"}");
    CHECK(redact_text("DB_PASSWORD=abc PATH=/bin") == "DB_PASSWORD=[redacted] PATH=/bin");
    CHECK(redact_json(Json{{"token", "abc"}, {"secretTtl", {{"secs", 5}}}, {"list", {"Bearer abcdefghij"}}}) ==
          Json{{"token", "[redacted]"}, {"secretTtl", {{"secs", 5}}}, {"list", {"Bearer [redacted]"}}});
}
