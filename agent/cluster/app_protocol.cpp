// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/app_protocol.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <string>

namespace warren::cluster {

namespace {

using istio::workload::AppProtocol;

struct Word {
    std::string_view word;
    AppProtocol protocol;
};
constexpr Word kWords[] = {
    {"http", istio::workload::HTTP11},      {"http2", istio::workload::HTTP2},
    {"grpc", istio::workload::GRPC},        {"tcp", istio::workload::TCP},
    {"tls", istio::workload::TLS},          {"https", istio::workload::TLS},
    {"grpc-web", istio::workload::UNKNOWN}, {"udp", istio::workload::UNKNOWN},
    {"mongo", istio::workload::UNKNOWN},    {"http_proxy", istio::workload::UNKNOWN},
    {"mysql", istio::workload::UNKNOWN},    {"redis", istio::workload::UNKNOWN},
};

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::optional<AppProtocol> known_word(std::string_view text) {
    const std::string word = lower(text);
    const auto found = std::find_if(std::begin(kWords), std::end(kWords), [&](const Word& w) { return w.word == word; });
    return found == std::end(kWords) ? std::nullopt : std::optional(found->protocol);
}

// Servers of these ports speak first: a proxy that waits for the client would wait for ever.
bool is_server_first_port(uint16_t port) { return port == 25 || port == 53 || port == 3306 || port == 27017; }

}  // namespace

AppProtocol app_protocol_of_word(std::string_view word) { return known_word(word).value_or(istio::workload::UNKNOWN); }

AppProtocol app_protocol(const ServicePort& port) {
    if (port.udp) return istio::workload::UNKNOWN;
    std::string_view name = port.name;
    if (port.app_protocol) {
        name = *port.app_protocol;
        if (name == "kubernetes.io/h2c") return istio::workload::HTTP2;
        if (name == "kubernetes.io/ws") return istio::workload::HTTP11;
        if (name == "kubernetes.io/wss") return istio::workload::TLS;
    }
    if (lower(name).starts_with("grpc-web")) return istio::workload::UNKNOWN;
    if (const auto known = known_word(name.substr(0, name.find('-')))) return *known;
    return is_server_first_port(port.port) ? istio::workload::TCP : istio::workload::UNKNOWN;
}

}  // namespace warren::cluster
