// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/cert_table.h"

#include <algorithm>
#include <tuple>

namespace warren::ztunnel {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr nanoseconds kFirstRetry = 1s;
constexpr nanoseconds kLastRetry = 150s;
constexpr nanoseconds kBackoffEnds = 15min;  // of failing: from then on every kLastRetry
// A certificate that comes with more than half of its life behind it (the authority's own end cuts it short, a file has not been replaced
// yet) would be renewed in a busy loop without these.
constexpr nanoseconds kLeastRenewal = 1s;
constexpr nanoseconds kSoonRenewal = 60s;
// Renewals of certificates that were issued together drift apart by up to this part of the lifetime.
constexpr int kJitterPart = 100;

base::MonoTime add_saturating(base::MonoTime at, nanoseconds by) {
    return by > base::MonoTime::max() - at ? base::MonoTime::max() : at + by;
}

bool same_roots(const Credential& a, const Credential& b) {
    std::set<std::string_view> left, right;
    for (const auto& root : a.roots()) left.insert(root.pem);
    for (const auto& root : b.roots()) right.insert(root.pem);
    return left == right;
}

base::Error refusal(const char* what, size_t limit) {
    return {base::Errc::Exhausted, 0, "", "certificate request: the node is at its limit of " + std::to_string(limit) + " " + what};
}

}  // namespace

bool CertTable::MoreUrgent::operator()(const Entry* a, const Entry* b) const {
    return std::tuple(b->priority, a->due, a->generation) < std::tuple(a->priority, b->due, b->generation);
}

bool CertTable::Earlier::operator()(const Entry* a, const Entry* b) const {
    return std::tie(a->due, a->generation) < std::tie(b->due, b->generation);
}

bool CertTable::serves(const Entry& entry, base::WallTime now) {
    return entry.made.context != nullptr && now < entry.made.credential->not_after();
}

CertTable::Entry* CertTable::find(const policy::Identity& identity) {
    const auto it = entries_.find(identity.principal());
    return it == entries_.end() ? nullptr : &it->second;
}

CertTable::Entry& CertTable::add(const policy::Identity& identity, CertPriority priority, Times now) {
    Entry entry{.identity = identity,
                .generation = ++last_generation_,
                .place = Place::Running,
                .again = false,
                .priority = priority,
                .due = now.mono,
                .renew_at = {},
                .error = {},
                .made = {},
                .waiters = {},
                .backoff = base::Backoff(base::Backoff::Mode::Exponential, kFirstRetry, kLastRetry),
                .failing_since = {}};
    Entry& added = entries_.emplace(identity.principal(), std::move(entry)).first->second;
    put(added, Place::Ready);
    return added;
}

// Before its due time or priority changes, for the queues are ordered by them.
void CertTable::take_out(Entry& entry) {
    if (entry.place == Place::Ready) ready_.erase(&entry);
    if (entry.place == Place::Later) later_.erase(&entry);
    entry.place = Place::Running;
}

void CertTable::put(Entry& entry, Place place) {
    entry.place = place;
    if (place == Place::Ready) ready_.insert(&entry);
    if (place == Place::Later) later_.insert(&entry);
}

void CertTable::promote(Times now) {
    while (!later_.empty() && (*later_.begin())->due <= now.mono) {
        Entry& entry = **later_.begin();
        take_out(entry);
        put(entry, Place::Ready);
    }
}

std::optional<CertOutcome> CertTable::request(const policy::Identity& identity, CertPriority priority, Times now, Waiter& waiter) {
    if (identity.empty()) return base::invalid("certificate request: the identity is empty; the workload record must name one");
    Entry* entry = find(identity);
    if (entry != nullptr && serves(*entry, now.wall)) return entry->made.context;
    if (entry != nullptr && entry->error) return *entry->error;
    const bool room = entry != nullptr || entries_.size() < limits_.identities;
    if (!room || waiters_ >= limits_.waiters) {
        ++counts_.refused;
        return room ? refusal("waiting connections", limits_.waiters) : refusal("identities", limits_.identities);
    }
    if (entry == nullptr) {
        entry = &add(identity, priority, now);
    } else if (entry->place != Place::Running && (priority > entry->priority || entry->due > now.mono)) {
        // The first certificate is pending, or the last one expired before its renewal came to be tried (the machine slept).
        take_out(*entry);
        entry->priority = std::max(entry->priority, priority);
        entry->due = std::min(entry->due, now.mono);
        put(*entry, Place::Ready);
    }
    entry->waiters.push_back(std::move(waiter));
    ++waiters_;
    return std::nullopt;
}

bool CertTable::prefetch(const policy::Identity& identity, Times now) {
    if (identity.empty() || find(identity) != nullptr || prefetch_names_.contains(identity.principal())) return true;
    if (prefetch_.size() >= limits_.prefetch) {
        ++counts_.prefetch_dropped;
        return false;
    }
    prefetch_.push_back(identity);
    prefetch_names_.insert(identity.principal());
    advance_prefetch(now);
    return true;
}

// One at a time: a restarted node with hundreds of pods leaves seats free for the connections that wait.
void CertTable::advance_prefetch(Times now) {
    while (prefetching_ == 0 && !prefetch_.empty()) {
        const policy::Identity next = std::move(prefetch_.front());
        prefetch_.pop_front();
        prefetch_names_.erase(next.principal());
        if (find(next) != nullptr) continue;
        if (entries_.size() >= limits_.identities)
            ++counts_.prefetch_dropped;
        else
            prefetching_ = add(next, CertPriority::Warmup, now).generation;
    }
}

std::vector<CertTable::Waiter> CertTable::forget(const policy::Identity& identity, Times now) {
    if (prefetch_names_.erase(identity.principal()) > 0) std::erase(prefetch_, identity);
    Entry* entry = find(identity);
    if (entry == nullptr) return {};
    take_out(*entry);
    std::vector<Waiter> waiters = std::move(entry->waiters);
    waiters_ -= waiters.size();
    const bool was_prefetched = entry->generation == prefetching_;
    entries_.erase(identity.principal());
    if (was_prefetched) {
        prefetching_ = 0;
        advance_prefetch(now);
    }
    return waiters;
}

std::vector<CertTable::Waiter> CertTable::forget_all() {
    prefetch_.clear();
    prefetch_names_.clear();
    prefetching_ = 0;
    ready_.clear();
    later_.clear();
    std::vector<Waiter> waiters;
    for (auto& [name, entry] : entries_) std::move(entry.waiters.begin(), entry.waiters.end(), std::back_inserter(waiters));
    waiters_ = 0;
    entries_.clear();
    return waiters;
}

void CertTable::renew(const policy::Identity& identity, Times now) {
    Entry* entry = find(identity);
    if (entry == nullptr) return;
    if (entry->place == Place::Running) entry->again = true;
    if (entry->place != Place::Later) return;
    take_out(*entry);
    entry->due = now.mono;
    put(*entry, Place::Ready);
}

std::optional<CertTable::Job> CertTable::start(Times now) {
    promote(now);
    if (ready_.empty()) return std::nullopt;
    Entry& entry = **ready_.begin();
    take_out(entry);
    return Job{entry.identity, entry.generation};
}

size_t CertTable::due_count(Times now) {
    promote(now);
    return ready_.size();
}

CertTable::Finished CertTable::finish(const Job& job, base::Result<Made> made, Times now) {
    Finished finished;
    Entry* entry = find(job.identity);
    if (entry == nullptr || entry->generation != job.generation) {
        ++counts_.discarded;
        finished.discarded = true;
        return finished;
    }
    if (made && made->credential->not_after() <= now.wall)
        made = base::invalid("the certificate issued has expired already; check the clocks");
    if (made) {
        const CredentialPtr before = entry->made.credential;
        finished.roots_changed = before != nullptr && !same_roots(*before, *made->credential);
        finished.outcome.emplace(made->context);
        succeed(*entry, std::move(*made), now);
    } else {
        finished.outcome.emplace(made.error());
        fail(*entry, std::move(made).error(), now);
    }
    finished.waiters = std::exchange(entry->waiters, {});
    waiters_ -= finished.waiters.size();
    if (std::exchange(entry->again, false)) renew(job.identity, now);
    if (job.generation == prefetching_) {
        prefetching_ = 0;
        advance_prefetch(now);
    }
    return finished;
}

void CertTable::succeed(Entry& entry, Made made, Times now) {
    ++counts_.issued;
    entry.error.reset();
    entry.failing_since.reset();
    entry.backoff.reset();
    entry.made = std::move(made);
    const auto life = std::chrono::duration_cast<nanoseconds>(entry.made.credential->not_after() - entry.made.credential->not_before());
    const auto spread = std::max<nanoseconds::rep>(life.count() / kJitterPart, 0);
    entry.renew_at = entry.made.credential->renew_at();
    if (jitter_) entry.renew_at += nanoseconds(std::uniform_int_distribution<nanoseconds::rep>(0, spread)(random_));
    entry.priority = CertPriority::Background;
    entry.due = renewal_due(entry, now);
    put(entry, Place::Later);
}

base::MonoTime CertTable::renewal_due(const Entry& entry, Times now) const {
    nanoseconds wait = entry.renew_at - now.wall;
    if (wait < kLeastRenewal) {
        const nanoseconds left = entry.made.credential->not_after() - now.wall;
        wait = std::clamp(left / 2, kLeastRenewal, kSoonRenewal);
    }
    return add_saturating(now.mono, wait);
}

void CertTable::fail(Entry& entry, base::Error error, Times now) {
    ++counts_.failed;
    entry.error = std::move(error);
    entry.priority = CertPriority::Background;
    entry.due = retry_at(entry, now);
    // Of an expired certificate nothing is left to serve or to show.
    if (!serves(entry, now.wall)) entry.made = {};
    put(entry, Place::Later);
}

base::MonoTime CertTable::retry_at(Entry& entry, Times now) {
    if (!entry.failing_since) entry.failing_since = now.mono;
    const nanoseconds wait = now.mono - *entry.failing_since >= kBackoffEnds ? kLastRetry : entry.backoff.next(random_);
    if (!serves(entry, now.wall)) return now.mono + wait;
    return now.mono + std::min<nanoseconds>(wait, entry.made.credential->not_after() - now.wall);
}

void CertTable::reschedule(Times now) {
    for (auto& [name, entry] : entries_) {
        if (entry.place != Place::Later || entry.error) continue;
        take_out(entry);
        entry.due = renewal_due(entry, now);
        put(entry, Place::Later);
    }
}

std::vector<CertTable::Rebuild> CertTable::rebuilds() const {
    std::vector<Rebuild> all;
    for (const auto& [name, entry] : entries_)
        if (entry.made.context != nullptr) all.push_back({{entry.identity, entry.generation}, entry.made.credential});
    return all;
}

void CertTable::replace(const Rebuild& rebuild, CertOutcome context, Times now) {
    Entry* entry = find(rebuild.job.identity);
    if (entry == nullptr || entry->generation != rebuild.job.generation || entry->made.credential != rebuild.credential) return;
    if (context) {
        entry->made.context = std::move(*context);
        ++counts_.contexts_rebuilt;
        return;
    }
    entry->made = {};
    if (entry->place == Place::Running) {  // a new certificate is on its way
        entry->error = std::move(context).error();
    } else {
        take_out(*entry);
        fail(*entry, std::move(context).error(), now);
    }
}

CertTable::Made CertTable::serving(const policy::Identity& identity) const {
    const auto it = entries_.find(identity.principal());
    return it == entries_.end() ? Made{} : it->second.made;
}

std::vector<CertState> CertTable::states(base::WallTime now) const {
    std::vector<CertState> all;
    all.reserve(entries_.size());
    for (const auto& [name, entry] : entries_) {
        const bool served = serves(entry, now);
        std::string state = served ? "Available" : entry.error ? "Unavailable: " + entry.error->message() : "Initializing";
        all.push_back({entry.identity, std::move(state), served ? entry.made.credential : nullptr});
    }
    std::sort(all.begin(), all.end(),
              [](const CertState& a, const CertState& b) { return a.identity.principal().view() < b.identity.principal().view(); });
    return all;
}

}  // namespace warren::ztunnel
