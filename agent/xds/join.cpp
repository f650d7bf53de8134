// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/join.h"

#include "base/bytes.h"
#include "base/log.h"
#include "proto/ca.grpc.pb.h"

#include <grpcpp/client_context.h>

#include <utility>

namespace warren::xds {

namespace {

namespace auth = istio::v1::auth;

const base::log::Area kLog("join");

constexpr int kMaxElements = 32;
constexpr size_t kMaxStatusText = 512;

base::Error refusal(const grpc::Status& status, const Endpoint& endpoint) {
    base::Errc code = base::Errc::Unavailable;
    switch (status.error_code()) {
        case grpc::StatusCode::UNAUTHENTICATED:
        case grpc::StatusCode::PERMISSION_DENIED: code = base::Errc::Denied; break;
        case grpc::StatusCode::INVALID_ARGUMENT: code = base::Errc::Invalid; break;
        case grpc::StatusCode::RESOURCE_EXHAUSTED: code = base::Errc::Exhausted; break;
        case grpc::StatusCode::DEADLINE_EXCEEDED: code = base::Errc::Timeout; break;
        default: break;
    }
    const std::string text = base::log::quoted(std::string_view(status.error_message()).substr(0, kMaxStatusText));
    return {code, 0, "certificate service", endpoint.authority() + " " + text};
}

base::Result<std::string> roots_for(const JoinOptions& options, const NodeCredential* current) {
    if (current != nullptr && !current->roots_pem.empty()) {
        // Those configured may be of the day the node joined, those received are newer: either vouches.
        const auto configured = options.roots.none() ? base::Result<std::string>(std::string()) : options.roots.load();
        return current->roots_pem + (configured ? *configured : "");
    }
    return options.roots.load();
}

base::Result<void> add_token(grpc::ClientContext& context, const JoinOptions& options) {
    std::string token = TRY(options.token.read());
    std::string bearer = "Bearer " + token;
    const auto legal = check_header("authorization", bearer);
    if (legal) context.AddMetadata("authorization", bearer);
    base::wipe(token);
    base::wipe(bearer);
    return legal;
}

base::Result<NodeCredential> credential_of(const auth::IstioCertificateResponse& response, std::string key_pem, const std::string& uri) {
    NodeCredential made;
    made.key_pem = std::move(key_pem);
    const int n = response.cert_chain_size();
    if (n < 2 || n > kMaxElements) return base::invalid("a chain of " + std::to_string(n) + " elements");
    for (int i = 0; i + 1 < n; ++i) made.chain_pem += response.cert_chain(i);
    made.roots_pem = response.cert_chain(n - 1);
    TRY(check_node_credential(made, uri));
    return made;
}

}  // namespace

NodeCredential::~NodeCredential() { base::wipe(key_pem); }

std::string node_uri_of(const JoinOptions& options) { return "spiffe://" + options.trust_domain + "/node/" + options.node; }

base::Result<NodeCredential> request_node_credential(const JoinOptions& options, const NodeCredential* current,
                                                     std::chrono::steady_clock::time_point deadline) {
    auto endpoint = parse_endpoint(options.address);
    if (!endpoint) return std::move(endpoint).error().with("CA_ADDRESS");
    const std::string roots = TRY(roots_for(options, current)), uri = node_uri_of(options);
    ChannelOptions channel_options;
    channel_options.alternative_host = options.alternative_host;
    if (current != nullptr) channel_options.certificate = current->certificate();
    auto channel = make_channel(*endpoint, roots, channel_options);
    base::wipe(channel_options.certificate.key_pem);
    if (!channel) return std::move(channel).error();
    KeyAndRequest wanted = TRY(make_node_request());
    auth::IstioCertificateRequest request;
    request.set_csr(wanted.csr_pem);
    request.set_validity_duration(options.lifetime.count());
    (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(uri);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + (deadline - std::chrono::steady_clock::now()));
    if (current == nullptr) TRY(add_token(context, options));
    TRY(check_header("clusterid", options.cluster_id));
    context.AddMetadata("clusterid", options.cluster_id);
    auth::IstioCertificateResponse response;
    const std::stop_callback ended(options.stop, [&context] { context.TryCancel(); });
    const grpc::Status status = auth::IstioCertificateService::NewStub(*channel)->CreateCertificate(&context, request, &response);
    if (!status.ok()) {
        base::wipe(wanted.key_pem);
        return refusal(status, *endpoint);
    }
    auto made = credential_of(response, std::move(wanted.key_pem), uri);
    if (!made) return std::move(made).error().with("answer of the certificate service " + endpoint->authority() + " for " + uri);
    return made;
}

base::Result<Joined> join(const JoinOptions& options, const std::string& path, const base::Clock& clock,
                          std::chrono::steady_clock::time_point deadline) {
    Joined joined;
    auto kept = load_node_credential(path, node_uri_of(options));
    const base::WallTime now = clock.wall();
    const bool valid = kept && now < kept->not_after;
    if (!kept && kept.error().code != base::Errc::NotFound)
        WARREN_LOG(kLog, base::log::Level::Warn, "the node's certificate is not usable; joining anew", {"file", path},
                   {"error", kept.error().message()});
    if (valid && options.renew == Renew::WhenDue && now < kept->renew_at()) {
        joined.credential = std::move(*kept);
        return joined;
    }
    auto fresh = request_node_credential(options, valid && options.renew != Renew::Anew ? &*kept : nullptr, deadline);
    if (!fresh && valid) {
        joined.renewal_error = fresh.error().message();
        joined.credential = std::move(*kept);
        return joined;
    }
    if (!fresh) return std::move(fresh).error();
    TRY(save_node_credential(*fresh, path));
    joined.credential = std::move(*fresh);
    joined.changed = true;
    return joined;
}

}  // namespace warren::xds
