// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/watcher.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace warren::kube {

using base::MonoTime;
using base::Result;

namespace {

constexpr auto kStatsAge = std::chrono::milliseconds(250);

// One kind and its exchange.
class Kind final : public Receiver {
  public:
    Kind(std::shared_ptr<Endpoint> endpoint, size_t index, WatchSpec spec, const ReflectorOptions& options, base::RandomEngine& random,
         Handler& handler)
        : reflector(index, std::move(spec), options, random, handler), transfer(std::move(endpoint)) {}
    void on_open() override { reflector.on_open(); }
    bool on_data(std::string_view bytes) override { return reflector.on_data(bytes); }

    Reflector reflector;
    Transfer transfer;
    Reflector::Step step;
    bool planned = false, running = false;
};

}  // namespace

struct Watcher::Impl {
    Impl(ReflectorOptions o, size_t count) : options(o), shared(count) {}

    void run();
    void begin(Kind& kind, MonoTime now);
    void take_finished();
    void publish(MonoTime now, bool force);

    const ReflectorOptions options;
    base::RandomEngine random = base::make_random_engine();
    CURLM* multi = nullptr;
    std::vector<std::unique_ptr<Kind>> kinds;
    std::thread thread;
    std::atomic<bool> stopping = false;
    MonoTime published{};
    mutable std::mutex mutex;
    std::vector<ReflectorStats> shared;
};

void Watcher::Impl::begin(Kind& kind, MonoTime now) {
    kind.planned = false;
    auto prepared = kind.transfer.prepare(kind.step.request, kind.step.limits, kind.step.stream ? &kind : nullptr);
    if (prepared && curl_multi_add_handle(multi, kind.transfer.handle()) != CURLM_OK)
        prepared = base::Error{base::Errc::Internal, 0, "curl_multi_add_handle", ""};
    kind.running = prepared.has_value();
    if (!prepared) kind.reflector.done(std::move(prepared).error(), now);
}

void Watcher::Impl::take_finished() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* const handle = message->easy_handle;
        const int code = message->data.result;
        const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k->transfer.handle() == handle; });
        curl_multi_remove_handle(multi, handle);  // ends the message
        if (found == kinds.end()) continue;
        (*found)->running = false;
        (*found)->reflector.done((*found)->transfer.finish(code), std::chrono::steady_clock::now());
    }
}

void Watcher::Impl::publish(MonoTime now, bool force) {
    if (!force && now - published < kStatsAge) return;
    published = now;
    const std::lock_guard lock(mutex);
    for (size_t i = 0; i < kinds.size(); ++i) shared[i] = kinds[i]->reflector.stats();
}

void Watcher::Impl::run() {
    while (!stopping.load()) {
        MonoTime now = std::chrono::steady_clock::now();
        auto wait = std::chrono::nanoseconds(kStatsAge);
        bool newly_synced = false;
        for (const auto& kind : kinds) {
            if (kind->running) continue;
            if (!kind->planned) {
                kind->step = kind->reflector.next();
                kind->planned = true;
                newly_synced |= kind->step.stream;
            }
            if (kind->step.at <= now)
                begin(*kind, now);
            else
                wait = std::min<std::chrono::nanoseconds>(wait, kind->step.at - now);
        }
        publish(now, newly_synced);
        int running = 0;
        curl_multi_perform(multi, &running);
        take_finished();
        const bool idle = std::all_of(kinds.begin(), kinds.end(), [](const auto& k) { return k->running || k->planned; });
        if (!idle) continue;  // something ended: plan it before waiting
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
        curl_multi_poll(multi, nullptr, 0, static_cast<int>(std::clamp<int64_t>(ms, 1, kStatsAge.count())), nullptr);
    }
    for (const auto& kind : kinds)
        if (kind->running) curl_multi_remove_handle(multi, kind->transfer.handle());
    publish(std::chrono::steady_clock::now(), true);
}

Result<std::unique_ptr<Watcher>> Watcher::create(std::shared_ptr<Endpoint> endpoint, std::vector<WatchSpec> specs,
                                                 const ReflectorOptions& options, Handler& handler) {
    auto impl = std::make_unique<Impl>(options, specs.size());
    impl->multi = curl_multi_init();
    if (impl->multi == nullptr) return base::Error{base::Errc::Exhausted, 0, "", "no memory for a watcher"};
    // Each watch keeps its connection, and a list beside it needs another for a moment.
    curl_multi_setopt(impl->multi, CURLMOPT_MAXCONNECTS, static_cast<long>(2 * specs.size() + 2));
    for (size_t i = 0; i < specs.size(); ++i) {
        if (specs[i].resource.versions.empty()) return base::Error{base::Errc::Internal, 0, "", "a resource without versions"};
        impl->kinds.push_back(std::make_unique<Kind>(endpoint, i, std::move(specs[i]), impl->options, impl->random, handler));
    }
    return std::unique_ptr<Watcher>(new Watcher(std::move(impl)));
}

Watcher::Watcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Watcher::~Watcher() {
    stop();
    impl_->kinds.clear();  // handles before the multi they were in
    curl_multi_cleanup(impl_->multi);
}

void Watcher::start() {
    impl_->thread = std::thread([this] { impl_->run(); });
}

void Watcher::stop() {
    impl_->stopping.store(true);
    curl_multi_wakeup(impl_->multi);
    if (impl_->thread.joinable()) impl_->thread.join();
}

bool Watcher::synced() const {
    const std::lock_guard lock(impl_->mutex);
    return std::all_of(impl_->shared.begin(), impl_->shared.end(), [](const ReflectorStats& s) { return s.synced; });
}

std::vector<ReflectorStats> Watcher::stats() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->shared;
}

}  // namespace warren::kube
