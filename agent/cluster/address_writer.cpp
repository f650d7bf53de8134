// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/address_writer.h"

#include "agent/cluster/keys.h"
#include "base/log.h"

#include <nlohmann/json.hpp>

namespace warren::cluster {

namespace {

namespace log = base::log;
using nlohmann::json;

const log::Area kArea("kube");
// How often the writer looks whether it leads, and whether what failed may be tried again.
constexpr auto kLook = std::chrono::seconds(5);

const kube::Resource& entries() {
    static const kube::Resource out{"networking.istio.io", {"v1"}, "serviceentries", "ServiceEntry"};
    return out;
}

}  // namespace

AddressWriter::AddressWriter(kube::Client& client, std::function<bool()> leading, AddressRanges ranges, std::string revision)
    : client_(client), leading_(std::move(leading)), revision_(std::move(revision)), allocator_(ranges) {}

AddressWriter::~AddressWriter() { stop(); }

void AddressWriter::start() {
    thread_ = std::thread([this] { run(); });
}

void AddressWriter::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

// Under the lock.
void AddressWriter::put(const ServiceEntry& entry) {
    const bool ours = !has_label(entry.meta.labels, keys::kRevision) || label(entry.meta.labels, keys::kRevision) == revision_;
    if (ours)
        allocator_.put(entry);
    else
        allocator_.remove(entry.meta.key());
}

void AddressWriter::update(const Objects& objects, std::span<const Change> changes) {
    const std::lock_guard lock(mutex_);
    if (changes.empty()) {
        allocator_.clear();
        for (const ServiceEntry& entry : objects.service_entries) put(entry);
    }
    for (const Change& change : changes) {
        if (change.kind != ObjectKind::ServiceEntry) continue;
        if (change.removed)
            allocator_.remove(change.key);
        else
            put(objects.service_entries[change.at]);
    }
    std::erase_if(again_, [&](const auto& one) { return !allocator_.lacking().contains(one.first); });
    if (allocator_.lacking().empty()) return;
    dirty_ = true;
    wake_.notify_one();
}

void AddressWriter::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        dirty_ = false;
        if (leading_()) write_all(lock);
        wake_.wait_for(lock, kLook, [this] { return stopping_ || dirty_; });
    }
}

void AddressWriter::write_all(std::unique_lock<std::mutex>& lock) {
    const auto now = Clock::now();
    std::vector<std::string> todo;
    for (const std::string& key : allocator_.lacking())
        if (const auto at = again_.find(key); at == again_.end() || at->second.not_before <= now) todo.push_back(key);
    for (const std::string& key : todo) {
        if (stopping_ || !leading_()) return;
        if (!allocator_.lacking().contains(key)) continue;  // while another was written
        const auto assignment = allocator_.assign(key);
        if (!assignment) {
            failed(key, assignment.error());
            continue;
        }
        lock.unlock();
        const auto done = write(*assignment);
        lock.lock();
        if (!done) {
            failed(key, done.error());
            continue;
        }
        failing_ = false;
        stats_.writes += *done ? 1 : 0;
        again_.erase(key);
        allocator_.written(*assignment);
    }
}

// The list is ours as a whole, so no version is asked for; the object has to be the same one. False: it is gone or another one, and the
// watch is about to say so.
base::Result<bool> AddressWriter::write(const AddressAllocator::Assignment& assignment) {
    json addresses = json::array();
    for (const auto& [host, ip] : assignment.addresses) addresses.push_back({{"value", ip.to_string()}, {"host", host}});
    json patch = {{"status", {{"addresses", std::move(addresses)}}}};
    if (!assignment.uid.empty()) patch["metadata"] = {{"uid", assignment.uid}};
    const size_t slash = assignment.key.find('/');
    auto done = client_.merge(kube::object_path(entries(), assignment.key.substr(0, slash), assignment.key.substr(slash + 1), "status"),
                              patch.dump(-1, ' ', false, json::error_handler_t::replace));
    if (!done && done.error().code != base::Errc::NotFound && done.error().code != base::Errc::Exists) return std::move(done).error();
    return done.has_value();
}

// Under the lock.
void AddressWriter::failed(const std::string& key, const base::Error& why) {
    ++stats_.errors;
    stats_.last_error = why.message();
    if (!failing_)
        WARREN_LOG(kArea, log::Level::Warn, "cannot give the hosts of a ServiceEntry addresses; tried again", {"object", key},
                   {"error", stats_.last_error});
    failing_ = true;
    Again& again = again_[key];
    again.not_before = Clock::now() + again.backoff.next(random_);
}

AddressWriter::Stats AddressWriter::stats() const {
    const std::lock_guard lock(mutex_);
    Stats out = stats_;
    out.waiting = allocator_.lacking().size();
    out.taken = allocator_.taken();
    return out;
}

}  // namespace warren::cluster
