// SPDX-License-Identifier: Apache-2.0
// A call of the CNI plugin: the first line is CNI_ARGS, the second CNI_COMMAND, the rest the configuration. Whatever comes, the answer is
// either a call with everything an ADD needs or an error whose JSON can be written.
#include "agent/cni/invocation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::cni;
    const std::string text(reinterpret_cast<const char*>(data), size);
    const size_t first = std::min(text.find('\n'), text.size()), second = std::min(text.find('\n', first + 1), text.size());
    const std::string args = text.substr(0, first), command = first < second ? text.substr(first + 1, second - first - 1) : "";
    const auto environment = [&](const char* name) -> const char* {
        const std::string_view n = name;
        return n == "CNI_ARGS" ? args.c_str() : n == "CNI_COMMAND" ? command.c_str() : "x";
    };
    const auto read = read_invocation(environment, second < text.size() ? text.substr(second + 1) : "");
    if (const auto* failure = std::get_if<Failure>(&read)) {
        if (failure->message.empty() || failure_json(text, *failure).empty()) std::abort();
        return 0;
    }
    const auto& call = std::get<Invocation>(read);
    if (call.command == Invocation::Command::Add && (call.result.empty() || call.socket.empty() || call.netns.empty())) std::abort();
    return 0;
}
