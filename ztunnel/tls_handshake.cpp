// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_handshake.h"

#include "base/bytes.h"
#include "ztunnel/tls_verify.h"

#include <algorithm>
#include <cstring>

#include <openssl/err.h>

namespace warren::ztunnel {

namespace {

int pipe_read(BIO* bio, char* to, int n) {
    auto& in = static_cast<TlsHandshake::Pipe*>(BIO_get_data(bio))->in;
    BIO_clear_retry_flags(bio);
    if (in.empty()) {
        BIO_set_retry_read(bio);
        return -1;
    }
    const size_t taken = std::min(static_cast<size_t>(n), in.size());
    std::memcpy(to, in.data(), taken);
    in = in.subspan(taken);
    return static_cast<int>(taken);
}

int pipe_write(BIO* bio, const char* from, int n) {
    auto& pipe = *static_cast<TlsHandshake::Pipe*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (pipe.out->append_raw({reinterpret_cast<const uint8_t*>(from), static_cast<size_t>(n)})) return n;
    pipe.full = true;
    BIO_set_retry_write(bio);
    return -1;
}

long pipe_ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* pipe_method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "warren pipe");
        if (m == nullptr) return m;
        BIO_meth_set_read(m, pipe_read);
        BIO_meth_set_write(m, pipe_write);
        BIO_meth_set_ctrl(m, pipe_ctrl);
        return m;
    }();
    return method;
}

BioPtr make_pipe_bio(TlsHandshake::Pipe& pipe) {
    BioPtr bio(BIO_new(pipe_method()));
    if (bio) {
        BIO_set_data(bio.get(), &pipe);
        BIO_set_init(bio.get(), 1);
    }
    return bio;
}

TlsHandshake* owner_of(const SSL* ssl) { return static_cast<TlsHandshake*>(SSL_get_app_data(ssl)); }

int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The size of the record at the front, 0 when it is not all there.
base::Result<size_t> record_size(std::span<const uint8_t> in) {
    if (in.empty()) return size_t{0};
    // change_cipher_spec, alert, handshake, application_data; major version 3.
    if (in[0] < 20 || in[0] > 23 || (in.size() > 1 && in[1] != 3))
        return base::Error{
            base::Errc::Protocol, 0, "TLS handshake",
            "the peer does not speak TLS, it begins with " + base::quoted(base::as_text(in.first(std::min<size_t>(in.size(), 16))))};
    if (in.size() < kRecordHeader) return size_t{0};
    const size_t size = kRecordHeader + (static_cast<size_t>(in[3]) << 8 | in[4]);
    if (size > kMaxRecord)
        return base::Error{base::Errc::Protocol, 0, "TLS handshake", "a record of " + std::to_string(size) + " bytes is too long"};
    return in.size() < size ? size_t{0} : size;
}

std::string protocols_of(std::string_view offered) {
    std::string text;
    while (!offered.empty()) {
        const size_t n = static_cast<uint8_t>(offered[0]);
        text += (text.empty() ? "" : ", ") + base::quoted(offered.substr(1, n));
        offered.remove_prefix(std::min(offered.size(), n + 1));
        if (text.size() > 200) return text + ", ...";
    }
    return text;
}

}  // namespace

TlsHandshake::TlsHandshake(std::shared_ptr<const OpensslContext> context, TlsRole role, std::span<const policy::Identity> expected,
                           RecordWriter& out, bool want_secrets)
    : pipe_{{}, &out, false},
      context_(std::move(context)),
      expected_(expected.begin(), expected.end()),
      role_(role),
      want_secrets_(want_secrets) {}

TlsHandshake::~TlsHandshake() {
    base::wipe(client_.bytes);
    base::wipe(server_.bytes);
}

base::Result<std::unique_ptr<TlsHandshake>> TlsHandshake::create(std::shared_ptr<const OpensslContext> context, TlsRole role,
                                                                 std::span<const policy::Identity> expected, RecordWriter& out,
                                                                 bool want_secrets) {
    std::unique_ptr<TlsHandshake> made(new TlsHandshake(std::move(context), role, expected, out, want_secrets));
    ERR_clear_error();
    made->ssl_.reset(SSL_new(made->context_->ssl_ctx(role)));
    BioPtr bio = make_pipe_bio(made->pipe_);
    if (!made->ssl_ || !bio) return openssl_error("TLS handshake");
    SSL* ssl = made->ssl_.get();
    SSL_set_bio(ssl, bio.get(), bio.get());
    (void)bio.release();  // its one reference, taken for both directions
    SSL_set_app_data(ssl, made.get());
    if (role == TlsRole::Client) {
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    return made;
}

void TlsHandshake::set_callbacks(SSL_CTX* ctx) {
    SSL_CTX_set_keylog_callback(ctx, [](const SSL* ssl, const char* line) { owner_of(ssl)->on_key_log(line); });
    SSL_CTX_set_info_callback(ctx, [](const SSL* ssl, int where, int ret) {
        if (where == SSL_CB_READ_ALERT && (ret & 0xff) != SSL_AD_CLOSE_NOTIFY) owner_of(ssl)->peer_alert_ = SSL_alert_desc_string_long(ret);
    });
    SSL_CTX_set_cert_verify_callback(
        ctx,
        [](X509_STORE_CTX* store, void*) {
            auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
            auto verdict = owner_of(ssl)->on_verify(store);
            if (verdict) return 1;
            owner_of(ssl)->reason_ = std::move(verdict.error().detail);
            owner_of(ssl)->reason_os_ = verdict.error().os;
            // Whatever went wrong must not look like success to OpenSSL; this code becomes the alert bad_certificate.
            if (X509_STORE_CTX_get_error(store) == X509_V_OK) X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
            return 0;
        },
        nullptr);
    SSL_CTX_set_alpn_select_cb(
        ctx,
        [](SSL* ssl, const unsigned char** out, unsigned char* n, const unsigned char* in, unsigned int size, void*) {
            return owner_of(ssl)->on_alpn({reinterpret_cast<const char*>(in), size}, out, n);
        },
        nullptr);
}

base::Result<void> TlsHandshake::on_verify(X509_STORE_CTX* ctx) {
    VerifiedChains& known = context_->verified(role_);
    if (!known.recall(ctx)) {
        TRY(verify_chain(ctx));
        known.remember(ctx);
    }
    TRY(refuse_revoked(ctx, context_->revoked()));
    X509* leaf = X509_STORE_CTX_get0_cert(ctx);
    if (role_ == TlsRole::Client) return check_server_names(leaf, expected_);
    return check_client_names(leaf, context_->credential().identity(), context_->settings().trust_domains);
}

int TlsHandshake::on_alpn(std::string_view offered, const unsigned char** out, unsigned char* out_size) {
    for (std::string_view rest = offered; !rest.empty();
         rest.remove_prefix(std::min(rest.size(), size_t{1} + static_cast<uint8_t>(rest[0])))) {
        if (rest.substr(0, 3) != std::string_view("\x02h2")) continue;
        *out = reinterpret_cast<const unsigned char*>(rest.data() + 1);
        *out_size = 2;
        return SSL_TLSEXT_ERR_OK;
    }
    reason_ = "the client offers the protocols " + protocols_of(offered) + ", only 'h2' is spoken here";
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// "SERVER_TRAFFIC_SECRET_0 <client random> <secret>", both in hex.
void TlsHandshake::on_key_log(std::string_view line) {
    if (!want_secrets_) return;
    Secret* secret = nullptr;
    if (line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) secret = &client_;
    if (line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) secret = &server_;
    if (secret == nullptr) return;
    const std::string_view hex = line.substr(line.rfind(' ') + 1);
    if (hex.size() % 2 != 0 || hex.size() / 2 > secret->bytes.size()) return;
    for (size_t i = 0; i < hex.size() / 2; ++i) {
        const int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
        if (high < 0 || low < 0) return;
        secret->bytes[i] = static_cast<uint8_t>(high << 4 | low);
    }
    secret->size = hex.size() / 2;
}

std::span<const uint8_t> TlsHandshake::secret(TlsRole of) const {
    const Secret& secret = of == TlsRole::Client ? client_ : server_;
    return std::span<const uint8_t>(secret.bytes).first(secret.size);
}

base::Error TlsHandshake::failure() {
    failed_ = true;
    const char* const where = done_ ? "TLS" : "TLS handshake";
    const std::string library = openssl_reason();
    if (!reason_.empty()) return {base::Errc::Denied, reason_os_, where, reason_};
    if (pipe_.full) return {base::Errc::Exhausted, 0, where, "no buffer is left for the answer"};
    if (!peer_alert_.empty()) return {base::Errc::Protocol, 0, where, "the peer refused: " + peer_alert_};
    return {base::Errc::Protocol, 0, where, library};
}

base::Result<size_t> TlsHandshake::feed(std::span<uint8_t> in) {
    size_t taken = 0;
    if (failed_) return base::Error{base::Errc::Protocol, 0, "TLS handshake", "it has failed before"};
    if (role_ == TlsRole::Client && !std::exchange(started_, true)) TRY(step());
    while (!done_) {
        auto size = record_size(in.subspan(taken));
        if (!size) {
            failed_ = true;
            return std::move(size).error();
        }
        if (*size == 0) break;
        taken_ += *size;
        if (taken_ > kMaxHandshakeInput) {
            failed_ = true;
            return base::Error{base::Errc::Exhausted, 0, "TLS handshake",
                               "the peer sent more than " + std::to_string(kMaxHandshakeInput) + " bytes"};
        }
        pipe_.in = in.subspan(taken, *size);
        TRY(step());
        taken += *size;
    }
    return taken;
}

base::Result<void> TlsHandshake::step() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return complete();
    if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) return failure();
    if (!pipe_.in.empty()) {
        failed_ = true;
        return base::Error{base::Errc::Internal, 0, "TLS handshake", "OpenSSL left a part of a record"};
    }
    return {};
}

base::Result<void> TlsHandshake::complete() {
    SSL* ssl = ssl_.get();
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &size);
    // A server that knows no ALPN answers nothing; one that picks what was not offered is broken.
    if (size != 0 && std::string_view(reinterpret_cast<const char*>(protocol), size) != "h2") {
        reason_ = "the server chose a protocol other than 'h2'";
        return failure();
    }
    const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
    const auto suite = suite_of(SSL_CIPHER_get_protocol_id(cipher));
    if (want_secrets_ && (!suite || client_.size != hash_bytes(suite->hash) || server_.size != client_.size || SSL_has_pending(ssl) != 0 ||
                          !pipe_.in.empty())) {
        reason_ = "OpenSSL did not hand over the traffic secrets";
        return failure();
    }
    if (suite) suite_ = *suite;
    const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
    if (chain == nullptr || sk_X509_num(chain) == 0) {
        reason_ = "the peer's certificate was not verified";
        return failure();
    }
    // Without the anchor, which a re-check takes from the context of that time.
    for (int i = 0; i < std::max(1, sk_X509_num(chain) - 1); ++i) peer_.chain_der.push_back(to_der(sk_X509_value(chain, i)));
    peer_.identity = first_identity(sk_X509_value(chain, 0));
    peer_.cipher = SSL_CIPHER_get_name(cipher);
    const char* group = SSL_group_to_name(ssl, static_cast<int>(SSL_get_negotiated_group(ssl)));
    peer_.group = group == nullptr ? "" : group;
    if (peer_.group == "x25519") peer_.group = "X25519";
    done_ = true;
    return {};
}

}  // namespace warren::ztunnel
