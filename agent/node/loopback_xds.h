// SPDX-License-Identifier: Apache-2.0
// LoopbackXds: the mesh for a tunnel that speaks xDS over TLS only, as a stock one does (data-plane contract 3.7): a listener on loopback
// with a certificate of its own, whose root lies in a file for the tunnel's XDS_ROOT_CA, and a bearer token, because every process of the
// node reaches loopback. The Unix socket's callers are let in by the file's mode, as before.
//
// prepare() belongs to main, before the server; the Authenticator's calls come on gRPC's threads. It outlives the server.
#pragma once

#include "agent/xds/auth_source.h"
#include "agent/xds/server.h"
#include "base/clock.h"
#include "base/result.h"

#include <string>

namespace warren::node {

class LoopbackXds final : public xds::Authenticator {
  public:
    struct Options {
        std::string address;     // loopback IP:PORT
        std::string token_file;  // what callers have to show
        std::string state_file;  // keeps our certificate and its key over a restart
        std::string root_file;   // written: the root that verifies us, PEM
    };
    explicit LoopbackXds(Options options) : options_(std::move(options)), token_(xds::TokenSource::file(options_.token_file)) {}

    // Adds the listener, its certificate and this as the authenticator. Errors name the setting or the file.
    base::Result<void> prepare(xds::ServerOptions& server, const base::Clock& clock);

    void authenticate(const xds::Caller& caller, Done done) override;

  private:
    [[nodiscard]] base::Result<std::string> identity_of(const xds::Caller& caller) const;

    const Options options_;
    const xds::TokenSource token_;
};

}  // namespace warren::node
