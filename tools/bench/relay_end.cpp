// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/relay_end.h"

#include "tools/bench/load_protocol.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

constexpr long kCertificateSeconds = 7L * 86'400;

base::Error tls_error(const char* where) {
    ERR_clear_error();
    return {base::Errc::Internal, 0, where, "OpenSSL refused"};
}

base::Result<void> add_certificate(SSL_CTX* context) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
    X509* x = certificate.get();
    const bool made = key && x && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
                      X509_gmtime_adj(X509_getm_notAfter(x), kCertificateSeconds) && X509_set_pubkey(x, key.get()) == 1 &&
                      X509_sign(x, key.get(), EVP_sha256()) > 0 && SSL_CTX_use_certificate(context, x) == 1 &&
                      SSL_CTX_use_PrivateKey(context, key.get()) == 1;
    if (!made) return tls_error("certificate of the relay");
    return {};
}

// What OpenSSL has to make bulk cheap: one read from the socket fills many records. No tickets: nothing is resumed here.
base::Result<RelayTlsContext> context_of(const SSL_METHOD* method) {
    RelayTlsContext context(SSL_CTX_new(method));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1 || SSL_CTX_set_num_tickets(context.get(), 0) != 1)
        return tls_error("SSL_CTX_new");
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context.get(), 1);
    SSL_CTX_set_default_read_buffer_len(context.get(), kLoadChunkBytes);
    return context;
}

base::Io plain(ssize_t n) {
    if (n > 0) return {.n = static_cast<size_t>(n)};
    if (n == 0) return {.state = base::Io::State::Eof};
    if (errno == EAGAIN || errno == ENOTCONN) return {.state = base::Io::State::WouldBlock};
    return {.state = base::Io::State::Failed, .os = errno};
}

}  // namespace

void RelayTlsFree::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void RelayTlsFree::operator()(ssl_st* session) const { SSL_free(session); }

base::Result<RelayTlsContext> relay_server_context() {
    RelayTlsContext context = TRY(context_of(TLS_server_method()));
    TRY(add_certificate(context.get()));
    return context;
}

base::Result<RelayTlsContext> relay_client_context() { return context_of(TLS_client_method()); }

base::Result<RelayEnd> RelayEnd::make(base::Fd fd, ssl_ctx_st* context, Role role) {
    std::unique_ptr<ssl_st, RelayTlsFree> session;
    if (context) {
        session.reset(SSL_new(context));
        if (!session || SSL_set_fd(session.get(), fd.get()) != 1) return tls_error("SSL_new");
        if (role == Role::Server)
            SSL_set_accept_state(session.get());
        else
            SSL_set_connect_state(session.get());
    }
    return RelayEnd(std::move(fd), std::move(session));
}

base::Io RelayEnd::outcome(int result) {
    const int why = SSL_get_error(session_.get(), result);
    // Before the connection is there, the socket says ENOTCONN.
    const bool unconnected = why == SSL_ERROR_SYSCALL && errno == ENOTCONN;
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE || unconnected) return {.state = base::Io::State::WouldBlock};
    if (why == SSL_ERROR_ZERO_RETURN) return {.state = base::Io::State::Eof};
    return {.state = base::Io::State::Failed, .os = errno};
}

// As many records as are there and fit.
base::Io RelayEnd::read(char* to, size_t size) {
    if (!session_) return plain(::recv(fd_.get(), to, size, 0));
    size_t got = 0;
    while (got < size) {
        const int n = SSL_read(session_.get(), to + got, static_cast<int>(std::min<size_t>(size - got, INT_MAX)));
        if (n <= 0) return got > 0 ? base::Io{.n = got} : outcome(n);
        got += static_cast<size_t>(n);
    }
    return {.n = got};
}

base::Io RelayEnd::write(const char* from, size_t size) {
    if (!session_) return plain(::send(fd_.get(), from, size, MSG_NOSIGNAL));
    const int n = SSL_write(session_.get(), from, static_cast<int>(std::min<size_t>(size, INT_MAX)));
    return n > 0 ? base::Io{.n = static_cast<size_t>(n)} : outcome(n);
}

void RelayEnd::finish() {
    finished_ = true;
    if (session_) (void)SSL_shutdown(session_.get());
    ERR_clear_error();
    if (!session_) (void)::shutdown(fd_.get(), SHUT_WR);
}

}  // namespace warren::bench
