// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/node_name.h"

#include "base/bytes.h"

#include <algorithm>

namespace warren::cluster {

namespace {
constexpr std::string_view kScheme = "spiffe://", kNode = "/node/";
constexpr size_t kMaxName = 253;

bool plain(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
}  // namespace

base::Result<void> check_node_name(std::string_view name) {
    const bool good = !name.empty() && name.size() <= kMaxName && plain(name.front()) && plain(name.back()) &&
                      std::all_of(name.begin(), name.end(), [](char c) { return plain(c) || c == '-' || c == '.'; });
    if (good) return {};
    return base::invalid("node name " + base::quoted(name) + " is not a DNS name (a-z, 0-9, '-', '.'; at most 253 characters)");
}

std::string node_uri(std::string_view trust_domain, std::string_view node) {
    return std::string(kScheme).append(trust_domain).append(kNode).append(node);
}

bool is_node_uri(std::string_view uri) {
    if (!uri.starts_with(kScheme)) return false;
    uri.remove_prefix(kScheme.size());
    const size_t slash = uri.find('/');
    return slash != std::string_view::npos && uri.substr(slash).starts_with(kNode);
}

base::Result<std::string> node_of_uri(std::string_view uri, std::string_view trust_domain) {
    const std::string prefix = node_uri(trust_domain, "");
    if (!uri.starts_with(prefix)) return base::invalid("identity " + base::quoted(uri) + " is not " + prefix + "NAME");
    const std::string_view name = uri.substr(prefix.size());
    TRY(check_node_name(name));
    return std::string(name);
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
    size_t p = 0, n = 0, star = std::string_view::npos, retry = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            retry = n;
        } else if (p < pattern.size() && pattern[p] == name[n]) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace warren::cluster
