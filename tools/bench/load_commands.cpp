// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/load_commands.h"

#include <CLI/CLI.hpp>

#include <map>

namespace warren::bench {

LoadCommands::LoadCommands(CLI::App& app) {
    add_load(app);
    add_serve(app);
    add_relay(app);
}

void LoadCommands::add_load(CLI::App& app) {
    static const std::map<std::string, LoadMode> modes = {
        {"bulk", LoadMode::Bulk}, {"request", LoadMode::Request}, {"connect", LoadMode::Connect}, {"idle", LoadMode::Idle}};
    load_command_ = app.add_subcommand("load", "load against `warren-bench serve`; figures as JSON");
    load_command_->add_option("mode", load_.mode, "bulk, request, connect or idle")->required()->transform(CLI::CheckedTransformer(modes));
    load_command_->add_option("to", load_.to, "ADDRESS:PORT of the server")->required();
    load_command_->add_option("--ports", load_.ports, "ports of the server")->check(CLI::Range(1, 1'000));
    load_command_->add_option("--seconds", load_.seconds, "how long; of idle: at most, or until standard input closes")
        ->check(CLI::Range(0.05, 86'400.0));
    load_command_->add_option("--connections", load_.connections, "streams, connections or workers")->check(CLI::Range(1, 1'000'000));
    load_command_->add_option("--bytes", load_.bytes, "of a request")->check(CLI::Range(1, 1 << 20));
    load_command_->add_option("--threads", load_.threads, "that share the connections")->check(CLI::Range(1, 256));
    load_command_->add_option("--rate", load_.rate, "operations a second in all; 0: as fast as answers come")->check(CLI::Range(0.0, 1e7));
    load_command_->add_flag("--reverse", load_.reverse, "bulk from the server");
}

void LoadCommands::add_serve(CLI::App& app) {
    serve_command_ = app.add_subcommand("serve", "the server for `warren-bench load`, until a signal ends it");
    serve_command_->add_option("--listen", serve_.listen, "ADDRESS:PORT");
    serve_command_->add_option("--ports", serve_.ports, "consecutive ports from there")->check(CLI::Range(1, 1'000));
    serve_command_->add_option("--threads", serve_.threads, "that accept and answer")->check(CLI::Range(1, 256));
}

void LoadCommands::add_relay(CLI::App& app) {
    relay_command_ = app.add_subcommand("relay", "one hop of the reference: a bare relay, one connection a stream, until a signal ends it");
    relay_command_->add_option("--listen", relay_.listen, "ADDRESS:PORT")->required();
    relay_command_->add_option("--to", relay_.to, "ADDRESS:PORT")->required();
    relay_command_->add_flag("--tls-in", relay_.tls_in, "TLS 1.3 towards who connects");
    relay_command_->add_flag("--tls-out", relay_.tls_out, "TLS 1.3 towards the destination");
}

std::optional<base::Result<std::string>> LoadCommands::run() const {
    if (*load_command_) return run_load(load_);
    if (*serve_command_) return serve_load(serve_);
    if (*relay_command_) return run_relay(relay_);
    return std::nullopt;
}

}  // namespace warren::bench
