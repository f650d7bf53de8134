// SPDX-License-Identifier: Apache-2.0
// What every command stands on: the global options, where it writes, and its exit code. One Context for a run of the CLI; main's thread.
#pragma once

#include "base/result.h"
#include "tools/warren/json.h"
#include "tools/warren/table.h"

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

namespace CLI {
class App;
}

namespace warren::tools {

// Documented in docs/cli.md and the man page.
enum Exit : int {
    kOk = 0,
    kFailed = 1,    // could not be done or answered
    kUsage = 2,     // the command line is wrong
    kFindings = 3,  // done, and there is something to act on: a finding, a difference, a refusal
};

struct Globals {
    std::string agent = "127.0.0.1:15030";
    std::string tunnel = "127.0.0.1:15000";
    std::string tunnel_metrics = "127.0.0.1:15020";
    std::string agent_metrics = "127.0.0.1:15031";
    std::string controller;
    std::string flows_socket = "/run/warren/flows.sock";
    std::string netns;
    std::string output = "table";
    std::string color = "auto";
    uint32_t timeout_s = 10;
    // Of a Kubernetes cluster (cluster.h).
    bool cluster = false;
    std::string kubeconfig, kube_context, mesh_namespace, on_node;
};

class Cluster;

struct Context {
    Context(std::ostream& o, std::ostream& e) : out(o), err(e) {}

    Globals globals;
    std::ostream& out;
    std::ostream& err;
    bool terminal = false;                          // out is one
    bool no_color = false;                          // NO_COLOR is set
    std::function<base::Result<int>()> run = {};    // of the command given
    const CLI::App* root = nullptr;                 // lives as long as the parse
    mutable std::shared_ptr<Cluster> cluster = {};  // of cluster_of()
    mutable bool cluster_decided = false;

    [[nodiscard]] bool for_people() const { return globals.output == "table"; }
    [[nodiscard]] bool colour() const { return globals.color == "always" || (globals.color == "auto" && terminal && !no_color); }
    // As JSON or YAML; not for tables.
    void print(const Json& document) const;
    // The table for people, the document for machines.
    void print(const Table& table, const Json& document) const;
    void note(const std::string& text) const;  // to standard error
};

}  // namespace warren::tools
