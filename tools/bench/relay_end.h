// SPDX-License-Identifier: Apache-2.0
// RelayEnd: one connection of the reference relay, plain or TLS 1.3 by OpenSSL on the socket itself. Non-blocking; the relay's thread owns
// it. The certificate is made at start, signs itself and is verified by nobody: this is a measure, not a product.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstddef>
#include <memory>

struct ssl_ctx_st;
struct ssl_st;

namespace warren::bench {

struct RelayTlsFree {
    void operator()(ssl_ctx_st* context) const;
    void operator()(ssl_st* session) const;
};
using RelayTlsContext = std::unique_ptr<ssl_ctx_st, RelayTlsFree>;

[[nodiscard]] base::Result<RelayTlsContext> relay_server_context();
[[nodiscard]] base::Result<RelayTlsContext> relay_client_context();

class RelayEnd {
  public:
    enum class Role : bool { Client, Server };
    // context: null for a plain connection; borrowed, outlives it.
    static base::Result<RelayEnd> make(base::Fd fd, ssl_ctx_st* context, Role role);

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] base::Io read(char* to, size_t size);
    [[nodiscard]] base::Io write(const char* from, size_t size);
    // Nothing more will be written.
    void finish();
    [[nodiscard]] bool finished() const { return finished_; }

  private:
    RelayEnd(base::Fd fd, std::unique_ptr<ssl_st, RelayTlsFree> session) : fd_(std::move(fd)), session_(std::move(session)) {}
    [[nodiscard]] base::Io outcome(int result);

    base::Fd fd_;
    std::unique_ptr<ssl_st, RelayTlsFree> session_;
    bool finished_ = false;
};

}  // namespace warren::bench
