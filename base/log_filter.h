// SPDX-License-Identifier: Apache-2.0
// Which log areas write what, in the syntax of RUST_LOG (data-plane contract section 9.5): "level" or "target=level", comma separated, for
// example "info,xds=debug,access=off". A target covers every area whose name it begins ("proxy" covers "proxy::inbound"); the longest
// target wins, a later directive replaces an earlier one of the same target, and a filter without a bare level means info elsewhere.
// Plain values, any thread. Foreign text (an environment variable, POST /logging): an error names the directive and the fix.
#pragma once

#include "base/log_line.h"
#include "base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::base::log {

class Filter {
  public:
    static constexpr size_t kMaxTextBytes = 4096;
    static constexpr size_t kMaxTargets = 100;

    // A word that is no level is refused, so that a bare target (all of it at trace, in RUST_LOG) is never taken for one by a typing error.
    // Empty directives ("info,") are skipped; a text with none at all is refused.
    static Result<Filter> parse(std::string_view text);

    // Adds the directives of over to this filter; its directives win. Refused when the sum has too many targets.
    Result<void> merge(const Filter& over);

    [[nodiscard]] Level level_for(std::string_view target) const;
    // Sorted, the bare level first; parse(text()) is this filter.
    [[nodiscard]] std::string text() const;
    bool operator==(const Filter&) const = default;

  private:
    struct Directive {
        std::string target;
        Level level = Level::Info;
        bool operator==(const Directive&) const = default;
    };
    Result<void> set(std::string_view target, Level level);

    std::optional<Level> everywhere_;
    std::vector<Directive> targets_;  // sorted by target
};

}  // namespace warren::base::log
