// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/run_program.h"

#include "tools/warren/child.h"

#include <algorithm>

namespace warren::tools {

base::Result<std::string> run_program(const std::vector<std::string>& command, std::chrono::milliseconds deadline, size_t max_bytes) {
    using base::Errc;
    Child child = TRY(Child::start(command, Child::Stderr::Kept));
    const auto until = std::chrono::steady_clock::now() + deadline;
    std::string out;
    for (;;) {
        const auto line = child.line(until);
        if (!line && line.error().code == Errc::Timeout)
            return base::Error{Errc::Timeout, 0, "", command[0] + " did not end within " + std::to_string(deadline.count()) + " ms"};
        if (!line) return line.error();
        if (!*line) break;
        out.append(**line, 0, max_bytes - std::min(out.size(), max_bytes));
        if (out.size() < max_bytes) out += '\n';
    }
    TRY(child.wait());
    return out;
}

}  // namespace warren::tools
