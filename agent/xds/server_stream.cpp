// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/server_stream.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/log_limit.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <utility>

namespace warren::xds {

namespace {

using base::log::Level;

const base::log::Area kLog("xds");
base::log::RepeatLimiter limiter;

grpc::Status status_of(const base::Error& error, grpc::StatusCode denied) {
    switch (error.code) {
        case base::Errc::Denied: return {denied, error.detail};
        case base::Errc::Invalid:
        case base::Errc::Protocol: return {grpc::StatusCode::INVALID_ARGUMENT, error.detail};
        case base::Errc::Exhausted: return {grpc::StatusCode::RESOURCE_EXHAUSTED, error.detail};
        case base::Errc::Unavailable:
        case base::Errc::Timeout: return {grpc::StatusCode::UNAVAILABLE, error.detail};
        default: return {grpc::StatusCode::INTERNAL, error.detail};
    }
}

Caller caller_of(const grpc::CallbackServerContext& context, std::string peer) {
    Caller caller;
    caller.unix_socket = peer.starts_with("unix:");
    caller.peer = std::move(peer);
    for (const auto& [name, value] : context.client_metadata())
        caller.metadata.emplace_back(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
    const auto auth = context.auth_context();
    if (auth == nullptr) return caller;
    caller.tls = !auth->FindPropertyValues(GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME).empty();
    if (!auth->IsPeerAuthenticated()) return caller;
    for (const auto& pem : auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME)) caller.certificate.assign(pem.data(), pem.size());
    for (const auto& name : auth->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) caller.names.emplace_back(name.data(), name.size());
    return caller;
}

// The bytes are borrowed from the encoding, which lives as long as gRPC needs them.
grpc::Slice borrow(std::shared_ptr<const std::string> bytes) {
    auto* holder = new std::shared_ptr<const std::string>(std::move(bytes));
    return {const_cast<char*>((*holder)->data()), (*holder)->size(),
            [](void* held) { delete static_cast<std::shared_ptr<const std::string>*>(held); }, holder};
}

uint64_t take_id(Hub& hub) {
    const std::lock_guard lock(hub.mutex);
    return hub.next_id++;
}

}  // namespace

std::shared_ptr<const Published> Hub::current() const {
    const std::lock_guard lock(mutex);
    return published;
}

std::vector<std::shared_ptr<ServerStream>> Hub::all() const {
    const std::lock_guard lock(mutex);
    std::vector<std::shared_ptr<ServerStream>> list;
    list.reserve(streams.size());
    for (const auto& [id, stream] : streams) list.push_back(stream);
    return list;
}

ServerStream::ServerStream(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context)
    : hub_(std::move(hub)),
      context_(context),
      id_(take_id(*hub_)),
      opened_(hub_->clock.now()),
      connected_(hub_->clock.wall()),
      peer_(context->peer()),
      peer_key_(peer_key(peer_)),
      session_(hub_->options.session, hub_->cache) {}

ServerStream* ServerStream::open(const std::shared_ptr<Hub>& hub, grpc::CallbackServerContext* context) {
    auto stream = std::make_shared<ServerStream>(hub, context);
    {
        const std::lock_guard lock(hub->mutex);
        hub->streams.emplace(stream->id_, stream);  // until OnDone
    }
    ++hub->counters.streams;
    stream->admit();
    return stream.get();
}

void ServerStream::admit() {
    const Caller caller = caller_of(*context_, peer_);
    const auto entered = hub_->admission.enter({peer_key_, caller.names.empty() ? std::string_view() : caller.names.front()});
    admitted_ = entered.has_value();
    if (!entered || hub_->current() == nullptr) {
        ++hub_->counters.refused;
        const std::lock_guard lock(mutex_);
        if (!entered) return finish(entered.error(), grpc::StatusCode::PERMISSION_DENIED);
        ++hub_->counters.not_ready;
        return finish({grpc::StatusCode::UNAVAILABLE, "the server has no state yet; try again"});
    }
    if (hub_->options.authenticator == nullptr) return authenticated(std::string());
    {
        const std::lock_guard lock(mutex_);
        certificate_ = caller.certificate;
    }
    hub_->options.authenticator->authenticate(caller, [weak = weak_from_this()](base::Result<std::string> identity) {
        if (const auto stream = weak.lock()) stream->authenticated(std::move(identity));
    });
}

void ServerStream::authenticated(base::Result<std::string> identity) {
    const std::lock_guard lock(mutex_);
    if (finished_ || authenticated_) return;
    if (!identity) {
        ++hub_->counters.denied;
        WARREN_LOG_LIMITED(kLog, Level::Warn, limiter, peer_key_, "xds client refused", {"peer", base::log::Plain{peer_}},
                           {"reason", identity.error().message()});
        return finish(identity.error(), grpc::StatusCode::UNAUTHENTICATED);
    }
    authenticated_ = true;
    identity_ = std::move(*identity);
    checked_ = hub_->clock.now();
    StartRead(&in_);
}

base::Result<void> ServerStream::handle_request() {
    grpc::Slice slice;
    if (!in_.DumpToSingleSlice(&slice).ok()) return base::invalid("a request that cannot be read");
    in_.Clear();
    const auto now = hub_->current();
    TRY(session_.on_request({slice.begin(), slice.size()}, *now));
    count_answer();
    if (authorized_) return {};
    if (hub_->options.authenticator != nullptr) TRY(hub_->options.authenticator->authorize(identity_, *session_.node()));
    authorized_ = true;
    WARREN_LOG(kLog, Level::Info, "xds client connected", {"node", base::log::Plain{session_.node()->id}},
               {"peer", base::log::Plain{peer_}});
    return {};
}

void ServerStream::count_answer() {
    Counters& counters = hub_->counters;
    if (const auto since = session_.acked_since()) {
        ++counters.acks;
        const int64_t took = std::chrono::duration_cast<std::chrono::nanoseconds>(hub_->clock.now() - *since).count();
        counters.last_convergence_ns = took;
        int64_t most = counters.max_convergence_ns;
        while (took > most && !counters.max_convergence_ns.compare_exchange_weak(most, took)) {
        }
    }
    if (session_.nack().empty()) return;
    ++counters.nacks;
    WARREN_LOG_LIMITED(kLog, Level::Warn, limiter, session_.node()->id, "xds client rejects resources",
                       {"node", base::log::Plain{session_.node()->id}}, {"reason", session_.nack()});
}

void ServerStream::OnReadDone(bool ok) {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    if (!ok) return finish(grpc::Status::OK);  // the client has said all it will
    if (const auto handled = handle_request(); !handled) {
        if (handled.error().code == base::Errc::Denied) ++hub_->counters.denied;
        WARREN_LOG_LIMITED(kLog, Level::Warn, limiter, peer_key_, "xds stream ended: bad request", {"peer", base::log::Plain{peer_}},
                           {"reason", handled.error().message()});
        return finish(handled.error(), grpc::StatusCode::PERMISSION_DENIED);
    }
    pump();
    if (!finished_) StartRead(&in_);
}

void ServerStream::pump() {
    if (!authorized_ || writing_ || finished_ || last_) return;
    auto out = session_.next(*hub_->current(), hub_->clock.now());
    if (!out) return;
    ++hub_->counters.responses;
    hub_->counters.bytes += out->size();
    const grpc::Slice slices[] = {borrow(std::move(out->body)), grpc::Slice(out->tail)};
    out_ = grpc::ByteBuffer(slices, 2);
    writing_ = true;
    write_began_ = hub_->clock.now();
    StartWrite(&out_);
}

void ServerStream::OnWriteDone(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    out_.Clear();
    if (last_ && !finished_) {
        finished_ = true;
        Finish(*last_);
    } else if (ok) {
        pump();
    }
}

void ServerStream::OnCancel() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    Finish(grpc::Status::CANCELLED);
}

void ServerStream::OnDone() {
    if (admitted_) hub_->admission.leave(peer_key_);
    std::shared_ptr<ServerStream> self;
    {
        const std::lock_guard lock(hub_->mutex);
        const auto found = hub_->streams.find(id_);
        self = std::move(found->second);
        hub_->streams.erase(found);
    }
    // Whoever looked at this stream meanwhile lets go of it last.
    const std::lock_guard lock(mutex_);
    finished_ = true;
    if (authorized_) WARREN_LOG(kLog, Level::Info, "xds client left", {"node", base::log::Plain{session_.node()->id}});
}

void ServerStream::finish(grpc::Status status) {
    if (finished_ || last_) return;
    last_ = std::move(status);
    if (writing_) return;
    finished_ = true;
    Finish(*last_);
}

void ServerStream::finish(const base::Error& error, grpc::StatusCode denied) { finish(status_of(error, denied)); }

void ServerStream::push() {
    const std::lock_guard lock(mutex_);
    pump();
}

// Under the lock. Each stream counts from when it was let in, and no more than so many are let in in a second: the questions are spread.
bool ServerStream::still_welcome(base::MonoTime now) {
    const ServerOptions& options = hub_->options;
    if (!authenticated_ || options.authenticator == nullptr || options.recheck_interval.count() <= 0 ||
        now - checked_ < options.recheck_interval)
        return true;
    checked_ = now;
    const auto welcome = options.authenticator->recheck(identity_, certificate_);
    if (welcome) return true;
    ++hub_->counters.denied;
    WARREN_LOG(kLog, Level::Warn, "xds stream ended: the client may not go on", {"peer", base::log::Plain{peer_}},
               {"identity", base::log::Plain{identity_}}, {"reason", welcome.error().message()});
    // A client that does not read would never see a good end.
    writing_ ? context_->TryCancel() : finish(welcome.error(), grpc::StatusCode::UNAUTHENTICATED);
    return false;
}

void ServerStream::sweep() {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    const ServerOptions& options = hub_->options;
    const base::MonoTime now = hub_->clock.now();
    if (!still_welcome(now)) return;
    const auto waiting = session_.waiting_since();
    // Also of a stream that is to end: its last write holds an encoding, and counts against what all clients share.
    const bool stuck = writing_ && now - write_began_ > options.answer_timeout;
    if (last_ && !stuck) return;
    if (stuck || (!authorized_ && now - opened_ > options.first_request_timeout) || (waiting && now - *waiting > options.answer_timeout)) {
        ++hub_->counters.timed_out;
        WARREN_LOG_LIMITED(kLog, Level::Warn, limiter, peer_key_, "xds client does not answer", {"peer", base::log::Plain{peer_}});
        // A write that nobody reads would never be done.
        return context_->TryCancel();
    }
    // Apart, so that nodes that came together do not come back together.
    const auto age = options.max_stream_age * (90 + static_cast<int64_t>(id_ * 7 % 21)) / 100;
    if (options.max_stream_age.count() > 0 && now - opened_ > age) finish(grpc::Status::OK);
}

bool ServerStream::deferred() const {
    const std::lock_guard lock(mutex_);
    return !finished_ && session_.deferred();
}

ClientStatus ServerStream::status() const {
    const std::lock_guard lock(mutex_);
    ClientStatus status;
    status.id = id_;
    if (session_.node()) {
        status.node_id = session_.node()->id;
        status.role = session_.node()->role;
    }
    status.peer = peer_;
    status.identity = identity_;
    status.connected_since = connected_;
    status.types = session_.status();
    return status;
}

}  // namespace warren::xds
