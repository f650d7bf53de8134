// SPDX-License-Identifier: Apache-2.0
// A log filter from an environment variable or POST /logging: what is accepted survives its own text, and errors are one line.
#include "base/log_filter.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using warren::base::log::Filter;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto filter = Filter::parse(text);
    if (!filter) {
        if (filter.error().message().find('\n') != std::string::npos) std::abort();
        return 0;
    }
    const auto again = Filter::parse(filter->text());
    if (!again || !(*again == *filter)) std::abort();
    Filter merged;
    if (!merged.merge(*filter) || !(merged == *filter) || merged.level_for(text) != filter->level_for(text)) std::abort();
    return 0;
}
