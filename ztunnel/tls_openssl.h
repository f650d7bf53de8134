// SPDX-License-Identifier: Apache-2.0
// A session whose records OpenSSL seals and opens as well: TlsRecords::OpenSsl, and every session where TLS 1.2 is allowed. Slower (two
// more copies a byte), and a check on ours. Belongs to one worker thread; private to the TLS files.
#pragma once

#include "ztunnel/tls_handshake.h"

#include <memory>

namespace warren::ztunnel {

// Plaintext waits in one chunk; sealed bytes in the writer below it.
class OpensslOutput final : public SealedOutput {
  public:
    OpensslOutput(ChunkPool& chunks, RecordWriter& sealed) : chunks_(&chunks), sealed_(&sealed) {}
    // Plaintext may be written from now on.
    void start(SSL* ssl, uint64_t rekey_after);
    void close();
    // No plaintext any more: what is sealed still leaves.
    void stop() { ssl_ = nullptr; }

    bool reserve(size_t head, size_t max, Gaps& gaps) override;
    void commit(std::span<const uint8_t> head, size_t n) override;
    bool append(std::span<const uint8_t> bytes) override;
    base::Io flush(int fd) override;
    [[nodiscard]] size_t pending() const override { return end_ - begin_ + sealed_->pending(); }

  private:
    bool seal();
    ChunkPool* chunks_;
    RecordWriter* sealed_;
    SSL* ssl_ = nullptr;
    Chunk plain_;
    size_t begin_ = 0, end_ = 0;
    uint64_t rekey_after_ = 0;
    uint64_t records_ = 0;  // under the present key
    bool close_due_ = false, closed_ = false;
};

class OpensslSession final : public TlsSession {
  public:
    static base::Result<std::unique_ptr<TlsSession>> create(std::shared_ptr<const OpensslContext> context, TlsRole role,
                                                            std::span<const policy::Identity> expected, ChunkPool& chunks);
    explicit OpensslSession(ChunkPool& chunks) : writer_(chunks), output_(chunks, writer_) {}

    base::Result<size_t> handshake(std::span<uint8_t> in) override;
    [[nodiscard]] bool established() const override { return established_; }
    [[nodiscard]] const TlsPeer& peer() const override { return peer_; }
    base::Result<TlsOpened> open(std::span<uint8_t> in) override;
    void close() override { output_.close(); }
    SealedOutput& output() override { return output_; }

  private:
    RecordWriter writer_;
    OpensslOutput output_;
    std::unique_ptr<TlsHandshake> tls_;  // kept: it holds the SSL
    TlsPeer peer_;
    bool established_ = false, closed_ = false, failed_ = false;
};

}  // namespace warren::ztunnel
