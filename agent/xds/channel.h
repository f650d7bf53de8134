// SPDX-License-Identifier: Apache-2.0
// A gRPC channel to a control plane (data-plane contract 3.7): TLS, the chain verified against the roots given, then the name: the host of
// the address or the alternative one, among the certificate's subject alternative names (a common name never counts). HTTP/2 pings tell a
// dead peer. A channel is for one connection's life: it keeps no connection of another, and its owner's back-off is the one that counts.
// Functions of any thread. Shared by the xDS client and the certificate client; the only header here that shows gRPC.
//
// What gRPC 1.51 leaves no room for: the suites of TLS 1.3 are the library's, and pings stand in for TCP keepalive.
#pragma once

#include "agent/xds/auth_source.h"
#include "agent/xds/node_proof.h"
#include "base/result.h"

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

struct Endpoint {
    std::string host;  // without brackets; empty for a socket
    std::string port;
    std::string socket = {};                      // the path of a Unix socket: the node agent's, without TLS and without a token
    [[nodiscard]] std::string authority() const;  // "host:port", "[::1]:port", "unix:/path"
};
// "https://host:port", where the scheme and the port (443) may be left out, or "unix:/path"; any other scheme is an error.
[[nodiscard]] base::Result<Endpoint> parse_endpoint(std::string_view address);

struct ChannelOptions {
    std::string alternative_host = {};  // ALT_XDS_HOSTNAME, ALT_CA_HOSTNAME
    std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);
    std::chrono::milliseconds ping_interval = std::chrono::seconds(30);
    std::chrono::milliseconds ping_timeout = std::chrono::seconds(10);
    int max_message_bytes = 200 * 1024 * 1024;  // received
    ClientCertificate certificate = {};         // a node's own (join.h); a new one needs a new channel
};

// roots: PEM, not used for a socket. Connects with the first call; an error is gRPC's refusal.
[[nodiscard]] base::Result<std::shared_ptr<grpc::Channel>> make_channel(const Endpoint& endpoint, const std::string& roots,
                                                                        const ChannelOptions& options);

// gRPC 1.51 has no setting for the TLS version, only a process-wide list of TLS 1.2 suites, read when it starts: this sets one that no
// handshake can use. In main, before there are threads; not called when TLS12_ENABLED.
void restrict_grpc_to_tls13();

// What gRPC would abort on, and names that are its own. The error says which header.
[[nodiscard]] base::Result<void> check_header(const std::string& name, const std::string& value);

// RFC 6125 6.4.3: case does not count, "*" stands for the whole first label and nothing else.
[[nodiscard]] bool host_matches(std::string_view pattern, std::string_view host);

}  // namespace warren::xds
