// SPDX-License-Identifier: Apache-2.0
// The three programs the CLI asks, and what to tell a person when one does not answer.
#pragma once

#include "tools/warren/context.h"
#include "tools/warren/http.h"

#include <string>

namespace warren::tools {

struct Daemon {
    std::string name;     // "agent"
    std::string program;  // "warren-agent"
    std::string address;
    std::string option;  // that names another address
};

[[nodiscard]] Daemon agent_of(const Context& context);
[[nodiscard]] Daemon tunnel_of(const Context& context);
[[nodiscard]] Daemon controller_of(const Context& context);  // the address may be empty: none was named

// Errors say what to do. An answer other than 200 is one.
[[nodiscard]] base::Result<std::string> ask(const Context& context, const Daemon& daemon, const std::string& path, bool post = false);
// The same at another address than its own; any thread.
[[nodiscard]] base::Result<std::string> ask_at(const Context& context, const Daemon& daemon, const std::string& address,
                                               const std::string& path, bool post = false);
[[nodiscard]] base::Result<Json> ask_json(const Context& context, const Daemon& daemon, const std::string& path);

[[nodiscard]] base::Result<Json> agent_status(const Context& context);
// The tunnel's dump; of the file instead when one is named ("-": standard input).
[[nodiscard]] base::Result<Json> config_dump(const Context& context, const std::string& file);

}  // namespace warren::tools
