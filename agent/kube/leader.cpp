// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/leader.h"

#include "agent/kube/json_text.h"

#include <nlohmann/json.hpp>

namespace warren::kube {

using base::MonoTime;
using base::Result;
using nlohmann::json;

namespace {

const Resource kLease{"coordination.k8s.io", {"v1"}, "leases", "Lease"};

int64_t ns_of(MonoTime time) { return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count(); }

}  // namespace

Result<LeaseRecord> parse_lease(std::string_view text) {
    TRY(check_depth(text));
    try {
        const json root = json::parse(text);
        const json spec = root.value("spec", json::object());
        LeaseRecord out;
        // null is what a released lease may have.
        const auto word = [&](const char* key) { return spec.contains(key) && spec[key].is_string() ? spec[key].get<std::string>() : ""; };
        const auto number = [&](const char* key) {
            return spec.contains(key) && spec[key].is_number_integer() ? spec[key].get<int64_t>() : 0;
        };
        out.holder = word("holderIdentity");
        out.renew_time = word("renewTime");
        out.acquire_time = word("acquireTime");
        out.duration_s = number("leaseDurationSeconds");
        out.transitions = number("leaseTransitions");
        out.resource_version = root.at("metadata").at("resourceVersion").get<std::string>();
        return out;
    } catch (const std::exception& e) {
        return base::invalid(std::string("not a Lease: ") + e.what());
    }
}

std::string lease_json(const std::string& ns, const std::string& name, const LeaseRecord& record) {
    json out = {
        {"apiVersion", "coordination.k8s.io/v1"},
        {"kind", "Lease"},
        {"metadata", {{"namespace", ns}, {"name", name}}},
        {"spec",
         {{"holderIdentity", record.holder}, {"leaseDurationSeconds", record.duration_s}, {"leaseTransitions", record.transitions}}}};
    if (!record.resource_version.empty()) out["metadata"]["resourceVersion"] = record.resource_version;
    if (!record.renew_time.empty()) out["spec"]["renewTime"] = record.renew_time;
    if (!record.acquire_time.empty()) out["spec"]["acquireTime"] = record.acquire_time;
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

LeaderElection::LeaderElection(Client& client, LeaderOptions options, std::function<void(bool)> changed)
    : client_(client), options_(std::move(options)), changed_(std::move(changed)) {}

LeaderElection::~LeaderElection() { stop(); }

void LeaderElection::start() {
    thread_ = std::thread([this] { run(); });
}

void LeaderElection::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

bool LeaderElection::leading() const { return ns_of(std::chrono::steady_clock::now()) < leads_until_ns_.load(); }

LeaderStats LeaderElection::stats() const {
    const std::lock_guard lock(mutex_);
    LeaderStats out = stats_;
    out.leading = leading();
    return out;
}

std::string LeaderElection::path(bool collection) const {
    return collection ? collection_path(kLease, "v1", options_.ns) : object_path(kLease, options_.ns, options_.name);
}

void LeaderElection::set(bool leading) {
    bool before = false;
    {
        const std::lock_guard lock(mutex_);
        before = std::exchange(stats_.leading, leading);
        if (leading != before) ++(leading ? stats_.acquired : stats_.lost);
    }
    if (leading != before && changed_) changed_(leading);
}

void LeaderElection::run() {
    base::RandomEngine random = base::make_random_engine();
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        const MonoTime began = std::chrono::steady_clock::now();
        const auto held = attempt(began);
        if (held && *held) leads_until_ns_.store(ns_of(began + options_.renew_deadline));
        if (held && !*held) leads_until_ns_.store(0);
        set(leading());
        lock.lock();
        stats_.last_error = held ? "" : held.error().message();
        if (!held) ++stats_.errors;
        // After an error a leader tries again soon, and must notice the end of its time by itself.
        std::chrono::nanoseconds wait = options_.retry;
        if (!held && stats_.leading) wait = std::min<std::chrono::nanoseconds>(wait / 4, std::chrono::seconds(2));
        wait = std::chrono::nanoseconds(std::uniform_int_distribution<int64_t>(wait.count() * 4 / 5, wait.count())(random));
        wake_.wait_for(lock, wait, [this] { return stopping_; });
    }
    lock.unlock();
    if (leading()) release();
    leads_until_ns_.store(0);
    set(false);
}

// True: the lease is ours.
Result<bool> LeaderElection::attempt(MonoTime now) {
    const Request get{.path = path(false)};
    const Reply reply = TRY(client_.exchange(get));
    const std::string time = base::to_rfc3339(std::chrono::system_clock::now(), 6);
    const int64_t seconds = std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(options_.lease).count());
    if (reply.status == 404) return write(Method::Post, {options_.identity, seconds, time, time, 0, ""});
    if (!reply.ok()) return error_of(get, reply);
    LeaseRecord found = TRY(parse_lease(reply.body));
    {
        const std::lock_guard lock(mutex_);
        stats_.holder = found.holder;
    }
    if (found.resource_version != seen_.resource_version) {
        seen_ = found;
        seen_at_ = now;
    }
    const bool ours = found.holder == options_.identity;
    const auto duration =
        std::max<std::chrono::nanoseconds>(options_.lease, std::chrono::seconds(std::min<int64_t>(found.duration_s, 3600)));
    if (!ours && !found.holder.empty() && now - seen_at_ < duration) return false;
    if (!ours) {
        ++found.transitions;
        found.acquire_time = time;
        found.holder = options_.identity;
    }
    found.renew_time = time;
    found.duration_s = seconds;
    return write(Method::Put, std::move(found));
}

// The version in the record makes sure that nobody wrote in between.
Result<bool> LeaderElection::write(Method method, LeaseRecord record) {
    const Request request{method, path(method == Method::Post), lease_json(options_.ns, options_.name, record)};
    const Reply reply = TRY(client_.exchange(request));
    if (reply.status == 409) return false;  // another was faster
    if (!reply.ok()) return error_of(request, reply);
    return true;
}

void LeaderElection::release() {
    const auto body = client_.get(path(false));
    auto record = body ? parse_lease(*body) : Result<LeaseRecord>(base::invalid(""));
    if (!record || record->holder != options_.identity) return;
    record->holder.clear();
    record->duration_s = 1;
    static_cast<void>(write(Method::Put, std::move(*record)));
}

}  // namespace warren::kube
