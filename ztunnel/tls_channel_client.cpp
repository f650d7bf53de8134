// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_channel_client.h"

#include "base/bytes.h"
#include "ztunnel/openssl_ptr.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>

namespace warren::ztunnel {

namespace {

namespace tls = grpc::experimental;

constexpr int kConnectTimeoutMs = 5'000;
constexpr int kLongestReconnectMs = 10'000;  // the store's back-off is the one that counts
constexpr int kPingMs = 30'000;
constexpr int kPingTimeoutMs = 10'000;

bool names(X509* certificate, const std::string& host) {
    if (host.empty()) return false;
    return X509_check_ip_asc(certificate, host.c_str(), 0) == 1 ||
           X509_check_host(certificate, host.data(), host.size(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

// The chain has been verified by then; this is the name.
class NameVerifier final : public tls::ExternalCertificateVerifier {
  public:
    NameVerifier(std::string host, std::string alternative) : host_(std::move(host)), alternative_(std::move(alternative)) {}

    bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>, grpc::Status* status) override {
        const grpc::string_ref pem = request->peer_cert();
        size_t damaged = 0;
        const auto blocks = read_pem({pem.data(), pem.size()}, damaged);
        auto certificate = blocks.empty() ? base::Result<X509Ptr>(base::invalid("no certificate")) : parse_certificate(blocks.front().der);
        const bool good = certificate && (names(certificate->get(), host_) || names(certificate->get(), alternative_));
        *status = good ? grpc::Status::OK
                       : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "the server's certificate names neither " + host_ +
                                                                             (alternative_.empty() ? "" : " nor " + alternative_));
        return true;
    }
    void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

  private:
    const std::string host_, alternative_;
};

bool is_port(std::string_view text) {
    const bool digits =
        !text.empty() && text.size() <= 5 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return false;
    const int value = std::stoi(std::string(text));
    return value >= 1 && value <= 65535;
}

bool is_host(std::string_view text) {
    return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
    });
}

}  // namespace

std::string Endpoint::authority() const { return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port; }

base::Result<Endpoint> parse_endpoint(std::string_view address) {
    std::string_view rest = address;
    if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
        if (rest.substr(0, scheme) != "https")
            return base::invalid("address " + base::quoted(address) + ": only https is supported; credentials do not travel in the clear");
        rest.remove_prefix(scheme + 3);
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    Endpoint endpoint{"", "443"};
    std::string_view port;
    if (rest.starts_with('[')) {
        const size_t close = rest.find(']');
        if (close == std::string_view::npos) return base::invalid("address " + base::quoted(address) + ": ']' is missing");
        endpoint.host = rest.substr(1, close - 1);
        port = rest.substr(close + 1);
    } else {
        const size_t colon = rest.find(':');
        endpoint.host = rest.substr(0, colon);
        port = colon == std::string_view::npos ? std::string_view() : rest.substr(colon);
    }
    if (!port.empty()) endpoint.port = port.substr(1);
    if (!is_host(endpoint.host) || (!port.empty() && port.front() != ':') || !is_port(endpoint.port))
        return base::invalid("address " + base::quoted(address) + " is not https://HOST:PORT");
    return endpoint;
}

base::Result<std::shared_ptr<grpc::Channel>> make_tls_channel(const Endpoint& endpoint, const std::string& roots,
                                                              const std::string& alternative_host) {
    tls::TlsChannelCredentialsOptions options;
    options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(roots));
    options.watch_root_certs();
    options.set_verify_server_certs(true);
    options.set_check_call_host(false);  // the verifier knows the host and its alternative
    options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<NameVerifier>(endpoint.host, alternative_host));
    const auto credentials = tls::TlsCredentials(options);
    if (!credentials) return base::invalid("gRPC refuses the TLS settings for " + endpoint.authority());

    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 1'000);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);  // which is also how long an attempt may take
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a proxy variable of the node must not divert tokens
    arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a rebuilt channel must not meet connections of the old roots
    auto channel = grpc::CreateCustomChannel("dns:///" + endpoint.authority(), credentials, arguments);
    if (!channel) return base::invalid("gRPC refuses a channel to " + endpoint.authority());
    return channel;
}

}  // namespace warren::ztunnel
