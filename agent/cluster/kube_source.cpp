// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/kube_source.h"

#include "agent/cluster/diagnostics.h"
#include "agent/kube/watcher.h"
#include "base/log.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace warren::cluster {

using base::Result;
namespace log = base::log;

namespace {

const log::Area kArea("kube");

using Clock = std::chrono::steady_clock;
using Key = std::pair<ObjectKind, std::string>;  // "NS/NAME"

}  // namespace

std::vector<kube::WatchSpec> KubeSource::specs() {
    const std::vector<std::string> istio = {"v1", "v1beta1", "v1alpha3"}, policies = {"v1", "v1beta1"};
    const std::string network = "networking.istio.io", gateway = "gateway.networking.k8s.io", security = "security.istio.io";
    std::vector<kube::WatchSpec> out(kObjectKinds);
    const auto set = [&](ObjectKind kind, kube::WatchSpec spec) { out[static_cast<size_t>(kind)] = std::move(spec); };
    set(ObjectKind::Pod, {{"", {"v1"}, "pods", "Pod"}, "", "status.phase!=Failed"});
    // Of nodes and namespaces only labels count, and a node's status is large and changes often.
    set(ObjectKind::Node, {.resource = {"", {"v1"}, "nodes", "Node", false}, .metadata_only = true});
    set(ObjectKind::Namespace, {.resource = {"", {"v1"}, "namespaces", "Namespace", false}, .metadata_only = true});
    set(ObjectKind::Service, {{"", {"v1"}, "services", "Service"}});
    set(ObjectKind::EndpointSlice, {{"discovery.k8s.io", {"v1"}, "endpointslices", "EndpointSlice"}});
    set(ObjectKind::WorkloadEntry, {{network, istio, "workloadentries", "WorkloadEntry"}});
    set(ObjectKind::ServiceEntry, {{network, istio, "serviceentries", "ServiceEntry"}});
    set(ObjectKind::Gateway, {{gateway, policies, "gateways", "Gateway"}});
    set(ObjectKind::GatewayClass, {.resource = {gateway, policies, "gatewayclasses", "GatewayClass", false}, .metadata_only = true});
    set(ObjectKind::AuthorizationPolicy, {{security, policies, "authorizationpolicies", "AuthorizationPolicy"}});
    set(ObjectKind::PeerAuthentication, {{security, policies, "peerauthentications", "PeerAuthentication"}});
    return out;
}

struct KubeSource::Impl final : kube::Handler {
    explicit Impl(KubeSourceOptions o) : options(o) {}

    // The watcher's thread.
    void upsert(size_t kind, kube::Object object) override;
    void remove(size_t kind, const std::string& key) override;
    void synced(size_t kind, bool missing) override;
    void problem(size_t kind, const std::string& text) override;

    // The source's thread.
    void run();
    void wait_for_work(std::unique_lock<std::mutex>& lock, Clock::time_point last);
    void apply(std::map<Key, ReadObject>& taken, std::map<Key, kube::Object>& unread, std::vector<Change>& changes);
    void deliver(std::vector<Change>& changes);

    const KubeSourceOptions options;
    std::unique_ptr<kube::Watcher> watcher;
    SourceHandler* handler = nullptr;
    std::thread thread;

    ObjectStore store;  // of the source's thread

    mutable std::mutex mutex;  // all below
    std::condition_variable wake;
    bool stopping = false;
    // What came since the source's thread looked, by object: bounded by how many objects there are. Without objects and errors: gone.
    std::map<Key, ReadObject> pending;
    std::map<Key, kube::Object> pending_unread;  // their text, for those that could not be read
    std::vector<bool> kind_synced = std::vector<bool>(kObjectKinds, false);
    size_t kinds_synced = 0;
    bool publishable = false;
    uint64_t deliveries = 0;
    std::map<Key, std::vector<std::string>> errors;  // of objects, at present
    std::map<std::string, size_t> counts;
};

void KubeSource::Impl::upsert(size_t index, kube::Object object) {
    const auto kind = static_cast<ObjectKind>(index);
    Key key(kind, object.key());
    ReadObject read = read_kube_object(kind, object);
    const bool bad = !read.errors.empty();
    const std::lock_guard lock(mutex);
    if (bad)
        pending_unread.insert_or_assign(key, std::move(object));
    else
        pending_unread.erase(key);
    pending.insert_or_assign(std::move(key), std::move(read));
    wake.notify_one();
}

void KubeSource::Impl::remove(size_t index, const std::string& key) {
    const std::lock_guard lock(mutex);
    const Key whole(static_cast<ObjectKind>(index), key);
    pending_unread.erase(whole);
    pending.insert_or_assign(whole, ReadObject{});
    wake.notify_one();
}

void KubeSource::Impl::synced(size_t index, bool missing) {
    const std::lock_guard lock(mutex);
    if (!kind_synced[index]) {
        kind_synced[index] = true;
        ++kinds_synced;
        WARREN_LOG(kArea, log::Level::Info, missing ? "kind is not installed, waiting for it" : "kind listed",
                   {"kind", log::Plain{to_string(static_cast<ObjectKind>(index))}});
    }
    wake.notify_one();
}

void KubeSource::Impl::problem(size_t index, const std::string& text) {
    WARREN_LOG(kArea, log::Level::Warn, "problem with the API server", {"kind", log::Plain{to_string(static_cast<ObjectKind>(index))}},
               {"error", text});
}

void KubeSource::Impl::wait_for_work(std::unique_lock<std::mutex>& lock, Clock::time_point last) {
    // A wait without an end would need every way of waking to be right; this one costs nothing.
    constexpr auto kLook = std::chrono::seconds(1);
    const auto work = [this] { return stopping || !pending.empty() || (!publishable && kinds_synced == kObjectKinds); };
    while (!work()) wake.wait_for(lock, kLook);
    if (stopping || kinds_synced != kObjectKinds) return;
    const auto ready = std::max(Clock::now() + options.settle, last + options.interval);
    while (!stopping && Clock::now() < ready) wake.wait_until(lock, ready);
}

void KubeSource::Impl::run() {
    std::vector<Change> changes;
    Clock::time_point last{};
    std::unique_lock lock(mutex);
    while (!stopping) {
        wait_for_work(lock, last);
        if (stopping) break;
        auto taken = std::exchange(pending, {});
        auto unread = std::exchange(pending_unread, {});
        const bool whole = kinds_synced == kObjectKinds;
        const bool first = whole && !publishable;
        lock.unlock();
        apply(taken, unread, changes);
        if (first || !whole) changes.clear();  // all of it is new to the handler
        if (first || (whole && !changes.empty())) {
            last = Clock::now();
            deliver(changes);
        }
        lock.lock();
        publishable = publishable || whole;
    }
}

void KubeSource::Impl::apply(std::map<Key, ReadObject>& taken, std::map<Key, kube::Object>& unread, std::vector<Change>& changes) {
    for (auto& [key, read] : taken) {
        const auto& [kind, name] = key;
        const auto text = unread.find(key);
        if (text != unread.end()) {
            for (std::string& error : read.errors) WARREN_LOG(kArea, log::Level::Warn, "object not taken", {"error", error});
            const bool known = store.contains(kind, name);
            if (!known) read.fragment = strictest_reading(kind, text->second).fragment;
            const bool strict = !known && store.upsert(kind, read.fragment);
            if (strict) changes.push_back({kind, name});
            for (std::string& error : read.errors)
                error += known ? " (its earlier version stays in force)" : strict ? " (until then it lets nothing through)" : " (left out)";
        } else if (store.holds(kind, read.fragment)) {
            continue;  // nothing that is read of it
        } else if (store.upsert(kind, read.fragment)) {
            changes.push_back({kind, name});
        } else if (store.remove(kind, name)) {
            changes.push_back({.kind = kind, .key = name, .removed = true});
        }
    }
    const std::lock_guard lock(mutex);
    for (auto& [key, read] : taken) {
        if (read.errors.empty())
            errors.erase(key);
        else
            errors.insert_or_assign(key, std::move(read.errors));
    }
    for (size_t i = 0; i < kObjectKinds; ++i) {
        const auto kind = static_cast<ObjectKind>(i);
        counts.insert_or_assign(std::string(to_string(kind)), store.count(kind));
    }
}

void KubeSource::Impl::deliver(std::vector<Change>& changes) {
    for (Change& change : changes)
        if (!change.removed) change.at = store.position(change.kind, change.key);
    handler->changed(store.objects(), changes);
    changes.clear();
    const std::lock_guard lock(mutex);
    ++deliveries;
}

Result<std::unique_ptr<KubeSource>> KubeSource::create(std::shared_ptr<kube::Endpoint> endpoint, const KubeSourceOptions& options) {
    auto impl = std::make_unique<Impl>(options);
    impl->watcher = TRY(kube::Watcher::create(std::move(endpoint), specs(), options.watch, *impl));
    return std::unique_ptr<KubeSource>(new KubeSource(std::move(impl)));
}

KubeSource::KubeSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

KubeSource::~KubeSource() { stop(); }

void KubeSource::start(SourceHandler& handler) {
    impl_->handler = &handler;
    impl_->thread = std::thread([this] { impl_->run(); });
    impl_->watcher->start();
}

void KubeSource::stop() {
    impl_->watcher->stop();
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->wake.notify_all();
    if (impl_->thread.joinable()) impl_->thread.join();
}

SourceStatus KubeSource::status() const {
    SourceStatus out;
    const auto add = [&](std::string text) {
        if (++out.error_count <= Diagnostics::kMaxKept) out.errors.push_back(std::move(text));
    };
    const auto stats = impl_->watcher->stats();
    for (size_t i = 0; i < stats.size(); ++i) {
        const kube::ReflectorStats& s = stats[i];
        if (!s.last_error.empty()) add(std::string(to_string(static_cast<ObjectKind>(i))) + ": " + s.last_error);
        out.counters["lists"] += s.lists;
        out.counters["watches"] += s.watches;
        out.counters["events"] += s.events;
        out.counters["expired"] += s.gone;
        out.counters["errors"] += s.errors;
        out.counters["malformed"] += s.malformed;
    }
    const std::lock_guard lock(impl_->mutex);
    for (const auto& [key, texts] : impl_->errors)
        for (const std::string& text : texts) add(text);
    out.synced = impl_->publishable;
    out.deliveries = impl_->deliveries;
    out.objects = impl_->counts;
    return out;
}

}  // namespace warren::cluster
