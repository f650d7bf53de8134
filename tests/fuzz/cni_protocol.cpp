// SPDX-License-Identifier: Apache-2.0
// What passes between the CNI plugin and the agent, and the file that stands in for the agent: what is accepted survives being written.
#include "agent/cni/node_state.h"
#include "agent/cni/protocol.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::cni;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto question = parse_question(text)) {
        const auto again = parse_question(encode(*question));
        if (!again || !(*again == *question)) std::abort();
    }
    if (const auto answer = parse_answer(text); answer && !parse_answer(encode(*answer))) std::abort();
    if (const auto state = parse_node_state(text)) {
        const auto again = parse_node_state(encode(*state));
        if (!again || !(*again == *state)) std::abort();
    }
    return 0;
}
