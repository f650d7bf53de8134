// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/policy_status.h"

#include "agent/cluster/convert_authorization.h"
#include "agent/cluster/keys.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

namespace {

// Also how often a writer that does not lead looks whether it does.
constexpr auto kRetry = std::chrono::seconds(5);
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

// "Kubernetes: AuthorizationPolicy NS/NAME: WHY" or "AuthorizationPolicy NS/NAME: WHY": the object says itself who it is.
std::string without_name(const std::string& text, const AuthorizationPolicy& policy) {
    const std::string name = policy.meta.key() + ": ";
    const size_t at = text.find(name);
    return at == std::string::npos ? text : text.substr(at + name.size());
}

}  // namespace

std::optional<kube::Condition> policy_condition(const AuthorizationPolicy& policy, const Settings& settings) {
    const auto& labels = policy.meta.labels;
    if (policy.has_target || (has_label(labels, keys::kRevision) && label(labels, keys::kRevision) != settings.revision))
        return std::nullopt;
    Diagnostics problems;
    const bool enforced = convert_authorization(policy, settings, problems).has_value();
    kube::Condition out{"ZtunnelAccepted", enforced, "Accepted", "enforced by node proxies"};
    std::string text;
    for (const auto* lines : {&problems.errors(), &problems.warnings()})
        for (const std::string& line : *lines) text += (text.empty() ? "" : "; ") + without_name(line, policy);
    if (!enforced && text.empty()) text = "annotation istio.io/dry-run: the policy is not enforced";
    if (text.empty()) return out;
    out.reason = "UnsupportedValue";
    out.message = text.substr(0, kMaxMessage);
    return out;
}

PolicyStatusWriter::~PolicyStatusWriter() { stop(); }

void PolicyStatusWriter::start() {
    thread_ = std::thread([this] { run(); });
}

void PolicyStatusWriter::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void PolicyStatusWriter::update(const Objects& objects, std::span<const Change> changes, const Settings& settings) {
    const auto& policies = objects.authorization_policies;
    const auto concerns = [](const Change& c) { return c.kind == ObjectKind::AuthorizationPolicy; };
    if (!changes.empty() && std::none_of(changes.begin(), changes.end(), concerns)) return;
    const std::lock_guard lock(mutex_);
    if (changes.empty()) {
        std::set<std::string> now;
        for (const AuthorizationPolicy& policy : policies) now.insert(policy.meta.key());
        std::erase_if(wanted_, [&](const auto& entry) {
            return entry.first.first == ObjectKind::AuthorizationPolicy && now.count(entry.first.second) == 0;
        });
        for (const AuthorizationPolicy& policy : policies)
            want({ObjectKind::AuthorizationPolicy, policy.meta.key()}, policy.meta.uid, policy_condition(policy, settings));
    }
    for (const Change& change : changes) {
        if (!concerns(change)) continue;
        const Key key{change.kind, change.key};
        if (change.removed)
            wanted_.erase(key);
        else
            want(key, policies[change.at].meta.uid, policy_condition(policies[change.at], settings));
    }
    dirty_ = true;
    wake_.notify_one();
}

void PolicyStatusWriter::bound(std::vector<BoundChange> changes) {
    if (changes.empty()) return;
    const std::lock_guard lock(mutex_);
    for (BoundChange& change : changes) {
        kube::Condition condition{"istio.io/WaypointBound", false, "", "", !change.bound};
        if (change.bound) {
            condition.status = change.bound->bound;
            condition.reason = std::move(change.bound->reason);
            condition.message = change.bound->message.substr(0, kMaxMessage);
        }
        want({change.kind, std::move(change.key)}, change.uid, std::move(condition));
    }
    dirty_ = true;
    wake_.notify_one();
}

// Under the lock. What is wanted already stays as written as it is.
void PolicyStatusWriter::want(const Key& key, const std::string& uid, std::optional<kube::Condition> condition) {
    const auto at = wanted_.find(key);
    if (!condition) {
        if (at != wanted_.end()) wanted_.erase(at);
    } else if (at == wanted_.end() || !(at->second.condition == *condition && at->second.uid == uid)) {
        wanted_.insert_or_assign(key, Wanted{uid, std::move(*condition)});
    }
}

void PolicyStatusWriter::run() {
    std::unique_lock lock(mutex_);
    bool led = false;
    auto looked = std::chrono::steady_clock::now();
    while (!stopping_) {
        dirty_ = false;
        const bool leads = leading_();
        const auto now = std::chrono::steady_clock::now();
        const bool again = now - looked >= kLookAgain;
        if (again) looked = now;
        if (leads && (!led || again))
            for (auto& [key, wanted] : wanted_) wanted.written = false;  // another may have written since
        led = leads;
        if (leads) write_all(lock);
        wake_.wait_for(lock, kRetry, [this] { return stopping_ || dirty_; });
    }
}

void PolicyStatusWriter::write_all(std::unique_lock<std::mutex>& lock) {
    std::vector<std::pair<Key, Wanted>> todo;
    for (const auto& [key, wanted] : wanted_)
        if (!wanted.written) todo.emplace_back(key, wanted);
    for (const auto& [key, wanted] : todo) {
        if (stopping_) return;
        lock.unlock();
        const auto& [kind, name] = key;
        const size_t slash = name.find('/');
        const bool leads = leading_();
        auto done = leads
                        ? kube::write_condition(client_, resource_of(kind), name.substr(0, slash), name.substr(slash + 1), wanted.condition)
                        : base::Result<void>();
        lock.lock();
        if (!leads) return;
        if (!done) {
            ++stats_.errors;
            stats_.last_error = done.error().message();
            continue;
        }
        ++stats_.writes;
        const auto at = wanted_.find(key);
        if (at == wanted_.end() || !(at->second.condition == wanted.condition && at->second.uid == wanted.uid)) continue;
        at->second.written = true;
        if (wanted.condition.absent) wanted_.erase(at);
    }
}

PolicyStatusWriter::Stats PolicyStatusWriter::stats() const {
    const std::lock_guard lock(mutex_);
    Stats out = stats_;
    out.waiting = static_cast<size_t>(std::count_if(wanted_.begin(), wanted_.end(), [](const auto& w) { return !w.second.written; }));
    return out;
}

}  // namespace warren::cluster
