// SPDX-License-Identifier: Apache-2.0
// Findings in what running daemons say of themselves. Pure.
#pragma once

#include "base/clock.h"
#include "tools/warren/findings.h"

namespace warren::tools {

// status: the agent's.
void check_agent_status(const Json& status, Findings& to);
// status: the controller's.
void check_controller_status(const Json& status, Findings& to);
// dump: the tunnel's.
void check_certificates(const Json& dump, base::WallTime now, Findings& to);
// date: the Date header of the controller's answer.
void check_skew(const std::string& date, base::WallTime now, Findings& to);

}  // namespace warren::tools
