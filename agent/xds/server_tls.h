// SPDX-License-Identifier: Apache-2.0
// Server credentials whose certificate may be replaced while connections live: gRPC asks for it at each handshake. set() on any thread.
// gRPC 1.51 offers that in its C interface only, hence a ServerCredentials of our own around it. Shows gRPC; included by server*.cpp only.
#pragma once

#include "agent/xds/server.h"
#include "base/result.h"

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <cstdint>
#include <memory>
#include <mutex>

namespace warren::xds {

// Whether the texts look like what they should be; whether they fit together shows at the handshake.
[[nodiscard]] base::Result<void> check_tls(const ServerTls& tls);

// What all listeners of a server share.
class TlsMaterial {
  public:
    explicit TlsMaterial(ServerTls tls) : tls_(std::move(tls)) {}
    ~TlsMaterial();
    TlsMaterial(const TlsMaterial&) = delete;
    TlsMaterial& operator=(const TlsMaterial&) = delete;
    void set(ServerTls tls);
    // The present texts unless they are those of version `seen`, which is brought up to date.
    [[nodiscard]] bool newer_than(uint64_t& seen, ServerTls& out) const;

  private:
    mutable std::mutex mutex_;
    ServerTls tls_;
    uint64_t version_ = 1;
};

// For one listener. Must outlive the server that listens with them: its core calls back, and holds no reference.
[[nodiscard]] std::shared_ptr<grpc::ServerCredentials> reloadable_credentials(std::shared_ptr<const TlsMaterial> material,
                                                                              bool ask_for_certificates);

}  // namespace warren::xds
