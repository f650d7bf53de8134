// SPDX-License-Identifier: Apache-2.0
#include "agent/node/loopback_xds.h"

#include "agent/xds/loopback_certificate.h"
#include "base/bytes.h"
#include "base/small_file.h"

#include <algorithm>
#include <string_view>

namespace warren::node {

namespace {

// Years longer than an agent runs: whether it is to be renewed is asked at its start only.
constexpr auto kLifetime = std::chrono::hours(24 * 365 * 3);

constexpr std::string_view kBearer = "Bearer ";

// In a time that does not depend on where they differ.
bool same_secret(std::string_view a, std::string_view b) {
    unsigned char difference = a.size() == b.size() ? 0 : 1;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
    return difference == 0;
}

}  // namespace

base::Result<void> LoopbackXds::prepare(xds::ServerOptions& server, const base::Clock& clock) {
    // A token that cannot be read now would refuse everybody later.
    auto token = token_.read();
    if (!token) return std::move(token).error().with("tunnel_xds.token");
    base::wipe(*token);
    xds::LoopbackCertificate made = TRY(xds::kept_loopback_certificate(options_.state_file, clock.wall(), kLifetime));
    TRY(base::replace_small_file(options_.root_file, made.root, 0644));
    server.tls = std::move(made.tls);
    server.listeners.push_back({.address = options_.address, .tls = true});
    server.authenticator = this;
    return {};
}

base::Result<std::string> LoopbackXds::identity_of(const xds::Caller& caller) const {
    if (caller.unix_socket) return std::string("tunnel");
    std::string wanted = TRY(token_.read());
    const bool shown = std::any_of(caller.metadata.begin(), caller.metadata.end(), [&wanted](const auto& field) {
        return field.first == "authorization" && field.second.starts_with(kBearer) &&
               same_secret(std::string_view(field.second).substr(kBearer.size()), wanted);
    });
    base::wipe(wanted);
    if (shown) return std::string("tunnel");
    return base::Error{base::Errc::Denied, 0, "xds", "show the token of tunnel_xds.token as authorization: Bearer TOKEN (AUTH_TOKEN)"};
}

void LoopbackXds::authenticate(const xds::Caller& caller, Done done) { done(identity_of(caller)); }

}  // namespace warren::node
