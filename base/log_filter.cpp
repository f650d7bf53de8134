// SPDX-License-Identifier: Apache-2.0
#include "base/log_filter.h"

#include <fmt/format.h>

#include <algorithm>

namespace warren::base::log {
namespace {

constexpr std::string_view kLevels = "off, error, warn, info, debug, trace";

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

bool is_target(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':' || c == '.' || c == '-';
    });
}

}  // namespace

Result<Filter> Filter::parse(std::string_view text) {
    if (text.size() > kMaxTextBytes)
        return invalid(fmt::format("log filter of {} bytes: at most {} are taken", text.size(), kMaxTextBytes));
    Filter filter;
    bool any = false;
    for (std::string_view rest = text; !rest.empty();) {
        const size_t comma = rest.find(',');
        const std::string_view directive = trim(rest.substr(0, comma));
        rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
        if (directive.empty()) continue;
        any = true;
        const size_t equals = directive.find('=');
        const std::string_view word = equals == std::string_view::npos ? directive : trim(directive.substr(equals + 1));
        const auto level = parse_level(word);
        if (!level && equals == std::string_view::npos)
            return invalid(
                fmt::format("log filter: {} is not a level ({}); a target needs one, as in target=debug", quoted(directive), kLevels));
        if (!level) return invalid(fmt::format("log filter: {} in {} is not a level ({})", quoted(word), quoted(directive), kLevels));
        if (equals == std::string_view::npos) {
            filter.everywhere_ = *level;
            continue;
        }
        const std::string_view target = trim(directive.substr(0, equals));
        if (!is_target(target))
            return invalid(
                fmt::format("log filter: {} in {} is not a target (letters, digits, _ - . :)", quoted(target), quoted(directive)));
        TRY(filter.set(target, *level));
    }
    if (!any) return invalid("log filter is empty: give a level, as in info, or target=level");
    return filter;
}

Result<void> Filter::set(std::string_view target, Level level) {
    const auto at =
        std::lower_bound(targets_.begin(), targets_.end(), target, [](const Directive& d, std::string_view t) { return d.target < t; });
    if (at != targets_.end() && at->target == target) {
        at->level = level;
        return {};
    }
    if (targets_.size() >= kMaxTargets)
        return Error{Errc::Exhausted, 0, "", fmt::format("log filter has more than {} targets", kMaxTargets)};
    targets_.insert(at, Directive{std::string(target), level});
    return {};
}

Result<void> Filter::merge(const Filter& over) {
    Filter sum = *this;
    if (over.everywhere_) sum.everywhere_ = over.everywhere_;
    for (const Directive& d : over.targets_) TRY(sum.set(d.target, d.level));
    *this = std::move(sum);
    return {};
}

Level Filter::level_for(std::string_view target) const {
    Level level = everywhere_.value_or(Level::Info);
    for (const Directive& d : targets_)  // sorted, so of those that fit the longest comes last
        if (target.starts_with(d.target)) level = d.level;
    return level;
}

std::string Filter::text() const {
    std::string out(everywhere_ || targets_.empty() ? to_string(everywhere_.value_or(Level::Info)) : std::string_view());
    for (const Directive& d : targets_) {
        if (!out.empty()) out += ',';
        out += d.target;
        out += '=';
        out += to_string(d.level);
    }
    return out;
}

}  // namespace warren::base::log
