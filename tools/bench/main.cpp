// SPDX-License-Identifier: Apache-2.0
// warren-bench: the project's measurements, for anyone to repeat.
#include "tools/bench/ca_bench.h"
#include "tools/bench/conversion_bench.h"
#include "tools/bench/load_commands.h"
#include "tools/bench/policy_bench.h"
#include "tools/bench/verdict_bench.h"
#include "tools/bench/xds_bench.h"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

// Measurements of whole labs are Python, in the source tree that this program was built from.
struct Script {
    const char *name, *file, *what;
};
constexpr Script kScripts[] = {
    {"compare", "compare.py", "the mesh beside plain TCP, a bare TLS relay, and any other mesh: throughput, latency, connections, memory"},
    {"agent", "agent_figures.py", "the node agent: memory, enrolment, churn, open connections, how soon a policy counts"},
    {"handshakes", "handshakes.py", "full handshakes a CPU second of the tunnel that accepts them"},
    {"hostile", "hostile.py", "what peers that mean harm cost a tunnel and the pods beside the one they attack"},
};

// Returns when it could not be started.
int hand_over(const Script& script, const CLI::App& command) {
    const std::string path = std::string(WARREN_BENCH_FOLDER) + "/" + script.file;
    std::vector<std::string> words = {"python3", "-B", path};
    for (std::string& word : command.remaining()) words.push_back(std::move(word));
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::access(path.c_str(), R_OK) == 0) ::execvp(argv[0], argv.data());
    std::fprintf(stderr, "warren-bench: %s: %s; it runs from the source tree, with python3\n", path.c_str(), std::strerror(errno));
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Measures Warren on this machine.", "warren-bench");
    app.require_subcommand(1);
    app.set_version_flag("--version", WARREN_VERSION);

    warren::bench::PolicyBenchOptions policy;
    CLI::App* policy_command = app.add_subcommand("policy", "one authorization decision; loading, holding and changing a large mesh");
    policy_command->add_flag("--json", policy.json, "machine-readable report");
    policy_command->add_option("--decisions", policy.decisions, "decisions measured of each kind")->check(CLI::Range(1'000, 10'000'000));
    policy_command->add_option("--changes", policy.changes, "single changes measured")->check(CLI::Range(10, 1'000'000));

    warren::bench::XdsBenchOptions xds;
    CLI::App* xds_command = app.add_subcommand("xds", "bringing a large mesh to nodes and keeping it current there");
    xds_command->add_flag("--json", xds.json, "machine-readable report");
    xds_command->add_option("--nodes", xds.nodes, "nodes connected")->check(CLI::Range(1, 1'000));
    xds_command->add_option("--rate", xds.changes_per_second, "changes a second in the churn")->check(CLI::Range(1, 100'000));
    xds_command->add_option("--seconds", xds.seconds, "of churn")->check(CLI::Range(1, 3'600));

    warren::bench::ConversionBenchOptions conversion;
    CLI::App* conversion_command = app.add_subcommand("conversion", "Kubernetes objects to resources: everything, and what changed");
    conversion_command->add_flag("--json", conversion.json, "machine-readable report");
    conversion_command->add_option("--pods", conversion.pods, "of the mesh")->check(CLI::Range(1'000, 10'000'000));
    conversion_command->add_option("--batch", conversion.batch, "changes converted at once")->check(CLI::Range(1, 100'000));
    conversion_command->add_option("--rounds", conversion.rounds, "times that each change is made")->check(CLI::Range(1, 10'000));

    warren::bench::CaBenchOptions ca;
    CLI::App* ca_command = app.add_subcommand("ca", "signing certificates: the authority alone, and the service over gRPC");
    ca_command->add_flag("--json", ca.json, "machine-readable report");
    ca_command->add_option("--certificates", ca.certificates, "signed by each issuer")->check(CLI::Range(10, 1'000'000));
    ca_command->add_option("--rate", ca.rate, "requests a second of the service")->check(CLI::Range(1, 10'000));
    ca_command->add_option("--seconds", ca.seconds, "how long the service is asked")->check(CLI::Range(1, 3'600));

    warren::bench::VerdictBenchOptions verdicts;
    CLI::App* verdicts_command = app.add_subcommand("verdicts", "same-node verdicts of a full node: all of them, and one policy changed");
    verdicts_command->add_flag("--json", verdicts.json, "machine-readable report");
    verdicts_command->add_option("--pods", verdicts.pods, "pods of the node")->check(CLI::Range(10, 1'000));
    verdicts_command->add_option("--ports", verdicts.ports, "ports that policies name")->check(CLI::Range(1, 60));
    verdicts_command->add_option("--policies", verdicts.policies, "policies of the mesh")->check(CLI::Range(200, 100'000));
    verdicts_command->add_option("--rounds", verdicts.rounds, "times that everything is computed")->check(CLI::Range(1, 1'000));
    const warren::bench::LoadCommands load(app);
    for (const Script& script : kScripts) {
        CLI::App* command = app.add_subcommand(script.name, script.what);
        command->prefix_command();
        command->set_help_flag();  // the script's own
    }
    CLI11_PARSE(app, argc, argv);
    for (const Script& script : kScripts)
        if (const CLI::App* command = app.get_subcommand(script.name); *command) return hand_over(script, *command);

    auto asked = load.run();
    auto report = asked                 ? *std::move(asked)
                  : *policy_command     ? warren::bench::policy_bench(policy)
                  : *xds_command        ? warren::bench::xds_bench(xds)
                  : *conversion_command ? warren::bench::conversion_bench(conversion)
                  : *ca_command         ? warren::bench::ca_bench(ca)
                                        : warren::bench::verdict_bench(verdicts);
    if (!report) {
        std::fprintf(stderr, "warren-bench: %s\n", report.error().message().c_str());
        return 1;
    }
    std::fputs(report->c_str(), stdout);
    return 0;
}
