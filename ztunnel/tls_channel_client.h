// SPDX-License-Identifier: Apache-2.0
// A gRPC channel over TLS to a control-plane endpoint (data-plane contract 3.7): the host of the address verified against the roots given,
// or the alternative name in its place; HTTP/2 pings; connection attempts end after 5 s. Functions of any thread. gRPC stays in *_client.
//
// Differences from the reference that gRPC 1.51 leaves no room for: suites of TLS 1.3 are the library's, TCP keepalive is gRPC's pings.
#pragma once

#include "base/result.h"

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <string_view>

namespace warren::ztunnel {

struct Endpoint {
    std::string host;  // without brackets
    std::string port;
    [[nodiscard]] std::string authority() const;  // "host:port", "[::1]:port"
};
// "https://host:port", the scheme and the port (443) may be left out; any other scheme is an error.
[[nodiscard]] base::Result<Endpoint> parse_endpoint(std::string_view address);

// roots: PEM. Connects with the first call; an error is gRPC's refusal of the roots.
[[nodiscard]] base::Result<std::shared_ptr<grpc::Channel>> make_tls_channel(const Endpoint& endpoint, const std::string& roots,
                                                                            const std::string& alternative_host);

}  // namespace warren::ztunnel
