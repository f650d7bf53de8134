// SPDX-License-Identifier: Apache-2.0
// The subcommands load, serve and relay: their options, and running the one that was asked for.
#pragma once

#include "base/result.h"
#include "tools/bench/load_client.h"
#include "tools/bench/load_server.h"
#include "tools/bench/relay.h"

#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace warren::bench {

class LoadCommands {
  public:
    explicit LoadCommands(CLI::App& app);  // lives until the command line is parsed
    LoadCommands(const LoadCommands&) = delete;
    LoadCommands& operator=(const LoadCommands&) = delete;
    // Nothing when another command was asked for.
    [[nodiscard]] std::optional<base::Result<std::string>> run() const;

  private:
    void add_load(CLI::App& app);
    void add_serve(CLI::App& app);
    void add_relay(CLI::App& app);

    LoadOptions load_;
    ServeOptions serve_;
    RelayOptions relay_;
    CLI::App *load_command_ = nullptr, *serve_command_ = nullptr, *relay_command_ = nullptr;
};

}  // namespace warren::bench
