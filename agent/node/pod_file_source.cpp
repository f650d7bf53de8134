// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_file_source.h"

#include "agent/node/pod_fields.h"
#include "base/fd.h"
#include "base/log.h"
#include "policy/document.h"
#include "policy/document_yaml.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("pods");

// Editors write in pieces; what was read half is refused, kept out, and read again at the next piece.
constexpr auto kSettle = std::chrono::milliseconds(3);
constexpr size_t kMaxFileBytes = size_t{8} << 20;

base::Result<std::string> read_file(const std::string& path) {
    const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) return base::os_error("open", path);
    std::string text;
    std::array<char, 65536> piece{};
    for (;;) {
        const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::os_error("read", path);
        if (n == 0) return text;
        text.append(piece.data(), static_cast<size_t>(n));
        if (text.size() > kMaxFileBytes) return base::invalid(path + " is larger than 8 MiB; a node has some hundred pods");
    }
}

}  // namespace

base::Result<std::vector<PodPtr>> pods_from_yaml(std::string_view text, std::string_view name, bool dns_capture) {
    std::vector<PodPtr> pods;
    const policy::Document document = TRY(policy::document_from_yaml(text, name));
    std::set<std::string> uids;
    for (const policy::Node node : TRY(pod_nodes(document.root()))) {
        if (pods.size() == kMaxPodsOfFile)
            return node.refuse("more than " + std::to_string(kMaxPodsOfFile) + " pods; a node has some hundreds");
        Pod pod = TRY(read_pod(node, dns_capture));
        if (!uids.insert(pod.uid).second) return node.refuse("a pod above has the same uid '" + pod.uid + "'; give each its own");
        pods.push_back(std::make_shared<const Pod>(std::move(pod)));
    }
    return pods;
}

base::Result<void> PodFileSource::start(PodEvents& events) {
    events_ = &events;
    watcher_ = TRY(base::FileWatcher::create({.settle = kSettle, .look = std::chrono::seconds(5), .max_files = 1}));
    watch_ = TRY(watcher_->watch(path_, [this] { load(); }));
    load();
    return {};
}

void PodFileSource::load() {
    const std::lock_guard one(load_mutex_);
    auto text = read_file(path_);
    auto pods = text ? pods_from_yaml(*text, path_, dns_capture_) : base::Result<std::vector<PodPtr>>(text.error());
    {
        const std::lock_guard lock(mutex_);
        ++(pods ? status_.loads : status_.failures);
        status_.error.reset();
        if (pods)
            status_.pods = pods->size();
        else
            status_.error = pods.error().message();
    }
    if (!pods) {
        WARREN_LOG(kArea, base::log::Level::Error, "the file of pods does not read: its last good state stays in force",
                   {"error", pods.error().message()});
        return;
    }
    apply(std::move(*pods));
}

void PodFileSource::apply(std::vector<PodPtr> pods) {
    std::map<std::string, PodPtr> now;
    for (PodPtr& pod : pods) now.emplace(pod->uid, std::move(pod));
    // Those that go first: a namespace or an address may pass from one uid to another.
    for (const auto& [uid, pod] : pods_)
        if (!now.contains(uid)) events_->pod_removed(uid);
    for (const auto& [uid, pod] : now) {
        const auto old = pods_.find(uid);
        if (old == pods_.end() || !(*old->second == *pod)) events_->pod_changed(pod);
    }
    pods_ = std::move(now);
    if (!std::exchange(synced_, true)) events_->pods_synced();
}

PodFileSource::Status PodFileSource::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

}  // namespace warren::node
