// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_session.h"

#include "ztunnel/tls_handshake.h"
#include "ztunnel/tls_openssl.h"
#include "ztunnel/tls_records.h"

#include <algorithm>

namespace warren::ztunnel {

namespace {

// Ours: OpenSSL goes when the handshake is done.
class WarrenSession final : public TlsSession {
  public:
    WarrenSession(ChunkPool& chunks, TlsRole role) : writer_(chunks), role_(role) {}
    base::Result<void> begin(std::shared_ptr<const OpensslContext> context, std::span<const policy::Identity> expected) {
        handshake_ = TRY(TlsHandshake::create(std::move(context), role_, expected, writer_, true));
        return {};
    }

    base::Result<size_t> handshake(std::span<uint8_t> in) override {
        if (established_) return size_t{0};
        const size_t taken = TRY(handshake_->feed(in));
        if (handshake_->done()) TRY(take_over());
        return taken;
    }

    [[nodiscard]] bool established() const override { return established_; }
    [[nodiscard]] const TlsPeer& peer() const override { return peer_; }

    base::Result<TlsOpened> open(std::span<uint8_t> in) override {
        if (!established_) return base::Error{base::Errc::Internal, 0, "TLS", "open before the handshake is done"};
        return reader_.open(in, writer_);
    }

    void close() override { writer_.finish(TlsAlert::CloseNotify); }
    SealedOutput& output() override { return writer_; }

  private:
    base::Result<void> take_over() {
        const TlsSuite suite = handshake_->suite();
        const TlsRole peer_role = role_ == TlsRole::Client ? TlsRole::Server : TlsRole::Client;
        const uint64_t limit = handshake_->settings().rekey_records;
        if (!writer_.start(suite, handshake_->secret(role_), limit) || !reader_.start(role_, suite, handshake_->secret(peer_role), limit))
            return base::Error{base::Errc::Internal, 0, "TLS handshake", "the record keys could not be made"};
        peer_ = handshake_->take_peer();
        peer_.chain_der.shrink_to_fit();
        handshake_.reset();
        established_ = true;
        return {};
    }

    RecordWriter writer_;
    RecordReader reader_;
    std::unique_ptr<TlsHandshake> handshake_;
    TlsPeer peer_;
    TlsRole role_;
    bool established_ = false;
};

}  // namespace

base::Result<std::unique_ptr<TlsSession>> TlsSession::create(std::shared_ptr<const TlsContext> context, TlsRole role,
                                                             std::span<const policy::Identity> expected, ChunkPool& chunks,
                                                             TlsRecords records) {
    if (!context) return base::Error{base::Errc::Internal, 0, "TLS", "there is no context"};
    auto own = std::static_pointer_cast<const OpensslContext>(std::move(context));
    // OpenSSL does not hand out the keys of TLS 1.2, and what the peer will choose is not known yet.
    if (records == TlsRecords::OpenSsl || own->settings().tls12) return OpensslSession::create(std::move(own), role, expected, chunks);
    auto session = std::make_unique<WarrenSession>(chunks, role);
    TRY(session->begin(std::move(own), expected));
    return std::unique_ptr<TlsSession>(std::move(session));
}

}  // namespace warren::ztunnel
