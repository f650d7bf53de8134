// SPDX-License-Identifier: Apache-2.0
// A runtime's CNI configuration as another component left it: an edit is refused, or it can be taken back byte for byte.
#include "agent/node/cni_conflist.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::node;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view kElement = R"({"type":"warren-cni"})";
    if (const auto single = conflist_of_single(text); single && !conflist_with(*single, kElement)) std::abort();
    const bool had = conflist_has(text, "warren-cni");
    const auto with = conflist_with(text, kElement);
    if (!with) return 0;
    if (!conflist_has(*with, "warren-cni") || *conflist_with(*with, kElement) != *with) std::abort();
    const auto without = conflist_without(*with, "warren-cni");
    if (!without || conflist_has(*without, "warren-cni")) std::abort();
    if (!had && *without != text) std::abort();
    return 0;
}
