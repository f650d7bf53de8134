// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_openssl.h"

#include <algorithm>
#include <cerrno>

#include <openssl/err.h>

namespace warren::ztunnel {

namespace {
constexpr size_t kLeastFrame = 4096;
constexpr size_t kBatch = 15 * kMaxPlaintext;  // sealed at once: fits one chunk with its overhead
}  // namespace

void OpensslOutput::start(SSL* ssl, uint64_t rekey_after) {
    ssl_ = ssl;
    rekey_after_ = SSL_version(ssl) == TLS1_3_VERSION ? std::max<uint64_t>(rekey_after, 2) : UINT64_MAX;
}

void OpensslOutput::close() {
    if (ssl_ != nullptr && !closed_) closed_ = close_due_ = true;
}

bool OpensslOutput::reserve(size_t head, size_t max, Gaps& gaps) {
    gaps.count = 0;
    gaps.bytes = 0;
    if (ssl_ == nullptr || closed_) return false;
    if (!plain_) {
        plain_ = chunks_->take();
        if (!plain_) return false;
    }
    if (begin_ == end_) begin_ = end_ = 0;
    const size_t space = kChunkBytes - end_;
    if (head + std::min(max, kLeastFrame) > space) return false;
    gaps.bytes = std::min(max, space - head);
    if (gaps.bytes > 0) gaps.iov[static_cast<size_t>(gaps.count++)] = {plain_.data() + end_ + head, gaps.bytes};
    return true;
}

void OpensslOutput::commit(std::span<const uint8_t> head, size_t n) {
    std::copy(head.begin(), head.end(), plain_.data() + end_);
    end_ += head.size() + n;
}

bool OpensslOutput::append(std::span<const uint8_t> bytes) {
    Gaps gaps;
    if (bytes.empty()) return !closed_;
    if (!reserve(bytes.size(), 0, gaps)) return false;
    commit(bytes, 0);
    return true;
}

// Some plaintext through OpenSSL into the empty writer. False: OpenSSL failed.
bool OpensslOutput::seal() {
    ERR_clear_error();
    const size_t stop = std::min(end_, begin_ + kBatch);
    while (begin_ < stop) {
        // The key update goes out with the next write and is the last record of its key.
        if (++records_ >= rekey_after_) {
            if (SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) return false;
            records_ = 1;
        }
        const int n = SSL_write(ssl_, plain_.data() + begin_, static_cast<int>(std::min(stop - begin_, kMaxPlaintext)));
        if (n <= 0) {
            const bool retry = SSL_get_error(ssl_, n) == SSL_ERROR_WANT_WRITE;
            ERR_clear_error();
            return retry;
        }
        begin_ += static_cast<size_t>(n);
    }
    if (begin_ == end_) {
        begin_ = end_ = 0;
        plain_ = {};
        if (close_due_) {
            close_due_ = false;
            SSL_shutdown(ssl_);
            ERR_clear_error();
        }
    }
    return true;
}

base::Io OpensslOutput::flush(int fd) {
    base::Io total;
    for (;;) {
        base::Io io = sealed_->flush(fd);
        total.n += io.n;
        if (io.state != base::Io::State::Ready) return {total.n, io.state, io.os};
        if (ssl_ == nullptr || (begin_ == end_ && !close_due_)) return total;
        const size_t before = end_ - begin_;
        if (!seal()) return {total.n, base::Io::State::Failed, EIO};
        // The pool is exhausted: the plaintext stays, the caller comes back when chunks do.
        if (sealed_->pending() == 0 && end_ - begin_ == before) return {total.n, base::Io::State::WouldBlock, 0};
    }
}

base::Result<std::unique_ptr<TlsSession>> OpensslSession::create(std::shared_ptr<const OpensslContext> context, TlsRole role,
                                                                 std::span<const policy::Identity> expected, ChunkPool& chunks) {
    auto session = std::make_unique<OpensslSession>(chunks);
    session->tls_ = TRY(TlsHandshake::create(std::move(context), role, expected, session->writer_, false));
    return std::unique_ptr<TlsSession>(std::move(session));
}

base::Result<size_t> OpensslSession::handshake(std::span<uint8_t> in) {
    if (established_) return size_t{0};
    const size_t taken = TRY(tls_->feed(in));
    if (tls_->done()) {
        established_ = true;
        peer_ = tls_->take_peer();
        output_.start(tls_->ssl(), tls_->settings().rekey_records);
    }
    return taken;
}

base::Result<TlsOpened> OpensslSession::open(std::span<uint8_t> in) {
    if (!established_) return base::Error{base::Errc::Internal, 0, "TLS", "open before the handshake is done"};
    if (failed_) return base::Error{base::Errc::Protocol, 0, "TLS record", "the connection has failed before"};
    if (closed_) return TlsOpened{in.size(), {}, true};
    TlsOpened opened;
    if (in.size() < kRecordHeader) return opened;
    const size_t size = kRecordHeader + (static_cast<size_t>(in[3]) << 8 | in[4]);
    if (size <= kMaxRecord && in.size() < size) return opened;
    opened.consumed = std::min(size, in.size());  // of an oversize record OpenSSL needs no more than the header to refuse it
    ERR_clear_error();
    // OpenSSL copies the record, so its plaintext may go back to where the record was.
    tls_->set_input(in.first(opened.consumed));
    const int n = SSL_read(tls_->ssl(), in.data(), static_cast<int>(opened.consumed));
    const int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(tls_->ssl(), n);
    if (n > 0) opened.data = in.first(static_cast<size_t>(n));
    if (error == SSL_ERROR_ZERO_RETURN) closed_ = opened.closed = true;
    if (!opened.closed && (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ) && tls_->input_empty()) return opened;
    if (opened.closed) return opened;
    failed_ = true;
    output_.stop();
    return tls_->failure();
}

}  // namespace warren::ztunnel
