// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/status_writer.h"

#include "base/log.h"

#include <algorithm>
#include <iterator>

namespace warren::cluster {

namespace {

namespace log = base::log;

const log::Area kArea("kube");

// How often a writer looks whether it leads, and whether what failed may be tried again.
constexpr auto kLook = std::chrono::seconds(5);
constexpr auto kLookAgain = std::chrono::minutes(10);
constexpr size_t kMaxMessage = 1024;

// Of the kinds that are told something.
const kube::Resource& resource_of(ObjectKind kind) {
    static const kube::Resource policies{"security.istio.io", {"v1"}, "authorizationpolicies", "AuthorizationPolicy"};
    static const kube::Resource entries{"networking.istio.io", {"v1"}, "serviceentries", "ServiceEntry"};
    static const kube::Resource workloads{"networking.istio.io", {"v1"}, "workloadentries", "WorkloadEntry"};
    static const kube::Resource services{"", {"v1"}, "services", "Service"};
    switch (kind) {
        case ObjectKind::AuthorizationPolicy: return policies;
        case ObjectKind::ServiceEntry: return entries;
        case ObjectKind::WorkloadEntry: return workloads;
        default: return services;
    }
}

std::vector<kube::Condition> conditions_of(const std::vector<Told>& all) {
    std::vector<kube::Condition> out;
    for (const Told& told : all)
        out.push_back({std::string(to_string(told.type)), told.status, told.reason, told.message.substr(0, kMaxMessage)});
    return out;
}

std::vector<kube::Condition> conditions_of(const StatusChange& change) {
    std::vector<kube::Condition> out = conditions_of(change.told);
    for (size_t i = 0; i < kConditionTypes.size(); ++i)
        if ((change.gone & set_of(static_cast<ConditionType>(i))) != 0)
            out.push_back({.type = std::string(kConditionTypes[i]), .reason = {}, .message = {}, .absent = true});
    return out;
}

kube::GatewayStatus gateway_status_of(const std::vector<kube::Condition>& conditions, const GatewayDetails& details) {
    kube::GatewayStatus out;
    std::copy_if(conditions.begin(), conditions.end(), std::back_inserter(out.conditions), [](const auto& c) { return !c.absent; });
    for (const GatewayAddress& address : details.addresses)
        out.addresses.emplace_back(address.is_hostname ? "Hostname" : "IPAddress", address.value);
    for (const auto& listener : details.listeners) out.listeners.push_back({listener.name, conditions_of(listener.told)});
    return out;
}

}  // namespace

StatusWriter::~StatusWriter() { stop(); }

void StatusWriter::start() {
    thread_ = std::thread([this] { run(); });
}

void StatusWriter::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void StatusWriter::update(std::vector<StatusChange> changes) {
    if (changes.empty()) return;
    const std::lock_guard lock(mutex_);
    for (StatusChange& change : changes) want(std::move(change));
    dirty_ = true;
    wake_.notify_one();
}

// Under the lock.
void StatusWriter::want(StatusChange&& change) {
    Key key{change.kind, change.key};
    const auto held = wanted_.find(key);
    if (change.removed) {
        if (held != wanted_.end()) wanted_.erase(held);
        return;
    }
    Wanted now;
    now.uid = change.uid;
    now.generation = change.generation;
    now.conditions = conditions_of(change);
    now.gateway = std::move(change.gateway);
    now.version = ++versions_;
    if (held != wanted_.end() && held->second.uid == change.uid) {
        // What was to go and may not have gone yet.
        for (const kube::Condition& before : held->second.conditions) {
            const auto same = [&](const kube::Condition& c) { return c.type == before.type; };
            if (before.absent && std::none_of(now.conditions.begin(), now.conditions.end(), same)) now.conditions.push_back(before);
        }
    }
    wanted_.insert_or_assign(std::move(key), std::move(now));
}

void StatusWriter::run() {
    std::unique_lock lock(mutex_);
    bool led = false;
    auto looked = Clock::now();
    while (!stopping_) {
        dirty_ = false;
        const bool leads = leading_();
        const auto now = Clock::now();
        const bool again = now - looked >= kLookAgain;
        if (again) looked = now;
        if (leads && (!led || again)) {
            for (auto& [key, wanted] : wanted_) wanted.written = false;  // another may have written since
        }
        led = leads;
        if (leads) write_all(lock);
        wake_.wait_for(lock, kLook, [this] { return stopping_ || dirty_; });
    }
}

void StatusWriter::write_all(std::unique_lock<std::mutex>& lock) {
    std::vector<std::pair<Key, Wanted>> todo;
    const auto now = Clock::now();
    for (const auto& [key, wanted] : wanted_)
        if (!wanted.written && wanted.not_before <= now) todo.emplace_back(key, wanted);
    for (const auto& [key, wanted] : todo) {
        if (stopping_) return;
        lock.unlock();
        const bool leads = leading_();
        const auto done = leads ? write(key, wanted) : base::Result<kube::Applied>(kube::Applied::Unchanged);
        lock.lock();
        if (!leads) return;
        wrote(key, wanted.version, done);
    }
}

base::Result<kube::Applied> StatusWriter::write(const Key& key, const Wanted& wanted) {
    const auto& [kind, name] = key;
    const size_t slash = name.find('/');
    const kube::Subject subject{name.substr(0, slash), name.substr(slash + 1), wanted.uid, wanted.generation};
    if (kind == ObjectKind::Gateway)
        return kube::write_gateway_status(client_, subject, gateway_status_of(wanted.conditions, wanted.gateway));
    const bool written = TRY(kube::write_conditions(client_, resource_of(kind), subject, wanted.conditions));
    return written ? kube::Applied::Written : kube::Applied::Unchanged;
}

// Under the lock.
void StatusWriter::wrote(const Key& key, uint64_t version, const base::Result<kube::Applied>& done) {
    if (done) {
        stats_.writes += *done == kube::Applied::Written ? 1 : 0;
        stats_.left += *done == kube::Applied::Left ? 1 : 0;
    } else {
        ++stats_.errors;
        stats_.last_error = done.error().message();
        if (!failing_)
            WARREN_LOG(kArea, log::Level::Warn, "cannot write the status of an object; tried again", {"object", key.second},
                       {"error", stats_.last_error});
    }
    failing_ = !done;
    const auto at = wanted_.find(key);
    if (at == wanted_.end() || at->second.version != version) return;
    Wanted& wanted = at->second;
    if (!done) {
        wanted.not_before = Clock::now() + wanted.backoff.next(random_);
        return;
    }
    wanted.written = true;
    wanted.backoff.reset();
    std::erase_if(wanted.conditions, [](const kube::Condition& c) { return c.absent; });
    if (wanted.conditions.empty()) wanted_.erase(at);
}

StatusWriter::Stats StatusWriter::stats() const {
    const std::lock_guard lock(mutex_);
    Stats out = stats_;
    out.waiting = static_cast<size_t>(std::count_if(wanted_.begin(), wanted_.end(), [](const auto& w) { return !w.second.written; }));
    return out;
}

}  // namespace warren::cluster
