// SPDX-License-Identifier: Apache-2.0
// TlsHandshake: OpenSSL shaking hands over bytes instead of a socket. It is fed one record at a time, so nothing that belongs to the
// established connection is swallowed, and writes into the session's RecordWriter. Traffic secrets come from the key log callback and
// are never logged (RFC 8446 7.1; the callback's lines are those of NSS's key log). Belongs to one worker thread; private to the TLS files.
#pragma once

#include "ztunnel/certificate_text.h"
#include "ztunnel/key_schedule.h"
#include "ztunnel/tls_context_openssl.h"
#include "ztunnel/tls_records.h"

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace warren::ztunnel {

// All a peer may send before it is known, in bytes. A chain of eight certificates is a tenth of it.
inline constexpr size_t kMaxHandshakeInput = 64 * 1024;

class TlsHandshake {
  public:
    static base::Result<std::unique_ptr<TlsHandshake>> create(std::shared_ptr<const OpensslContext> context, TlsRole role,
                                                              std::span<const policy::Identity> expected, RecordWriter& out,
                                                              bool want_secrets);
    TlsHandshake(const TlsHandshake&) = delete;
    TlsHandshake& operator=(const TlsHandshake&) = delete;
    ~TlsHandshake();
    static void set_callbacks(SSL_CTX* ctx);

    // Takes whole records until done; an error is final.
    base::Result<size_t> feed(std::span<uint8_t> in);
    [[nodiscard]] bool done() const { return done_; }

    // Once done.
    [[nodiscard]] TlsPeer take_peer() { return std::move(peer_); }
    [[nodiscard]] TlsSuite suite() const { return suite_; }
    [[nodiscard]] std::span<const uint8_t> secret(TlsRole of) const;
    [[nodiscard]] const TlsSettings& settings() const { return context_->settings(); }
    [[nodiscard]] SSL* ssl() { return ssl_.get(); }
    // What SSL reads next, borrowed until it was read.
    void set_input(std::span<const uint8_t> in) { pipe_.in = in; }
    [[nodiscard]] bool input_empty() const { return pipe_.in.empty(); }
    [[nodiscard]] base::Error failure();

    // Where OpenSSL's reads and writes go.
    struct Pipe {
        std::span<const uint8_t> in;
        RecordWriter* out;
        bool full = false;
    };

  private:
    TlsHandshake(std::shared_ptr<const OpensslContext> context, TlsRole role, std::span<const policy::Identity> expected, RecordWriter& out,
                 bool want_secrets);
    base::Result<void> step();
    base::Result<void> complete();
    void on_key_log(std::string_view line);
    base::Result<void> on_verify(X509_STORE_CTX* ctx);
    int on_alpn(std::string_view offered, const unsigned char** out, unsigned char* out_size);

    struct Secret {
        std::array<uint8_t, 48> bytes{};
        size_t size = 0;
    };
    Pipe pipe_;
    std::shared_ptr<const OpensslContext> context_;
    std::vector<policy::Identity> expected_;
    Secret client_, server_;
    SslPtr ssl_;
    std::string reason_;      // of the refusal, when it is ours
    int reason_os_ = 0;       // EKEYREVOKED where a revocation list refused
    std::string peer_alert_;  // of the peer's
    TlsPeer peer_;
    size_t taken_ = 0;
    TlsSuite suite_;
    TlsRole role_;
    bool want_secrets_;
    bool started_ = false, done_ = false, failed_ = false;
};

}  // namespace warren::ztunnel
