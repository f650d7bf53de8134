// SPDX-License-Identifier: Apache-2.0
// The file of pods. What it accepts is bounded, and no two of its pods are one.
#include "agent/node/pod_file_source.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto pods = warren::node::pods_from_yaml({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (!pods) {
        if (pods.error().message().empty()) std::abort();
        return 0;
    }
    std::set<std::string_view> uids;
    for (const auto& pod : *pods) {
        const bool somewhere = pod->host_network || pod->netns.pid != 0 || !pod->netns.path.empty();
        if (!somewhere || pod->uid.empty() || !uids.insert(pod->uid).second) std::abort();
    }
    if (pods->size() > warren::node::kMaxPodsOfFile) std::abort();
    return 0;
}
