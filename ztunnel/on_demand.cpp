// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/on_demand.h"

#include <algorithm>
#include <utility>

namespace warren::ztunnel {

using Clock = std::chrono::steady_clock;

// Under the table's lock, but for its two constants.
class OnDemand::Waiter {
  public:
    Waiter(base::Loop& on, std::function<void()> call) : loop(on), ready(std::move(call)) {}
    base::Loop& loop;
    const std::function<void()> ready;
    Names names;  // that are not answered
    // A full mailbox loses the call; the caller looks again at its deadline.
    static void wake(const Ticket& ticket) {
        (void)ticket->loop.post([ticket] { ticket->ready(); });
    }
};

void OnDemand::connect(Tell tell) {
    const std::lock_guard lock(mutex_);
    tell_ = std::move(tell);
}

base::Result<void> OnDemand::tell(std::span<const std::string> names, bool wanted) {
    if (!tell_ || names.empty()) return {};
    return tell_(names, wanted);
}

bool OnDemand::known(std::span<const std::string> names, uint64_t version) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    bool all = true;
    for (const std::string& name : names) {
        const auto at = names_.find(name);
        if (at != names_.end()) at->second.used = now;
        all = all && at != names_.end() && fits(at->second, version);
    }
    if (all) ++stats_.hits;
    return all;
}

base::Result<OnDemand::Ticket> OnDemand::ask(std::span<const std::string> names, uint64_t version, base::Loop& loop,
                                             std::function<void()> ready) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    Names missing, fresh;
    bool late = false;  // answered in a snapshot that is on its way to this loop
    for (const std::string& name : names) {
        const auto at = names_.find(name);
        if (at == names_.end()) fresh.push_back(name);
        if (at == names_.end() || !at->second.answered) missing.push_back(name);
        late = late || (at != names_.end() && at->second.answered && at->second.version > version);
    }
    if (missing.empty() && !late) return Ticket();
    if (names_.size() + fresh.size() > options_.max_names) {
        ++stats_.refused;
        return base::Error{base::Errc::Exhausted, 0, "",
                           "more than " + std::to_string(options_.max_names) + " names of the mesh are in use"};
    }
    if (auto told = tell(fresh, true); !told) {
        ++stats_.refused;
        return std::move(told).error();
    }
    auto ticket = std::make_shared<Waiter>(loop, std::move(ready));
    if (missing.empty()) {
        Waiter::wake(ticket);  // behind the snapshot, in the same mailbox
        return ticket;
    }
    ++stats_.misses;
    ++waiting_;
    for (const std::string& name : missing) {
        Entry& entry = names_[name];
        entry.used = now;
        entry.waiters.push_back(ticket);
        pending_.insert(name);
    }
    ticket->names = std::move(missing);
    return ticket;
}

void OnDemand::cancel(const Ticket& ticket, bool timed_out) {
    if (ticket == nullptr) return;
    const std::lock_guard lock(mutex_);
    if (timed_out) ++stats_.timeouts;
    if (ticket->names.empty()) return;
    const Names names = std::exchange(ticket->names, {});
    --waiting_;
    for (const std::string& name : names) {
        const auto at = names_.find(name);
        if (at == names_.end()) continue;
        std::erase(at->second.waiters, ticket);
        if (timed_out && at->second.perhaps) settle(name, at->second);
    }
}

void OnDemand::use(std::span<const std::string> names) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    for (const std::string& name : names)
        if (const auto at = names_.find(name); at != names_.end()) at->second.used = now;
}

void OnDemand::hint(std::string_view name) {
    const std::lock_guard lock(mutex_);
    const std::string key(name);
    const auto at = names_.find(key);
    if (at != names_.end()) {
        at->second.used = Clock::now();
        return;
    }
    if (names_.size() >= options_.max_names || !tell({&key, 1}, true)) {
        ++stats_.refused;
        return;
    }
    names_[key].used = Clock::now();
    pending_.insert(key);
}

void OnDemand::settle(const std::string& name, Entry& entry) {
    entry.answered = true;
    for (const Ticket& waiter : std::exchange(entry.waiters, {})) {
        std::erase(waiter->names, name);
        if (!waiter->names.empty()) continue;
        --waiting_;
        Waiter::wake(waiter);
    }
}

void OnDemand::answered(const std::function<Answer(const std::string&)>& answer_to, uint64_t version) {
    const std::lock_guard lock(mutex_);
    std::erase_if(pending_, [&](const std::string& name) {
        Entry& entry = names_[name];
        if (entry.answered) return true;
        const Answer answer = answer_to(name);
        if (answer == Answer::No) return false;
        entry.version = version;
        entry.perhaps = true;
        if (answer == Answer::Yes) settle(name, entry);
        return entry.answered;
    });
}

void OnDemand::ask_again() {
    const std::lock_guard lock(mutex_);
    Names all;
    all.reserve(names_.size());
    for (const auto& [name, entry] : names_) all.push_back(name);
    // Refused only by a client that is told more names than it takes, which is more than the table holds.
    (void)tell(all, true);
}

void OnDemand::expire(Clock::time_point now, const std::function<Names(const Expired&)>& with) {
    const std::lock_guard lock(mutex_);
    Expired expired;
    for (const auto& [name, entry] : names_) {
        const bool idle = entry.waiters.empty() && now - entry.used >= options_.unused;
        (idle ? expired.names : expired.remaining).push_back(name);
    }
    Names back = with(expired);
    back.insert(back.end(), expired.names.begin(), expired.names.end());
    if (back.empty()) return;
    if (!tell(back, false)) return;  // too much is waiting to be sent: at the next time
    for (const std::string& name : expired.names) {
        names_.erase(name);
        pending_.erase(name);
    }
    stats_.expired += expired.names.size();
}

OnDemand::Stats OnDemand::stats() const {
    const std::lock_guard lock(mutex_);
    Stats stats = stats_;
    stats.names = names_.size();
    stats.pending = pending_.size();
    stats.waiting = waiting_;
    return stats;
}

}  // namespace warren::ztunnel
