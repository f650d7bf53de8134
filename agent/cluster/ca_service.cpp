// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/ca_service.h"

#include "base/bytes.h"
#include "base/log.h"
#include "proto/ca.grpc.pb.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace warren::cluster {

namespace {

using Rpc = istio::v1::auth::IstioCertificateService;
using Response = istio::v1::auth::IstioCertificateResponse;

constexpr unsigned kMaxThreads = 64;
// gRPC's metadata is limited to 8 KiB in sum: this is for texts of ours in it.
constexpr size_t kMaxStatusText = 512;

// A call between its arrival and Finish(); gRPC keeps all four until then.
struct Call {
    grpc::CallbackServerContext* context = nullptr;
    const grpc::ByteBuffer* request = nullptr;
    grpc::ByteBuffer* response = nullptr;
    grpc::ServerUnaryReactor* reactor = nullptr;
};

grpc::Status status_of(const base::Error& error) {
    const std::string text = base::log::quoted(std::string_view(error.message()).substr(0, kMaxStatusText));
    const std::string plain = text.substr(1, text.size() - 2);
    switch (error.code) {
        case base::Errc::Denied: return {grpc::StatusCode::UNAUTHENTICATED, plain};
        case base::Errc::Invalid: return {grpc::StatusCode::INVALID_ARGUMENT, plain};
        case base::Errc::Exhausted: return {grpc::StatusCode::RESOURCE_EXHAUSTED, plain};
        case base::Errc::Unavailable: return {grpc::StatusCode::UNAVAILABLE, plain};
        // Ours to know, not the caller's.
        default: return {grpc::StatusCode::INTERNAL, "the certificate could not be made"};
    }
}

base::Error unavailable(const char* why) { return {base::Errc::Unavailable, 0, "", why}; }

std::string_view view(grpc::string_ref text) { return {text.data(), text.size()}; }

// The one value of a header; nothing when there is none or there are several, which is somebody trying what we take.
std::string_view header(const grpc::CallbackServerContext& context, const char* name) {
    const auto& all = context.client_metadata();
    return all.count(name) == 1 ? view(all.find(name)->second) : std::string_view();
}

base::Result<std::string> bytes_of(const grpc::ByteBuffer& buffer) {
    std::vector<grpc::Slice> slices;
    if (!buffer.Dump(&slices).ok()) return base::invalid("the request cannot be read");
    std::string bytes;
    bytes.reserve(buffer.Length());
    for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return bytes;
}

}  // namespace

struct CaService::Impl final : Rpc::WithRawCallbackMethod_CreateCertificate<Rpc::Service> {
    Issuance& issuance;
    const CaServiceOptions options;
    mutable std::mutex mutex;  // all below
    std::condition_variable wake;
    std::deque<Call> waiting;
    bool stopped = false;
    Stats counts;
    std::vector<std::thread> threads;

    Impl(Issuance& i, const CaServiceOptions& o) : issuance(i), options(o) {
        unsigned n = options.threads != 0 ? options.threads : std::max(2U, std::thread::hardware_concurrency());
        for (n = std::min(n, kMaxThreads); n > 0; --n) threads.emplace_back([this] { run(); });
    }

    grpc::ServerUnaryReactor* CreateCertificate(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override {
        const Call call{context, request, response, context->DefaultReactor()};
        std::optional<base::Error> refusal;
        {
            const std::lock_guard lock(mutex);
            if (request->Length() > options.max_request_bytes) {
                ++counts.oversize;
                refusal = base::invalid("the request is larger than " + std::to_string(options.max_request_bytes) + " bytes");
            } else if (stopped) {
                refusal = unavailable("the certificate service is stopping");
            } else if (waiting.size() >= options.queue) {
                ++counts.overloaded;
                refusal = unavailable("the certificate service is overloaded");
            } else {
                waiting.push_back(call);
            }
        }
        if (refusal)
            turn_away(call, *refusal);
        else
            wake.notify_one();
        return call.reactor;
    }

    void turn_away(const Call& call, const base::Error& why) const {
        issuance.turned_away(why, call.context->peer());
        call.reactor->Finish(status_of(why));
    }

    void run() {
        std::unique_lock lock(mutex);
        while (true) {
            wake.wait(lock, [this] { return stopped || !waiting.empty(); });
            if (stopped) return;
            const Call call = waiting.front();
            waiting.pop_front();
            const bool abandoned = call.context->IsCancelled();
            if (abandoned) ++counts.abandoned;
            lock.unlock();
            call.reactor->Finish(abandoned ? grpc::Status::CANCELLED : answer(call));
            lock.lock();
        }
    }

    grpc::Status answer(const Call& call) const {
        std::string certificate;
        if (const auto auth = call.context->auth_context(); auth && auth->IsPeerAuthenticated())
            if (const auto values = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME); values.size() == 1)
                certificate.assign(values.front().data(), values.front().size());
        const std::string peer = call.context->peer();
        PresentedCredentials shown;
        shown.certificate_pem = certificate;
        shown.bearer = bearer_of(header(*call.context, "authorization"));
        shown.cluster_id = header(*call.context, "clusterid");
        shown.peer = peer;
        const auto left = std::min<std::chrono::nanoseconds>(options.deadline, call.context->deadline() - std::chrono::system_clock::now());
        const auto caller = issuance.admit(shown, std::chrono::steady_clock::now() + left);
        if (!caller) return status_of(caller.error());
        const auto made = issue(*caller, call, peer);
        return made ? grpc::Status::OK : status_of(made.error());
    }

    base::Result<void> issue(const CallerIdentity& caller, const Call& call, const std::string& peer) const {
        auto bytes = bytes_of(*call.request);
        auto parsed = bytes ? parse_request(*bytes) : base::Result<ParsedRequest>(std::move(bytes).error());
        if (!parsed) return issuance.refuse_request(caller, std::move(parsed).error(), peer);
        const IssuedCertificate made = TRY(issuance.issue(caller, {parsed->csr, parsed->lifetime, parsed->impersonated}, peer));
        Response response;
        for (const std::string& one : made.chain) response.add_cert_chain(one);
        bool own = false;
        if (!grpc::SerializationTraits<Response>::Serialize(response, call.response, &own).ok())
            return base::Error{base::Errc::Internal, 0, "", "the answer does not serialize"};
        return {};
    }

    void stop() {
        std::deque<Call> left;
        {
            const std::lock_guard lock(mutex);
            stopped = true;
            left.swap(waiting);
        }
        wake.notify_all();
        for (const Call& call : left) turn_away(call, unavailable("the certificate service is stopping"));
        for (std::thread& thread : threads)
            if (thread.joinable()) thread.join();
    }
};

CaService::CaService(Issuance& issuance, const CaServiceOptions& options) : impl_(std::make_unique<Impl>(issuance, options)) {}
CaService::~CaService() { stop(); }
grpc::Service* CaService::service() { return impl_.get(); }
void CaService::stop() { impl_->stop(); }

CaService::Stats CaService::stats() const {
    const std::lock_guard lock(impl_->mutex);
    Stats stats = impl_->counts;
    stats.waiting = impl_->waiting.size();
    return stats;
}

}  // namespace warren::cluster
