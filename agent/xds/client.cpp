// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/client.h"

#include "agent/xds/channel.h"
#include "agent/xds/session.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/utf8.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace warren::xds {

namespace {

using base::log::Level;

const base::log::Area kLog("xds");
const base::RealClock kRealClock;

constexpr size_t kMaxNameBytes = 4096;

// The server could not read a request with another name in it, and would end every stream for it.
bool is_name(const std::string& name) {
    std::string valid;
    base::append_valid_utf8(valid, name);
    return !name.empty() && name.size() <= kMaxNameBytes && name != "*" && valid == name;
}

base::Result<void> check(const ClientOptions& options, const Endpoint& endpoint) {
    if (endpoint.socket.empty() && options.roots.none()) return base::invalid("XDS_ROOT_CA: the xDS server needs roots to verify it");
    if (auto good = check_header("clusterid", options.cluster_id); !good) return std::move(good).error().with("cluster id");
    for (const auto& [name, value] : options.headers)
        if (auto good = check_header(name, value); !good) return std::move(good).error().with("XDS_HEADER_" + name);
    for (size_t i = 0; i < options.types.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            if (options.types[i].type_url == options.types[j].type_url)
                return base::invalid("type " + base::quoted(options.types[i].type_url) + " is asked for twice");
    if (options.types.empty()) return base::invalid("no types to ask the xDS server for");
    return {};
}

}  // namespace

struct Client::Impl {
    ClientOptions options;
    Handler& handler;
    Endpoint endpoint;
    std::vector<std::unique_ptr<TypeState>> types;
    Reconnect reconnect;
    bool omit_versions = false;
    Shared shared;
    std::thread thread;

    Impl(ClientOptions given, Handler& to, Endpoint at)
        : options(std::move(given)),
          handler(to),
          endpoint(std::move(at)),
          reconnect(base::make_random_engine(), endpoint.socket.empty() ? Reconnect::kRemote : Reconnect::kLocal) {
        if (options.clock == nullptr) options.clock = &kRealClock;
        for (const TypeOptions& type : options.types) {
            types.push_back(std::make_unique<TypeState>(type.type_url, type.on_demand));
            shared.stats.types.push_back({.type_url = type.type_url});
        }
        shared.stats.types.push_back({});
        shared.wishes.resize(types.size());
    }

    void run() {
        while (!is_stopping()) {
            base::MonoTime opened = options.clock->now();
            const End end = attempt(opened);
            const auto pause = reconnect.wait_after(end, options.clock->now() - opened);
            if (is_stopping()) return;
            {
                const std::lock_guard lock(shared.mutex);
                ++shared.stats.terminations[static_cast<size_t>(end.reason)];
            }
            handler.disconnected(end.reason, end.detail);
            WARREN_LOG(kLog, end.reason == Termination::Complete || end.reason == Termination::Reconnect ? Level::Info : Level::Warn,
                       "stream ended", {"server", endpoint.authority()}, {"reason", to_string(end.reason)}, {"detail", end.detail},
                       {"retry_ms", std::chrono::duration_cast<std::chrono::milliseconds>(pause).count()});
            if (!wait(pause)) return;
        }
    }

    // From the roots to the stream's end. opened: set anew when the stream is about to open.
    End attempt(base::MonoTime& opened) {
        {
            const std::lock_guard lock(shared.mutex);
            ++shared.stats.attempts;
        }
        auto channel = make_channel();
        if (!channel) return {Termination::Error, Retry::Backoff, channel.error().message()};
        auto headers = make_headers();
        if (!headers) return {Termination::ConnectionError, Retry::Backoff, headers.error().message()};
        Stream stream(std::move(*channel), *headers);
        for (auto& [name, value] : *headers) base::wipe(value);
        {
            const std::lock_guard lock(shared.mutex);
            if (shared.stopping) return {};
            shared.stream = &stream;
        }
        opened = options.clock->now();
        Session session(options, handler, shared, types, omit_versions);
        auto outcome = session.run(stream);
        {
            const std::lock_guard lock(shared.mutex);
            shared.stream = nullptr;
            shared.stats.connected = false;
        }
        // Until a stream works; the next list may be a short one.
        omit_versions = outcome.list_too_long || (omit_versions && !outcome.answered);
        return std::move(outcome.end);
    }

    base::Result<std::shared_ptr<grpc::Channel>> make_channel() const {
        std::string roots = endpoint.socket.empty() ? TRY(options.roots.load()) : std::string();
        NodeProof proof;
        if (options.proof && endpoint.socket.empty()) {
            proof = TRY(options.proof());
            roots.append("\n").append(proof.more_roots);
        }
        ChannelOptions channel{.alternative_host = options.alternative_host,
                               .connect_timeout = options.connect_timeout,
                               .ping_interval = options.ping_interval,
                               .ping_timeout = options.ping_timeout,
                               .max_message_bytes = options.max_message_bytes,
                               .certificate = proof.certificate};
        auto made = xds::make_channel(endpoint, roots, channel);
        base::wipe(channel.certificate.key_pem);
        return made;
    }

    base::Result<Headers> make_headers() const {
        Headers headers = options.headers;
        if (options.token.none() || !endpoint.socket.empty()) return headers;
        std::string token = TRY(options.token.read());
        headers.emplace_back("authorization", "Bearer " + token);
        base::wipe(token);
        headers.emplace_back("clusterid", options.cluster_id);
        return headers;
    }

    bool is_stopping() {
        const std::lock_guard lock(shared.mutex);
        return shared.stopping;
    }

    bool wait(std::chrono::nanoseconds pause) {
        if (options.wait) return options.wait(pause);
        std::unique_lock lock(shared.mutex);
        return !shared.stopped.wait_for(lock, pause, [&] { return shared.stopping; });
    }

    base::Result<void> wish(std::string_view type_url, std::span<const std::string> names, bool wanted) {
        const auto at = std::find_if(types.begin(), types.end(), [&](const auto& type) { return type->type_url() == type_url; });
        if (at == types.end() || !(*at)->on_demand()) return base::invalid("type " + base::quoted(type_url) + " is not on demand");
        for (const std::string& name : names)
            if (!is_name(name)) return base::invalid("name " + base::quoted(name) + " cannot be asked for");
        const std::lock_guard lock(shared.mutex);
        Wishes& wishes = shared.wishes[static_cast<size_t>(at - types.begin())];
        size_t more = 0;
        for (const std::string& name : names) more += wishes.contains(name) ? 0 : 1;
        if (shared.wish_count + more > options.max_pending_names) {
            shared.stats.dropped_names += names.size();
            return base::Error{base::Errc::Exhausted, 0, "",
                               "more than " + std::to_string(options.max_pending_names) + " names wait to be sent to the xDS server"};
        }
        for (const std::string& name : names) shared.wish_count += wishes.insert_or_assign(name, wanted).second ? 1 : 0;
        if (shared.stream != nullptr && !wishes.empty()) shared.stream->wake();
        return {};
    }
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Client::~Client() { stop(); }

base::Result<std::unique_ptr<Client>> Client::create(ClientOptions options, Handler& handler) {
    auto endpoint = parse_endpoint(options.address);
    if (!endpoint) return std::move(endpoint).error().with("XDS_ADDRESS");
    TRY(check(options, *endpoint));
    return std::unique_ptr<Client>(new Client(std::make_unique<Impl>(std::move(options), handler, std::move(*endpoint))));
}

void Client::start() {
    if (!impl_->thread.joinable()) impl_->thread = std::thread([this] { impl_->run(); });
}

void Client::stop() {
    {
        const std::lock_guard lock(impl_->shared.mutex);
        impl_->shared.stopping = true;
        if (impl_->shared.stream != nullptr) impl_->shared.stream->cancel();
    }
    impl_->shared.stopped.notify_all();
    if (impl_->thread.joinable()) impl_->thread.join();
}

base::Result<void> Client::subscribe(std::string_view type_url, std::span<const std::string> names) {
    return impl_->wish(type_url, names, true);
}

base::Result<void> Client::unsubscribe(std::string_view type_url, std::span<const std::string> names) {
    return impl_->wish(type_url, names, false);
}

bool Client::synced() const {
    const std::lock_guard lock(impl_->shared.mutex);
    const auto& stats = impl_->shared.stats.types;
    for (size_t i = 0; i < impl_->types.size(); ++i)
        if (!impl_->types[i]->on_demand() && !stats[i].synced) return false;
    return true;
}

Stats Client::stats() const {
    const std::lock_guard lock(impl_->shared.mutex);
    return impl_->shared.stats;
}

}  // namespace warren::xds
