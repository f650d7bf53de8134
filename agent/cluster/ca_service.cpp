// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/ca_service.h"

#include "base/bytes.h"
#include "base/log.h"
#include "proto/ca.grpc.pb.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/alarm.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace warren::cluster {

namespace {

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
using Response = istio::v1::auth::IstioCertificateResponse;

constexpr const char* kMethod = "/istio.v1.auth.IstioCertificateService/CreateCertificate";  // gRPC keeps the pointer
constexpr unsigned kMaxThreads = 64;
// gRPC's metadata is limited to 8 KiB in sum: this is for texts of ours in it.
constexpr size_t kMaxStatusText = 512;

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

std::string_view view(const grpc::string_ref& text) { return {text.data(), text.size()}; }

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

// To gRPC's core a unary call is a stream of one message each way. Registered as a stream, it is handed to us before its message is read,
// and until we read, the peer may send no more than one window.
class Rpc : public grpc::Service {
  public:
    Rpc() {
        using Method = grpc::internal::RpcServiceMethod;
        AddMethod(new Method(kMethod, Method::BIDI_STREAMING, nullptr));
        MarkMethodRawCallback(0, new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
                                     [this](grpc::CallbackServerContext* context) { return open(context); }));
    }
    virtual Reactor* open(grpc::CallbackServerContext* context) = 0;
};

class Call;

// Where calls wait for a thread.
class Desk {
  public:
    virtual ~Desk() = default;
    virtual void request_read(Call& call, bool ok) = 0;
};

// From its arrival to OnDone: waits for a thread that asks who is calling, reads, waits for a thread that issues. One after the other, so
// what it holds needs no lock. Holds itself. The desk outlives it.
class Call final : public Reactor, public std::enable_shared_from_this<Call> {
  public:
    Call(Desk& desk, grpc::CallbackServerContext* c, std::chrono::milliseconds most)
        : context(c), peer(c->peer()), deadline(std::min(c->deadline(), std::chrono::system_clock::now() + most)), desk_(desk) {}

    grpc::CallbackServerContext* const context;  // until OnDone
    const std::string peer;
    const std::chrono::system_clock::time_point deadline;
    std::optional<CallerIdentity> caller;  // once admitted
    std::shared_ptr<void> counted;         // among those who are known, until it is done
    grpc::ByteBuffer request, response;

    static Call* open(Desk& desk, grpc::CallbackServerContext* context, std::chrono::milliseconds most) {
        auto made = std::make_shared<Call>(desk, context, most);
        made->self_ = made;
        return made.get();
    }
    // A caller that is known and then sends nothing has until the deadline.
    void read() {
        {
            const std::lock_guard lock(mutex_);
            alarm_.Set(deadline, [weak = weak_from_this()](bool due) {
                const auto call = due ? weak.lock() : nullptr;
                if (call == nullptr) return;
                const std::lock_guard inner(call->mutex_);
                if (call->self_) call->context->TryCancel();
            });
        }
        StartRead(&request);
    }
    void OnReadDone(bool ok) override { desk_.request_read(*this, ok); }
    void OnDone() override {
        std::shared_ptr<Call> last;  // freed after the lock
        const std::lock_guard lock(mutex_);
        alarm_.Cancel();
        last = std::move(self_);
    }

  private:
    Desk& desk_;
    std::mutex mutex_;  // both below
    grpc::Alarm alarm_;
    std::shared_ptr<Call> self_;
};

}  // namespace

struct CaService::Impl final : Rpc, Desk {
    Issuance& issuance;
    const CaServiceOptions options;
    mutable std::mutex mutex;  // all below
    std::condition_variable wake;
    std::deque<Call*> waiting;
    size_t known = 0;  // calls admitted and not done
    bool stopped = false;
    Stats counts;
    std::vector<std::thread> threads;

    Impl(Issuance& i, const CaServiceOptions& o) : issuance(i), options(o) {
        unsigned n = options.threads != 0 ? options.threads : std::max(2U, std::thread::hardware_concurrency());
        for (n = std::min(n, kMaxThreads); n > 0; --n) threads.emplace_back([this] { run(); });
    }

    Reactor* open(grpc::CallbackServerContext* context) override {
        Call* call = Call::open(*this, context, options.deadline);
        put(*call);
        return call;
    }

    void put(Call& call) {
        std::optional<base::Error> refusal;
        {
            const std::lock_guard lock(mutex);
            // Those who are known are counted apart: what has been asked of the reviewer is not thrown away.
            const size_t before_it = call.caller ? 0 : waiting.size();
            if (stopped) {
                refusal = unavailable("the certificate service is stopping");
            } else if (before_it >= options.queue) {
                ++counts.overloaded;
                refusal = unavailable("the certificate service is overloaded");
            } else {
                waiting.push_back(&call);
            }
        }
        if (refusal)
            turn_away(call, *refusal);
        else
            wake.notify_one();
    }

    void request_read(Call& call, bool ok) override {
        if (!ok) return call.Finish({grpc::StatusCode::INVALID_ARGUMENT, "no request came"});
        if (call.request.Length() <= options.max_request_bytes) return put(call);
        {
            const std::lock_guard lock(mutex);
            ++counts.oversize;
        }
        call.request.Clear();
        turn_away(call,
                  {base::Errc::Exhausted, 0, "", "the request is larger than " + std::to_string(options.max_request_bytes) + " bytes"});
    }

    void turn_away(Call& call, const base::Error& why) const {
        issuance.turned_away(why, call.peer);
        call.Finish(status_of(why));
    }

    void run() {
        std::unique_lock lock(mutex);
        while (true) {
            wake.wait(lock, [this] { return stopped || !waiting.empty(); });
            if (stopped) return;
            Call& call = *waiting.front();
            waiting.pop_front();
            const bool abandoned = call.context->IsCancelled();
            if (abandoned) ++counts.abandoned;
            lock.unlock();
            if (abandoned)
                call.Finish(grpc::Status::CANCELLED);
            else if (call.caller)
                answer(call);
            else
                admit(call);
            lock.lock();
        }
    }

    void admit(Call& call) {
        std::string certificate;
        if (const auto auth = call.context->auth_context(); auth && auth->IsPeerAuthenticated())
            if (const auto values = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME); values.size() == 1)
                certificate.assign(values.front().data(), values.front().size());
        PresentedCredentials shown;
        shown.certificate_pem = certificate;
        shown.bearer = bearer_of(header(*call.context, "authorization"));
        shown.cluster_id = header(*call.context, "clusterid");
        shown.peer = call.peer;
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(call.deadline - std::chrono::system_clock::now());
        auto caller = issuance.admit(shown, std::chrono::steady_clock::now() + left);
        if (!caller) return call.Finish(status_of(caller.error()));
        {
            const std::lock_guard lock(mutex);
            if (known >= options.queue + threads.size()) {
                ++counts.overloaded;
                caller = unavailable("the certificate service is overloaded");
            } else {
                call.counted = std::shared_ptr<void>(nullptr, [this](void*) {
                    const std::lock_guard inner(mutex);
                    --known;
                });
                ++known;
            }
        }
        if (!caller) return turn_away(call, caller.error());
        call.caller = std::move(*caller);
        call.read();
    }

    void answer(Call& call) const {
        if (const auto made = issue(call); !made) return call.Finish(status_of(made.error()));
        call.StartWriteAndFinish(&call.response, grpc::WriteOptions(), grpc::Status::OK);
    }

    base::Result<void> issue(Call& call) const {
        auto bytes = bytes_of(call.request);
        auto parsed = bytes ? parse_request(*bytes) : base::Result<ParsedRequest>(std::move(bytes).error());
        if (!parsed) return issuance.refuse_request(*call.caller, std::move(parsed).error(), call.peer);
        const IssuedCertificate made = TRY(issuance.issue(*call.caller, {parsed->csr, parsed->lifetime, parsed->impersonated}, call.peer));
        Response response;
        for (const std::string& one : made.chain) response.add_cert_chain(one);
        bool own = false;
        if (!grpc::SerializationTraits<Response>::Serialize(response, &call.response, &own).ok())
            return base::Error{base::Errc::Internal, 0, "", "the answer does not serialize"};
        return {};
    }

    void stop() {
        std::deque<Call*> left;
        {
            const std::lock_guard lock(mutex);
            stopped = true;
            left.swap(waiting);
        }
        wake.notify_all();
        for (Call* call : left) turn_away(*call, unavailable("the certificate service is stopping"));
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
