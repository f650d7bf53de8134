// SPDX-License-Identifier: Apache-2.0
// Two ends of a TLS connection over a socket pair, driven by hand: Warren's sessions, and plain OpenSSL as the independent other side.
#pragma once

#include "base/fd.h"
#include "tests/ztunnel/test_ca.h"
#include "ztunnel/certificate_text.h"
#include "ztunnel/tls_session.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <openssl/pem.h>
#include <sys/socket.h>

namespace warren::tests {

inline constexpr const char* kAlice = "spiffe://cluster.local/ns/prod/sa/alice";
inline constexpr const char* kBob = "spiffe://cluster.local/ns/prod/sa/bob";

inline policy::Identity identity(const std::string& uri) { return policy::Identity::parse(uri).value(); }

// A Warren session on one end.
struct End {
    std::unique_ptr<ztunnel::TlsSession> tls;
    int fd = -1;
    size_t read_size = 65536;
    std::vector<uint8_t> in;
    std::string got;
    std::string to_send;
    std::optional<base::Error> error;
    bool closed = false, eof = false;

    // True when something moved.
    bool step() {
        bool moved = false;
        if (!error && !tls->established()) moved = handshake();
        if (!error && tls->established()) moved = send() || moved;
        const base::Io io = tls->output().flush(fd);
        if (io.n > 0) moved = true;
        return receive() || moved;
    }

  private:
    void take(size_t n) { in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n)); }
    bool handshake() {
        auto taken = tls->handshake(in);
        if (!taken) {
            error = taken.error();
            return true;
        }
        take(*taken);
        return *taken > 0;
    }
    bool send() {
        ztunnel::Gaps gaps;
        bool moved = false;
        while (!to_send.empty() && tls->output().reserve(0, to_send.size(), gaps)) {
            size_t n = 0;
            for (int i = 0; i < gaps.count; ++i) {
                const iovec& gap = gaps.iov[static_cast<size_t>(i)];
                std::copy_n(to_send.begin() + static_cast<std::ptrdiff_t>(n), gap.iov_len, static_cast<char*>(gap.iov_base));
                n += gap.iov_len;
            }
            tls->output().commit({}, n);
            to_send.erase(0, n);
            moved = true;
        }
        return moved;
    }
    bool receive() {
        std::vector<uint8_t> more(read_size);
        const ssize_t n = ::recv(fd, more.data(), more.size(), MSG_DONTWAIT);
        if (n == 0) eof = true;
        if (n > 0) in.insert(in.end(), more.begin(), more.begin() + n);
        bool moved = n > 0;
        while (!error && tls->established() && !in.empty()) {
            auto opened = tls->open(in);
            if (!opened) {
                error = opened.error();
                (void)tls->output().flush(fd);
                return true;
            }
            if (opened->consumed == 0) break;
            got.append(opened->data.begin(), opened->data.end());
            closed = closed || opened->closed;
            take(opened->consumed);
            moved = true;
        }
        return moved;
    }
};

// Plain OpenSSL on one end, non-blocking.
struct SslEnd {
    ztunnel::SslCtxPtr ctx;
    ztunnel::SslPtr ssl;
    std::string got, to_send;
    bool done = false, closed = false, failed = false;

    SslEnd(bool server, int fd, const TestCa& ca, const std::string& uri, const char* suites = "TLS_AES_128_GCM_SHA256",
           int version = TLS1_3_VERSION)
        : ctx(SSL_CTX_new(TLS_method())) {
        SSL_CTX_set_ciphersuites(ctx.get(), suites);
        SSL_CTX_set_min_proto_version(ctx.get(), version);
        SSL_CTX_set_max_proto_version(ctx.get(), version);
        SSL_CTX_set_mode(ctx.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (!uri.empty()) {
            const Leaf leaf = ca.leaf(uri);
            const ztunnel::BioPtr cert(BIO_new_mem_buf(leaf.cert_pem.data(), -1)), key(BIO_new_mem_buf(leaf.key_pem.data(), -1));
            const ztunnel::X509Ptr x(PEM_read_bio_X509(cert.get(), nullptr, nullptr, nullptr));
            const ztunnel::KeyPtr k(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
            SSL_CTX_use_certificate(ctx.get(), x.get());
            SSL_CTX_use_PrivateKey(ctx.get(), k.get());
        }
        if (server) SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
        ssl.reset(SSL_new(ctx.get()));
        SSL_set_fd(ssl.get(), fd);
        if (server) {
            SSL_set_accept_state(ssl.get());
        } else {
            SSL_set_connect_state(ssl.get());
        }
    }
    bool step() {
        if (failed) return false;
        bool moved = false;
        if (!done) {
            const int r = SSL_do_handshake(ssl.get());
            if (r == 1) moved = done = true;
            if (r != 1) check(r);
        }
        while (done && !to_send.empty()) {
            const int n = SSL_write(ssl.get(), to_send.data(), static_cast<int>(to_send.size()));
            if (n <= 0) {
                check(n);
                break;
            }
            to_send.erase(0, static_cast<size_t>(n));
            moved = true;
        }
        std::vector<char> buffer(20000);
        for (int n = 1; done && n > 0;) {
            n = SSL_read(ssl.get(), buffer.data(), static_cast<int>(buffer.size()));
            if (n > 0) {
                got.append(buffer.data(), static_cast<size_t>(n));
                moved = true;
            } else {
                check(n);
            }
        }
        return moved;
    }

  private:
    void check(int result) {
        const int e = SSL_get_error(ssl.get(), result);
        if (e == SSL_ERROR_ZERO_RETURN) closed = true;
        if (e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL) failed = true;
        (void)ztunnel::openssl_reason();
    }
};

// Until neither side moves any more.
template <class A, class B>
void settle(A& a, B& b) {
    for (int quiet = 0; quiet < 3;) {
        const bool moved_a = a.step(), moved_b = b.step();
        quiet = moved_a || moved_b ? 0 : quiet + 1;
    }
}

inline std::string pattern(size_t n) {
    std::string text(n, '\0');
    uint32_t x = 12345;
    for (char& c : text) {
        x = x * 1664525 + 1013904223;
        c = static_cast<char>(x >> 24);
    }
    return text;
}

// Both ends of Warren with the usual certificates: the client is alice, the server bob.
struct Pair {
    ztunnel::ChunkPool chunks{4, 64};
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    End client, server;

    Pair(std::shared_ptr<const ztunnel::TlsContext> client_ctx, std::shared_ptr<const ztunnel::TlsContext> server_ctx,
         std::vector<policy::Identity> expected, ztunnel::TlsRecords client_records = ztunnel::TlsRecords::Warren,
         ztunnel::TlsRecords server_records = ztunnel::TlsRecords::Warren) {
        client.tls = ztunnel::TlsSession::create(std::move(client_ctx), ztunnel::TlsRole::Client, expected, chunks, client_records).value();
        server.tls = ztunnel::TlsSession::create(std::move(server_ctx), ztunnel::TlsRole::Server, {}, chunks, server_records).value();
        client.fd = fds.first.get();
        server.fd = fds.second.get();
    }
    ~Pair() {  // sessions go before the pool
        client.tls.reset();
        server.tls.reset();
    }
};

}  // namespace warren::tests
