// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/ca_client.h"

#include "agent/xds/channel.h"
#include "base/bytes.h"
#include "base/log.h"
#include "proto/ca.grpc.pb.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <mutex>
#include <set>

namespace warren::ztunnel {

namespace {

using Service = istio::v1::auth::IstioCertificateService;
using base::log::Level;

const base::log::Area kLog("ca");

// A leaf, a few intermediates and the root bundle.
constexpr int kMaxElements = 32;
constexpr int kMaxAnswer = 4 * 1024 * 1024;
constexpr size_t kMaxStatusText = 512;

base::Errc code_of(grpc::StatusCode code) {
    switch (code) {
        case grpc::StatusCode::DEADLINE_EXCEEDED: return base::Errc::Timeout;
        case grpc::StatusCode::UNAUTHENTICATED:
        case grpc::StatusCode::PERMISSION_DENIED: return base::Errc::Denied;
        case grpc::StatusCode::INVALID_ARGUMENT: return base::Errc::Invalid;
        case grpc::StatusCode::RESOURCE_EXHAUSTED: return base::Errc::Exhausted;
        case grpc::StatusCode::UNIMPLEMENTED: return base::Errc::Unsupported;
        default: return base::Errc::Unavailable;
    }
}

std::string_view name_of(grpc::StatusCode code) {
    static constexpr std::string_view kNames[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    const auto index = static_cast<size_t>(code);
    return index < std::size(kNames) ? kNames[index] : "code out of range";
}

base::Error service_error(const grpc::Status& status, const std::string& authority) {
    const std::string text = base::log::quoted(std::string_view(status.error_message()).substr(0, kMaxStatusText));
    return {code_of(status.error_code()), 0, "certificate service",
            authority + ": " + std::string(name_of(status.error_code())) + " " + text};
}

}  // namespace

struct CaClient::Impl {
    CaClientOptions options;
    xds::Endpoint endpoint;
    mutable std::mutex mutex;              // all below
    std::shared_ptr<Service::Stub> stub;   // null: no certificate of the node yet
    std::set<grpc::ClientContext*> calls;  // in flight
    bool stopped = false;
    Stats stats;

    base::Result<std::shared_ptr<Service::Stub>> build() {
        std::string roots = TRY(options.roots->load());
        xds::NodeProof proof;
        if (options.proof) proof = TRY(options.proof());
        if (!proof.more_roots.empty()) roots.append("\n").append(proof.more_roots);
        xds::ChannelOptions shape{
            .alternative_host = options.alternative_host, .max_message_bytes = kMaxAnswer, .certificate = proof.certificate};
        auto made = xds::make_channel(endpoint, roots, shape);
        base::wipe(shape.certificate.key_pem);
        const auto channel = TRY(std::move(made));
        ++stats.channels;
        return std::shared_ptr<Service::Stub>(Service::NewStub(channel));
    }

    // Under the lock. An error only while there is no channel at all.
    base::Result<void> follow_roots() {
        if (!options.roots->take_dirty() && stub) return {};
        auto built = build();
        if (built) {
            stub = std::move(*built);
            return {};
        }
        options.roots->make_dirty();
        ++stats.rebuild_failures;
        if (!stub) return std::move(built).error();
        WARREN_LOG(kLog, Level::Warn, "channel not rebuilt with the new roots or certificate; the old one stays",
                   {"error", built.error().message()});
        return {};
    }

    base::Result<void> add_headers(grpc::ClientContext& context) const {
        if (!options.token.none()) {
            std::string token = TRY(options.token.read());
            std::string bearer = "Bearer " + token;
            context.AddMetadata("authorization", bearer);
            base::wipe(token);
            base::wipe(bearer);
            context.AddMetadata("clusterid", options.cluster_id);
        }
        for (const auto& [name, value] : options.headers) context.AddMetadata(name, value);
        return {};
    }

    base::Result<istio::v1::auth::IstioCertificateResponse> call(grpc::ClientContext& context,
                                                                 const istio::v1::auth::IstioCertificateRequest& request) {
        std::shared_ptr<Service::Stub> current;
        {
            const std::lock_guard lock(mutex);
            if (stopped) return base::Error{base::Errc::Unavailable, 0, "", "certificate service: the proxy is stopping"};
            ++stats.requests;
            TRY(follow_roots());
            current = stub;
            calls.insert(&context);
        }
        istio::v1::auth::IstioCertificateResponse response;
        const grpc::Status status = current->CreateCertificate(&context, request, &response);
        const std::lock_guard lock(mutex);
        calls.erase(&context);
        if (!status.ok()) return service_error(status, endpoint.authority());
        return response;
    }

    base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity& identity, std::chrono::steady_clock::time_point deadline) {
        CertificateRequest wanted = TRY(make_certificate_request(identity));
        istio::v1::auth::IstioCertificateRequest request;
        request.set_csr(wanted.csr_pem);
        request.set_validity_duration(options.lifetime.count());
        if (options.impersonate) (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(identity.uri());
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + (deadline - std::chrono::steady_clock::now()));
        TRY(add_headers(context));
        const auto response = TRY(call(context, request));
        return credential_of(response, std::move(wanted), identity);
    }

    base::Result<std::shared_ptr<const Credential>> credential_of(const istio::v1::auth::IstioCertificateResponse& response,
                                                                  CertificateRequest wanted, const policy::Identity& identity) const {
        const std::string who = "answer of the certificate service " + endpoint.authority() + " for " + identity.uri();
        if (response.cert_chain_size() == 0) return base::invalid("the chain is empty").with(who);
        if (response.cert_chain_size() > kMaxElements)
            return base::invalid("a chain of " + std::to_string(response.cert_chain_size()) + " elements").with(who);
        const std::vector<std::string> chain(response.cert_chain().begin(), response.cert_chain().end());
        auto credential = Credential::parse(chain, std::move(wanted.key_pem));
        if (!credential) return std::move(credential).error().with(who);
        if (options.impersonate && !((*credential)->identity() == identity))
            return base::Error{
                base::Errc::Invalid, 0, "",
                "the certificate is for " + ((*credential)->identity().empty() ? "no SPIFFE identity" : (*credential)->identity().uri())}
                .with(who);
        return credential;
    }
};

CaClient::CaClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CaClient::~CaClient() = default;

base::Result<std::unique_ptr<CaClient>> CaClient::create(CaClientOptions options) {
    auto impl = std::make_unique<Impl>();
    auto endpoint = xds::parse_endpoint(options.address);
    if (!endpoint) return std::move(endpoint).error().with("CA_ADDRESS");
    impl->endpoint = std::move(*endpoint);
    if (options.roots == nullptr) return base::invalid("CA_ROOT_CA: the certificate service needs roots to verify it");
    if (options.lifetime <= std::chrono::seconds(0)) return base::invalid("SECRET_TTL must be positive");
    // A socket would carry the token in the clear.
    if (!impl->endpoint.socket.empty()) return base::invalid("CA_ADDRESS " + base::quoted(options.address) + " is not https://HOST:PORT");
    if (auto good = xds::check_header("clusterid", options.cluster_id); !good) return std::move(good).error().with("cluster id");
    for (const auto& [name, value] : options.headers)
        if (auto good = xds::check_header(name, value); !good) return std::move(good).error().with("CA_HEADER_" + name);
    impl->options = std::move(options);
    if (auto roots = impl->options.roots->load(); !roots) return std::move(roots).error().with("CA_ROOT_CA");
    auto stub = impl->build();
    if (stub) {
        impl->stub = std::move(*stub);
    } else if (impl->options.proof) {
        WARREN_LOG(kLog, Level::Warn, "no certificate can be asked for yet", {"error", stub.error().message()});
    } else {
        return std::move(stub).error().with("CA_ROOT_CA");
    }
    return std::unique_ptr<CaClient>(new CaClient(std::move(impl)));
}

base::Result<std::shared_ptr<const Credential>> CaClient::sign(const policy::Identity& identity,
                                                               std::chrono::steady_clock::time_point deadline) {
    auto credential = impl_->sign(identity, deadline);
    if (!credential) {
        const std::lock_guard lock(impl_->mutex);
        ++impl_->stats.failures;
    }
    return credential;
}

void CaClient::stop() {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopped = true;
    for (grpc::ClientContext* context : impl_->calls) context->TryCancel();
}

void CaClient::roots_changed() { impl_->options.roots->make_dirty(); }

CaClient::Stats CaClient::stats() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->stats;
}

}  // namespace warren::ztunnel
