// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/channel.h"

#include "base/bytes.h"
#include "base/ip.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

namespace warren::xds {

namespace {

namespace tls = grpc::experimental;

// gRPC's last word on a failed attempt; the owner of the channel gives up on it long before.
constexpr int kLongestReconnectMs = 10'000;

// The chain has been verified by then; this is the name.
class NameVerifier final : public tls::ExternalCertificateVerifier {
  public:
    NameVerifier(std::string host, std::string alternative) : host_(std::move(host)), alternative_(std::move(alternative)) {}

    bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>, grpc::Status* status) override {
        const bool good = names(*request, host_) || names(*request, alternative_);
        *status = good ? grpc::Status::OK
                       : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "the server's certificate does not name " + host_ +
                                                                             (alternative_.empty() ? "" : " or " + alternative_));
        return true;
    }
    void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

  private:
    static bool names(const tls::TlsCustomVerificationCheckRequest& certificate, const std::string& host) {
        if (host.empty()) return false;
        if (const auto ip = base::IpAddr::parse(host)) {
            const auto ips = certificate.ip_names();
            return std::any_of(ips.begin(), ips.end(), [&](grpc::string_ref text) {
                const auto named = base::IpAddr::parse({text.data(), text.size()});
                return named && *named == *ip;
            });
        }
        const auto dns = certificate.dns_names();
        return std::any_of(dns.begin(), dns.end(), [&](grpc::string_ref name) { return host_matches({name.data(), name.size()}, host); });
    }

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

bool same_text(std::string_view a, std::string_view b) {
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(), [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

base::Result<std::shared_ptr<grpc::ChannelCredentials>> tls_credentials(const Endpoint& endpoint, const std::string& roots,
                                                                        const ChannelOptions& channel) {
    tls::TlsChannelCredentialsOptions options;
    const std::string& alternative_host = channel.alternative_host;
    std::vector<tls::IdentityKeyCertPair> own;
    if (!channel.certificate.none()) own.push_back({channel.certificate.key_pem, channel.certificate.chain_pem});
    options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(roots, own));
    options.watch_root_certs();
    if (!own.empty()) options.watch_identity_key_cert_pairs();
    options.set_verify_server_certs(true);
    options.set_check_call_host(false);  // the verifier knows the host and its alternative
    options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<NameVerifier>(endpoint.host, alternative_host));
    auto credentials = tls::TlsCredentials(options);
    if (!credentials) return base::invalid("gRPC refuses the TLS settings for " + endpoint.authority());
    return credentials;
}

grpc::ChannelArguments arguments_of(const ChannelOptions& options) {
    grpc::ChannelArguments arguments;
    const auto ms = [](std::chrono::milliseconds value) { return static_cast<int>(value.count()); };
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 1'000);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, ms(options.connect_timeout));  // which is also how long an attempt may take
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ms(options.ping_interval));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ms(options.ping_timeout));
    // gRPC's own limit is two pings without data in between, and a client's half of a stream is silent for hours.
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options.max_message_bytes);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a proxy variable of the node must not divert tokens
    arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a new channel must not meet connections of the old roots
    // Nothing compressed is accepted: the limit on a message would count the small form of it.
    arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
    return arguments;
}

}  // namespace

std::string Endpoint::authority() const {
    if (!socket.empty()) return "unix:" + socket;
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

base::Result<Endpoint> parse_endpoint(std::string_view address) {
    std::string_view rest = address;
    if (rest.starts_with("unix:")) {
        rest.remove_prefix(rest.starts_with("unix://") ? 7 : 5);
        if (!rest.starts_with('/') || rest.size() > 107 || rest.find('\0') != std::string_view::npos)
            return base::invalid("address " + base::quoted(address) + " is not unix:/PATH of at most 107 bytes");
        return Endpoint{"", "", std::string(rest)};
    }
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

base::Result<std::shared_ptr<grpc::Channel>> make_channel(const Endpoint& endpoint, const std::string& roots,
                                                          const ChannelOptions& options) {
    const bool local = !endpoint.socket.empty();
    const auto credentials = local ? grpc::InsecureChannelCredentials() : TRY(tls_credentials(endpoint, roots, options));
    const std::string target = local ? endpoint.authority() : "dns:///" + endpoint.authority();
    auto channel = grpc::CreateCustomChannel(target, credentials, arguments_of(options));
    if (!channel) return base::invalid("gRPC refuses a channel to " + endpoint.authority());
    return channel;
}

void restrict_grpc_to_tls13() {
    // A suite with a pre-shared key, which neither side has: TLS 1.2 finds nothing to agree on. TLS 1.3 has suites of its own.
    ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
}

base::Result<void> check_header(const std::string& name, const std::string& value) {
    const grpc_slice key = grpc_slice_from_copied_buffer(name.data(), name.size());
    const grpc_slice text = grpc_slice_from_copied_buffer(value.data(), value.size());
    const bool legal = !name.empty() && !name.starts_with("grpc-") && !name.starts_with(":") && !name.ends_with("-bin") &&
                       grpc_header_key_is_legal(key) != 0 && grpc_header_nonbin_value_is_legal(text) != 0;
    grpc_slice_unref(key);
    grpc_slice_unref(text);
    if (legal) return {};
    return base::invalid("header " + base::quoted(name) +
                         ": name or value is not legal in a header (lower-case letters, digits, '-', '_', '.'; printable ASCII)");
}

bool host_matches(std::string_view pattern, std::string_view host) {
    if (pattern.ends_with('.')) pattern.remove_suffix(1);
    if (host.ends_with('.')) host.remove_suffix(1);
    if (pattern.empty() || host.empty()) return false;
    if (!pattern.starts_with("*.")) return same_text(pattern, host);
    const size_t dot = host.find('.');
    // "*.com" names half the world: at least two labels stand after the star.
    const std::string_view rest = pattern.substr(1);
    return dot != std::string_view::npos && dot > 0 && rest.find('.', 1) != std::string_view::npos && same_text(rest, host.substr(dot));
}

}  // namespace warren::xds
