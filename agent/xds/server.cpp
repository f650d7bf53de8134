// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/server.h"

#include "agent/xds/server_stream.h"
#include "agent/xds/server_tls.h"
#include "base/bytes.h"
#include "base/log.h"
#include "proto/xds.grpc.pb.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <thread>

namespace warren::xds {

namespace {

using Ads = envoy::service::discovery::v3::AggregatedDiscoveryService;
using base::log::Level;
using std::chrono::milliseconds;

const base::log::Area kLog("xds");
const base::RealClock real_clock;

constexpr milliseconds kSweep{1000};   // how late a deadline may be noticed
constexpr milliseconds kDeferred{20};  // between tries of a client that waits for room
constexpr milliseconds kGrace{1000};   // for streams to end in good order
// Encodings that together were as large leave as much with the allocator, and several times that in gRPC's buffers of many clients.
constexpr size_t kWorthTrimming = 8 << 20;
constexpr int kMaxMetadata = 64 << 10;  // a Kubernetes token has a few kilobytes

class AdsService final
    : public Ads::WithRawCallbackMethod_DeltaAggregatedResources<Ads::WithCallbackMethod_StreamAggregatedResources<Ads::Service>> {
  public:
    explicit AdsService(std::shared_ptr<Hub> hub) : hub_(std::move(hub)) {}
    grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* DeltaAggregatedResources(grpc::CallbackServerContext* context) override {
        return ServerStream::open(hub_, context);
    }

  private:
    const std::shared_ptr<Hub> hub_;
};

base::Result<void> check(const ServerOptions& options) {
    if (options.listeners.empty()) return base::invalid("listeners: there is none");
    bool tls = false;
    for (const Listener& listener : options.listeners) {
        const bool local = listener.address.starts_with("unix:");
        if (local && (listener.address.size() < 7 || listener.address[5] != '/' || listener.address.size() > 5 + 107))
            return base::invalid("listener " + base::quoted(listener.address) + " is not unix:/PATH of at most 107 bytes");
        tls = tls || (listener.tls && !local);
    }
    if (tls) TRY(check_tls(options.tls));
    if (options.types.empty()) return base::invalid("types: there is none");
    if (options.debounce_quiet.count() < 0 || options.debounce_max < options.debounce_quiet)
        return base::invalid("debounce_max is less than debounce_quiet");
    if (options.max_request_bytes <= 0) return base::invalid("max_request_bytes is not positive");
    if (options.max_receive_memory < size_t{2} * static_cast<size_t>(options.max_request_bytes))
        return base::invalid("max_receive_memory is less than two requests of max_request_bytes");
    return {};
}

void tune(grpc::ServerBuilder& builder, const ServerOptions& options) {
    const auto ms = [](milliseconds value) { return static_cast<int>(value.count()); };
    builder.SetMaxReceiveMessageSize(options.max_request_bytes);
    // gRPC takes in a message whole, however long it says it is, before it looks at the limit: what bounds that is the quota. Its estimate
    // of the path would open windows of 16 MiB to callers whom nobody knows yet; requests are small and need none.
    builder.SetResourceQuota(grpc::ResourceQuota("xds").Resize(options.max_receive_memory));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.SetMaxSendMessageSize(-1);
    // The limit on a request would count the small form of a compressed one.
    builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
    builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a second server must fail, not take half of the nodes
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ms(options.ping_interval));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ms(options.ping_timeout));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // A stream is silent for hours on either side; that is no reason to stop asking whether the peer lives, nor to blame it for asking.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(std::min<size_t>(options.max_streams_per_peer, 1'000)));
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadata);
}

}  // namespace

struct Server::Impl {
    explicit Impl(ServerOptions o)
        : options(with_clock(std::move(o))),
          tls(std::make_shared<TlsMaterial>(options.tls)),
          hub(std::make_shared<Hub>(options)),
          ads(hub) {
        base::wipe(options.tls.key);
    }
    static ServerOptions with_clock(ServerOptions o) {
        if (o.clock == nullptr) o.clock = &real_clock;
        return o;
    }

    base::Result<void> listen();
    void run();
    // Under the lock. When the waiting changes are due; nothing when there are none.
    [[nodiscard]] std::optional<base::MonoTime> due() const;
    std::shared_ptr<const Published> flush();
    void push_all();
    void give_back_memory();

    ServerOptions options;
    const std::shared_ptr<TlsMaterial> tls;
    const std::shared_ptr<Hub> hub;
    AdsService ads;
    std::vector<int> ports;
    // gRPC's core asks them at each handshake, though the server itself lets go of them once it listens.
    std::vector<std::shared_ptr<grpc::ServerCredentials>> credentials;
    std::unique_ptr<grpc::Server> server;
    std::thread thread;
    bool trim = false;  // of the thread

    mutable std::mutex mutex;  // all below
    std::condition_variable changed;
    bool stopping = false;
    Snapshot latest;  // types published since the last flush
    base::MonoTime first_change{}, last_change{};
    uint64_t publications = 0, flushes = 0, generations = 0;
    std::vector<PublishedType> known;  // as flushed last, in the order of options.types
    std::once_flag stopped;
};

base::Result<void> Server::Impl::listen() {
    grpc::ServerBuilder builder;
    ports.assign(options.listeners.size(), 0);
    bool local = false;
    for (size_t i = 0; i < options.listeners.size(); ++i) {
        const Listener& listener = options.listeners[i];
        const bool is_unix = listener.address.starts_with("unix:");
        local = local || is_unix;
        credentials.push_back(is_unix || !listener.tls ? grpc::InsecureServerCredentials()
                                                       : reloadable_credentials(tls, !options.tls.client_roots.empty()));
        builder.AddListeningPort(listener.address, credentials.back(), &ports[i]);
    }
    builder.RegisterService(&ads);
    for (grpc::Service* service : options.services) builder.RegisterService(service);
    tune(builder, options);
    // gRPC has no setting for the mode, and from bind to chmod the socket would be open to others.
    const mode_t before = local ? ::umask(0177) : 0;
    server = builder.BuildAndStart();
    if (local) ::umask(before);
    for (size_t i = 0; i < ports.size(); ++i)
        if (ports[i] <= 0 || !server)
            return base::Error{base::Errc::Unavailable, 0, "listen",
                               base::quoted(options.listeners[i].address) + ": the address is in use or may not be bound"};
    return {};
}

std::optional<base::MonoTime> Server::Impl::due() const {
    if (latest.empty()) return std::nullopt;
    // Nodes wait for the first state; nothing is gained by making them.
    if (flushes == 0) return first_change;
    return std::min(last_change + options.debounce_quiet, first_change + options.debounce_max);
}

// Null while a type is missing.
std::shared_ptr<const Published> Server::Impl::flush() {
    const base::MonoTime now = hub->clock.now();
    auto next = std::make_shared<Published>();
    if (known.empty()) known.resize(options.types.size());
    bool complete = true;
    for (size_t i = 0; i < options.types.size(); ++i) {
        PublishedType& type = known[i];
        if (const auto found = latest.find(options.types[i]); found != latest.end()) {
            if (type.generation == 0 || !type.set.same_as(found->second)) {
                type.set = found->second;
                type.generation = ++generations;
                type.since = now;
            }
            latest.erase(found);
        }
        type.type_url = options.types[i];
        type.index = i;
        complete = complete && type.generation != 0;
    }
    if (!complete) return nullptr;
    ++flushes;
    *next = known;
    return next;
}

void Server::Impl::push_all() {
    for (const auto& stream : hub->all()) stream->push();
}

// What a first sync of many nodes took is free once they have it, but the allocator keeps it unless it is told.
void Server::Impl::give_back_memory() {
    trim = trim || hub->cache.take_peak() >= kWorthTrimming;
    if (!trim || hub->cache.held_bytes() != 0) return;
    trim = false;
    ::malloc_trim(0);
}

void Server::Impl::run() {
    base::MonoTime swept = hub->clock.now();
    bool deferred = false;
    std::unique_lock lock(mutex);
    while (!stopping) {
        const auto now = hub->clock.now();
        const auto at = due();
        if (at && *at <= now) {
            auto next = flush();
            lock.unlock();
            if (next != nullptr) {
                {
                    const std::lock_guard hub_lock(hub->mutex);
                    std::swap(hub->published, next);
                }
                next.reset();  // the old state, freed outside the locks
                push_all();
                deferred = true;
            }
            lock.lock();
            continue;
        }
        if (now - swept >= kSweep || deferred) {
            lock.unlock();
            bool some = false;
            for (const auto& stream : hub->all()) {
                if (deferred && stream->deferred()) stream->push();
                if (now - swept >= kSweep) stream->sweep();
                some = some || stream->deferred();
            }
            if (now - swept >= kSweep) {
                swept = now;
                give_back_memory();
            }
            deferred = some;
            lock.lock();
            if (stopping) break;
        }
        auto wait = deferred ? kDeferred : kSweep;
        const auto next_due = due();
        if (next_due) {
            const auto left = std::chrono::ceil<milliseconds>(*next_due - hub->clock.now());
            wait = std::clamp(left, milliseconds(0), wait);
        }
        changed.wait_for(lock, wait, [&] { return stopping || due() != next_due; });
    }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

base::Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
    TRY(check(options));
    std::unique_ptr<Server> server(new Server(std::make_unique<Impl>(std::move(options))));
    TRY(server->impl_->listen());
    server->impl_->thread = std::thread([impl = server->impl_.get()] { impl->run(); });
    return server;
}

Server::~Server() { stop(); }

void Server::stop() {
    std::call_once(impl_->stopped, [this] {
        {
            const std::lock_guard lock(impl_->mutex);
            impl_->stopping = true;
        }
        impl_->changed.notify_all();
        if (impl_->thread.joinable()) impl_->thread.join();
        if (!impl_->server) return;
        impl_->server->Shutdown(std::chrono::system_clock::now() + kGrace);
        impl_->server->Wait();
    });
}

base::Result<void> Server::publish(const Snapshot& snapshot) {
    for (const auto& [type, set] : snapshot)
        if (std::find(impl_->options.types.begin(), impl_->options.types.end(), type) == impl_->options.types.end())
            return base::invalid("type " + base::quoted(type) + " is not one of those this server serves");
    const base::MonoTime now = impl_->hub->clock.now();
    {
        const std::lock_guard lock(impl_->mutex);
        if (impl_->latest.empty()) impl_->first_change = now;
        impl_->last_change = now;
        ++impl_->publications;
        for (const auto& [type, set] : snapshot) impl_->latest.insert_or_assign(type, set);
    }
    impl_->changed.notify_all();
    return {};
}

base::Result<void> Server::set_tls(const ServerTls& tls) {
    TRY(check_tls(tls));
    if (tls.client_roots.empty() != impl_->options.tls.client_roots.empty())
        return base::invalid(
            "whether clients are asked for certificates is settled when the server starts: client_roots cannot come or go");
    impl_->tls->set(tls);
    return {};
}

std::vector<int> Server::ports() const { return impl_->ports; }

ServerStats Server::stats() const {
    const Hub& hub = *impl_->hub;
    const Counters& counters = hub.counters;
    ServerStats stats;
    stats.clients = hub.all().size();
    stats.streams = counters.streams, stats.refused = counters.refused, stats.denied = counters.denied;
    stats.not_ready = counters.not_ready;
    stats.limits = hub.admission.stats();
    stats.timed_out = counters.timed_out, stats.responses = counters.responses, stats.bytes = counters.bytes;
    stats.acks = counters.acks, stats.nacks = counters.nacks;
    stats.encoded = hub.cache.encoded(), stats.shared = hub.cache.shared(), stats.encoded_bytes = hub.cache.held_bytes();
    stats.last_convergence = std::chrono::nanoseconds(counters.last_convergence_ns);
    stats.max_convergence = std::chrono::nanoseconds(counters.max_convergence_ns);
    const std::lock_guard lock(impl_->mutex);
    stats.publications = impl_->publications, stats.flushes = impl_->flushes;
    return stats;
}

std::vector<ClientStatus> Server::clients() const {
    std::vector<ClientStatus> list;
    for (const auto& stream : impl_->hub->all()) list.push_back(stream->status());
    return list;
}

}  // namespace warren::xds
