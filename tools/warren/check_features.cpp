// SPDX-License-Identifier: Apache-2.0
#include "agent/node/features.h"
#include "tools/warren/check_host.h"

#include <unistd.h>

namespace warren::tools {

void check_features(Findings& to) {
    if (::geteuid() != 0) return;  // loading a program needs it
    size_t available = 0, all = 0;
    for (const node::Feature& f : node::probe_features({}).all) {
        ++all;
        available += f.available ? 1 : 0;
        if (!f.available)
            to.push_back({f.required ? Severity::Error : Severity::Note, "features",
                          f.name + " is missing" + (f.why_not.empty() ? "" : ": " + f.why_not),
                          f.required ? "redirection needs it: boot a kernel that has it" : ""});
    }
    to.push_back(
        {Severity::Ok, "features", std::to_string(available) + " of " + std::to_string(all) + " that the agent can use are there", ""});
}

}  // namespace warren::tools
