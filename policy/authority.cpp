// SPDX-License-Identifier: Apache-2.0
#include "policy/authority.h"

#include <algorithm>
#include <charconv>

namespace warren::policy {

namespace {

constexpr size_t kMaxHostname = 253;  // RFC 1035 2.3.4, as text without the root dot

bool hostname_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '*';
}

// A peer's bytes end up in logs: printable, and not too many.
std::string quoted(std::string_view text) {
    std::string out(text.substr(0, 200));
    for (char& c : out)
        if (c < 0x20 || c > 0x7e) c = '?';
    return '"' + out + '"';
}

}  // namespace

std::string Authority::to_string() const {
    return is_address() ? base::SockAddr{ip, port}.to_string() : hostname + ':' + std::to_string(port);
}

base::Result<Authority> parse_authority(std::string_view text) {
    auto refuse = [&](const char* why) {
        return base::invalid(":authority " + quoted(text) + " " + why + "; it has the form ADDRESS:PORT or HOSTNAME:PORT");
    };
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || text.ends_with(']')) return refuse("has no port");
    const std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    Authority out;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (error != std::errc() || end != digits.data() + digits.size()) return refuse("has no port of 0 to 65535");
    if (host.empty()) return refuse("has no host");
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (auto ip = base::IpAddr::parse(bracketed ? host.substr(1, host.size() - 2) : host)) {
        // "::1:80" is an address without a port, or another address; brackets tell which.
        if (bracketed != (host.find(':') != std::string_view::npos)) return refuse("needs brackets around an IPv6 address, and only there");
        out.ip = *ip;
        return out;
    }
    if (host.size() > kMaxHostname) return refuse("has a hostname of more than 253 characters");
    if (!std::all_of(host.begin(), host.end(), hostname_char)) return refuse("has a host that is neither an address nor a hostname");
    out.hostname = host;
    return out;
}

}  // namespace warren::policy
