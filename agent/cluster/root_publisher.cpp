// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/root_publisher.h"

#include "agent/kube/watcher.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

namespace warren::cluster {

using base::Result;
using nlohmann::json;

namespace {

constexpr auto kRetry = std::chrono::seconds(5);  // also how often one that does not lead looks whether it does
constexpr size_t kNamespaces = 0, kConfigMaps = 1;
constexpr std::string_view kManager = "warren-controller";
constexpr std::string_view kNever[] = {"kube-public", "kube-node-lease", "local-path-storage"};

const kube::Resource kConfigMap{"", {"v1"}, "configmaps", "ConfigMap"};

LabelMap labels_of(const json& object) {
    LabelMap out;
    const json meta = object.value("metadata", json::object());
    const json labels = meta.value("labels", json::object());
    for (const auto& [key, value] : labels.items())
        if (value.is_string()) out.emplace(key, value.get<std::string>());
    return out;
}

}  // namespace

struct RootPublisher::Impl final : kube::Handler {
    Impl(kube::Client& c, RootPublisherOptions o, std::function<bool()> l) : client(c), options(std::move(o)), leading(std::move(l)) {}

    void upsert(size_t kind, kube::Object object) override;
    void remove(size_t kind, const std::string& key) override;
    void synced(size_t kind, bool) override {
        const std::lock_guard lock(mutex);
        listed[kind] = true;
        look();
    }
    void look() {  // under the mutex
        dirty = true;
        wake.notify_one();
    }

    void run();
    void write_all(std::unique_lock<std::mutex>& lock);
    [[nodiscard]] std::vector<std::string> wrong() const;  // under the mutex
    [[nodiscard]] std::string object(const std::string& ns, const std::string& pem) const;

    kube::Client& client;
    const RootPublisherOptions options;
    const std::function<bool()> leading;
    std::unique_ptr<kube::Watcher> watcher;
    std::thread thread;

    mutable std::mutex mutex;  // all below
    std::condition_variable wake;
    bool stopping = false;
    bool dirty = false;
    std::array<bool, 2> listed{};
    std::optional<std::string> root;
    std::set<std::string> namespaces;          // that count
    std::map<std::string, std::string> texts;  // what the ConfigMap says, by namespace
    std::string writing;                       // the namespace of the write under way
    bool told = false;                         // the watch has spoken of it meanwhile
    Stats stats;
};

void RootPublisher::Impl::upsert(size_t kind, kube::Object object) {
    const json parsed = json::parse(object.json, nullptr, false);
    if (!parsed.is_object()) return;
    const std::lock_guard lock(mutex);
    if (kind == kConfigMaps) {
        const json data = parsed.value("data", json::object());
        const std::string text = data.is_object() && data.contains(options.key) && data[options.key].is_string() ? data[options.key] : "";
        texts[object.ns] = text;
        told = told || object.ns == writing;
    } else {
        const LabelMap labels = labels_of(parsed);
        const bool counts = std::find(std::begin(kNever), std::end(kNever), object.name) == std::end(kNever) &&
                            (options.discovery.empty() || std::any_of(options.discovery.begin(), options.discovery.end(),
                                                                      [&](const LabelSelector& s) { return s.matches(labels); }));
        // One that is being removed takes no new objects.
        if (counts && !parsed.value("metadata", json::object()).contains("deletionTimestamp"))
            namespaces.insert(object.name);
        else
            namespaces.erase(object.name);
    }
    look();
}

void RootPublisher::Impl::remove(size_t kind, const std::string& key) {
    const size_t slash = key.find('/');
    const std::lock_guard lock(mutex);
    if (kind == kNamespaces) {
        namespaces.erase(key.substr(slash + 1));
        texts.erase(key.substr(slash + 1));
    } else {
        texts.erase(key.substr(0, slash));
        told = told || key.substr(0, slash) == writing;
    }
    look();
}

std::vector<std::string> RootPublisher::Impl::wrong() const {
    std::vector<std::string> out;
    if (!listed[kNamespaces] || !listed[kConfigMaps] || !root) return out;
    for (const std::string& ns : namespaces)
        if (const auto at = texts.find(ns); at == texts.end() || at->second != *root) out.push_back(ns);
    return out;
}

std::string RootPublisher::Impl::object(const std::string& ns, const std::string& pem) const {
    return json{{"apiVersion", "v1"},
                {"kind", "ConfigMap"},
                {"metadata", {{"name", options.name}, {"namespace", ns}, {"labels", {{"istio.io/config", "true"}}}}},
                {"data", {{options.key, pem}}}}
        .dump(-1, ' ', false, json::error_handler_t::replace);
}

void RootPublisher::Impl::run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
        dirty = false;
        if (leading()) write_all(lock);
        wake.wait_for(lock, kRetry, [this] { return stopping || dirty; });
    }
}

void RootPublisher::Impl::write_all(std::unique_lock<std::mutex>& lock) {
    for (const std::string& ns : wrong()) {
        if (stopping) return;
        // It may have gone since the list was made; the root may be another one.
        if (!namespaces.contains(ns)) continue;
        const std::string pem = *root;
        writing = ns;
        told = false;
        lock.unlock();
        const bool leads = leading();
        auto done = leads ? client.apply(kube::object_path(kConfigMap, ns, options.name), object(ns, pem), kManager)
                          : Result<std::string>(std::string());
        lock.lock();
        writing.clear();
        if (!leads) return;
        // A namespace that has gone, or goes, is no trouble: its removal is on its way.
        if (!done && done.error().code != base::Errc::NotFound) {
            ++stats.errors;
            stats.last_error = done.error().message();
        } else if (done) {
            ++stats.writes;
            // The watch will say the same in a moment; what it has said already may be of somebody's edit after ours, and counts.
            if (!told && namespaces.contains(ns)) texts[ns] = pem;
        }
    }
}

Result<std::unique_ptr<RootPublisher>> RootPublisher::create(kube::Client& client, RootPublisherOptions options,
                                                             std::function<bool()> leading) {
    auto impl = std::make_unique<Impl>(client, std::move(options), std::move(leading));
    std::vector<kube::WatchSpec> specs(2);
    specs[kNamespaces] = {.resource = {"", {"v1"}, "namespaces", "Namespace", false}, .metadata_only = true};
    specs[kConfigMaps] = {kConfigMap, "", "metadata.name=" + impl->options.name};
    impl->watcher = TRY(kube::Watcher::create(client.endpoint(), std::move(specs), impl->options.watch, *impl));
    return std::unique_ptr<RootPublisher>(new RootPublisher(std::move(impl)));
}

RootPublisher::RootPublisher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RootPublisher::~RootPublisher() { stop(); }

void RootPublisher::start() {
    impl_->thread = std::thread([this] { impl_->run(); });
    impl_->watcher->start();
}

void RootPublisher::stop() {
    impl_->watcher->stop();
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->wake.notify_all();
    if (impl_->thread.joinable()) impl_->thread.join();
}

void RootPublisher::set_root(std::string pem) {
    const std::lock_guard lock(impl_->mutex);
    impl_->root = std::move(pem);
    impl_->look();
}

RootPublisher::Stats RootPublisher::stats() const {
    const std::lock_guard lock(impl_->mutex);
    Stats out = impl_->stats;
    out.namespaces = impl_->namespaces.size();
    out.waiting = impl_->wrong().size();
    return out;
}

}  // namespace warren::cluster
