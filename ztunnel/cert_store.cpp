// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/cert_store.h"

#include "base/log.h"
#include "ztunnel/cert_store_threads.h"
#include "ztunnel/cert_table.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <thread>

namespace warren::ztunnel {

namespace {

using namespace std::chrono_literals;
using base::log::Level;

const base::log::Area kLog("identity");

constexpr auto kLongestSleep = 30s;  // after which the clocks are compared even when nothing is due
constexpr auto kRedeliver = 10ms;    // to a loop whose mailbox was full
constexpr auto kClockJump = 1s;      // of the wall clock against the monotonic one
constexpr size_t kMaxUndelivered = 65536;

struct Delivery {
    CertTable::Waiter waiter;
    CertOutcome outcome;
};

class CertStoreImpl final : public OwnedCertStore {
  public:
    CertStoreImpl(CertSigner& signer, const base::Clock& clock, ContextFactory make_context, const CertStoreOptions& options);
    ~CertStoreImpl() override;

    [[nodiscard]] ContextPtr current(const policy::Identity& identity) const override;
    void request(const policy::Identity& identity, CertPriority priority, base::Loop& loop, Answer answer) override;
    void prefetch(const policy::Identity& identity) override;
    void forget(const policy::Identity& identity) override;
    void on_trust_change(std::function<void(const policy::Identity&)> callback) override;
    [[nodiscard]] std::vector<CertState> states() const override;
    void set_revocation_list(std::shared_ptr<const RevocationList> revoked) override;
    void renew(const policy::Identity& identity) override;
    void wake() override;
    [[nodiscard]] CertStoreStats stats() const override;

  private:
    using Lock = std::unique_lock<std::mutex>;

    [[nodiscard]] CertTable::Times times() const { return {clock_.now(), clock_.wall()}; }
    void wake_locked();
    void deliver(std::vector<Delivery> deliveries);
    void publish(const policy::Identity& identity);
    void tell_trust_change(const policy::Identity& identity);

    void schedule();
    void follow_wall_clock(CertTable::Times now);
    void rebuild_contexts(Lock& lock);
    void redeliver(Lock& lock);
    void employ();
    [[nodiscard]] std::chrono::nanoseconds sleep_time(CertTable::Times now) const;

    void sign_jobs();
    void run_job(Lock& lock, const CertTable::Job& job);
    base::Result<CertTable::Made> make(const CertTable::Job& job, std::shared_ptr<const RevocationList> revoked);
    void settle(const CertTable::Job& job, const base::Result<CertTable::Made>& made, CertTable::Finished finished);

    CertSigner& signer_;
    const base::Clock& clock_;
    const ContextFactory make_context_;
    const CertStoreOptions options_;

    mutable std::mutex mutex_;  // everything up to published_
    CertTable table_;
    std::condition_variable scheduler_wakes_, worker_wakes_;
    bool woken_ = false;
    bool stopping_ = false;
    std::vector<std::thread> workers_;
    size_t idle_ = 0;
    size_t in_flight_ = 0;
    size_t most_in_flight_ = 0;
    uint64_t answers_lost_ = 0;
    uint64_t trust_changes_ = 0;
    std::vector<std::shared_ptr<Delivery>> undelivered_;
    std::shared_ptr<const RevocationList> revoked_;
    uint64_t revocation_ = 0;  // counts the lists; contexts of another number are old
    uint64_t rebuilt_ = 0;
    std::vector<std::function<void(const policy::Identity&)>> trust_callbacks_;
    std::chrono::nanoseconds wall_offset_;

    struct Published {
        ContextPtr context;
        base::WallTime not_after;
    };
    mutable std::shared_mutex published_mutex_;  // taken after mutex_, held for a look or one change
    std::unordered_map<policy::Text, Published> published_;
    std::thread scheduler_;
};

std::chrono::nanoseconds offset_of(CertTable::Times now) { return now.wall.time_since_epoch() - now.mono.time_since_epoch(); }

CertStoreImpl::CertStoreImpl(CertSigner& signer, const base::Clock& clock, ContextFactory make_context, const CertStoreOptions& options)
    : signer_(signer),
      clock_(clock),
      make_context_(std::move(make_context)),
      options_(options),
      table_(options.limits, base::make_random_engine(), options.renewal_jitter),
      revoked_(options.revoked),
      wall_offset_(offset_of(times())),
      scheduler_([this] { schedule(); }) {}

CertStoreImpl::~CertStoreImpl() {
    std::vector<Delivery> last;
    {
        const Lock lock(mutex_);
        stopping_ = true;
        for (auto& waiter : table_.forget_all())
            last.push_back({std::move(waiter), base::Error{base::Errc::Unavailable, 0, "", "certificate request: the proxy is stopping"}});
        scheduler_wakes_.notify_all();
        worker_wakes_.notify_all();
    }
    deliver(std::move(last));
    scheduler_.join();
    for (std::thread& worker : workers_) worker.join();
}

ContextPtr CertStoreImpl::current(const policy::Identity& identity) const {
    const std::shared_lock lock(published_mutex_);
    const auto it = published_.find(identity.principal());
    if (it == published_.end() || clock_.wall() >= it->second.not_after) return nullptr;
    return it->second.context;
}

void CertStoreImpl::request(const policy::Identity& identity, CertPriority priority, base::Loop& loop, Answer answer) {
    CertTable::Waiter waiter{&loop, std::move(answer)};
    std::optional<CertOutcome> known;
    {
        const Lock lock(mutex_);
        known = table_.request(identity, priority, times(), waiter);
        if (!known) wake_locked();
    }
    if (!known) return;
    std::vector<Delivery> one;
    one.push_back({std::move(waiter), std::move(*known)});
    deliver(std::move(one));
}

void CertStoreImpl::prefetch(const policy::Identity& identity) {
    bool taken = false;
    {
        const Lock lock(mutex_);
        taken = table_.prefetch(identity, times());
        wake_locked();
    }
    if (!taken) WARREN_LOG(kLog, Level::Warn, "certificate not prefetched: the queue is full", {"identity", identity.uri()});
}

void CertStoreImpl::forget(const policy::Identity& identity) {
    std::vector<Delivery> failed;
    {
        const Lock lock(mutex_);
        for (auto& waiter : table_.forget(identity, times()))
            failed.push_back(
                {std::move(waiter), base::Error{base::Errc::NotFound, 0, "",
                                                "certificate request: " + identity.uri() + " has no workload on this node any more"}});
        publish(identity);
        wake_locked();
    }
    deliver(std::move(failed));
}

void CertStoreImpl::on_trust_change(std::function<void(const policy::Identity&)> callback) {
    const Lock lock(mutex_);
    trust_callbacks_.push_back(std::move(callback));
}

std::vector<CertState> CertStoreImpl::states() const {
    const Lock lock(mutex_);
    return table_.states(clock_.wall());
}

void CertStoreImpl::set_revocation_list(std::shared_ptr<const RevocationList> revoked) {
    const Lock lock(mutex_);
    revoked_ = std::move(revoked);
    ++revocation_;
    wake_locked();
}

void CertStoreImpl::renew(const policy::Identity& identity) {
    const Lock lock(mutex_);
    table_.renew(identity, times());
    wake_locked();
}

void CertStoreImpl::wake() {
    const Lock lock(mutex_);
    wake_locked();
}

void CertStoreImpl::wake_locked() {
    woken_ = true;
    scheduler_wakes_.notify_one();
}

CertStoreStats CertStoreImpl::stats() const {
    const Lock lock(mutex_);
    return {table_.counts(), answers_lost_, trust_changes_, table_.size(), in_flight_, workers_.size(), most_in_flight_};
}

// Without the lock: a loop may run the answer, which may ask again, before post() has returned.
void CertStoreImpl::deliver(std::vector<Delivery> deliveries) {
    for (Delivery& delivery : deliveries) {
        auto shared = std::make_shared<Delivery>(std::move(delivery));
        // The answer is moved out so that it dies on its loop, whoever lets go of the delivery last.
        const auto call = [shared] {
            const Answer answer = std::move(shared->waiter.answer);
            answer(std::move(shared->outcome));
        };
        if (shared->waiter.loop->post(call)) continue;
        const Lock lock(mutex_);
        if (undelivered_.size() < kMaxUndelivered && !stopping_)
            undelivered_.push_back(std::move(shared));
        else
            ++answers_lost_;
        wake_locked();
    }
}

void CertStoreImpl::redeliver(Lock& lock) {
    std::vector<Delivery> again;
    for (const auto& shared : std::exchange(undelivered_, {})) again.push_back(std::move(*shared));
    lock.unlock();
    deliver(std::move(again));
    lock.lock();
}

// Under the lock: brings what current() sees in line with the table.
void CertStoreImpl::publish(const policy::Identity& identity) {
    CertTable::Made made = table_.serving(identity);
    Published old;  // destroyed after the lock is released
    const std::lock_guard lock(published_mutex_);
    if (!made.context) {
        const auto it = published_.find(identity.principal());
        if (it == published_.end()) return;
        old = std::move(it->second);
        published_.erase(it);
        return;
    }
    const base::WallTime not_after = made.credential->not_after();
    old = std::exchange(published_[identity.principal()], {std::move(made.context), not_after});
}

void CertStoreImpl::tell_trust_change(const policy::Identity& identity) {
    std::vector<std::function<void(const policy::Identity&)>> callbacks;
    {
        const Lock lock(mutex_);
        callbacks = trust_callbacks_;
        ++trust_changes_;
    }
    for (const auto& callback : callbacks) callback(identity);
}

void CertStoreImpl::schedule() {
    Lock lock(mutex_);
    while (!stopping_) {
        woken_ = false;
        const CertTable::Times now = times();
        follow_wall_clock(now);
        if (rebuilt_ != revocation_) rebuild_contexts(lock);
        if (!undelivered_.empty()) redeliver(lock);
        employ();
        if (!woken_ && !stopping_) scheduler_wakes_.wait_for(lock, sleep_time(times()), [this] { return woken_ || stopping_; });
    }
}

// The monotonic clock stands still while the machine sleeps, and the wall clock may be set: renewals follow the latter.
void CertStoreImpl::follow_wall_clock(CertTable::Times now) {
    const auto offset = offset_of(now);
    if (std::chrono::abs(offset - wall_offset_) <= kClockJump) return;
    wall_offset_ = offset;
    table_.reschedule(now);
}

std::chrono::nanoseconds CertStoreImpl::sleep_time(CertTable::Times now) const {
    if (!undelivered_.empty()) return kRedeliver;
    const base::MonoTime due = table_.next_due();
    if (due <= now.mono) return 0ns;
    return due - now.mono < kLongestSleep ? std::chrono::nanoseconds(due - now.mono) : kLongestSleep;
}

void CertStoreImpl::employ() {
    const size_t due = table_.due_count(times());
    while (due > workers_.size() - in_flight_ && workers_.size() < options_.signing_threads) workers_.emplace_back([this] { sign_jobs(); });
    for (size_t i = 0; i < std::min(due, idle_); ++i) worker_wakes_.notify_one();
}

void CertStoreImpl::rebuild_contexts(Lock& lock) {
    const uint64_t revocation = revocation_;
    const auto revoked = revoked_;
    const auto rebuilds = table_.rebuilds();
    for (const CertTable::Rebuild& rebuild : rebuilds) {
        lock.unlock();
        CertOutcome context = make_context_(rebuild.credential, revoked);
        if (!context)
            WARREN_LOG(kLog, Level::Error, "no context with the new revocation list; the certificate is withdrawn",
                       {"identity", rebuild.job.identity.uri()}, {"error", context.error().message()});
        lock.lock();
        if (stopping_) return;
        table_.replace(rebuild, std::move(context), times());
        publish(rebuild.job.identity);
        lock.unlock();
        tell_trust_change(rebuild.job.identity);  // also when it was renewed meanwhile: the list of that context is new as well
        lock.lock();
    }
    rebuilt_ = revocation;
}

void CertStoreImpl::sign_jobs() {
    Lock lock(mutex_);
    while (!stopping_) {
        if (const auto job = table_.start(times())) {
            run_job(lock, *job);
            continue;
        }
        ++idle_;
        worker_wakes_.wait_for(lock, kLongestSleep);
        --idle_;
    }
}

void CertStoreImpl::run_job(Lock& lock, const CertTable::Job& job) {
    most_in_flight_ = std::max(most_in_flight_, ++in_flight_);
    uint64_t revocation = revocation_;
    auto revoked = revoked_;
    lock.unlock();
    base::Result<CertTable::Made> made = make(job, revoked);
    lock.lock();
    while (made && revocation != revocation_) {  // a list came meanwhile: this context must not come after those rebuilt with it
        revocation = revocation_;
        revoked = revoked_;
        lock.unlock();
        auto context = make_context_(made->credential, revoked);
        if (context)
            made->context = std::move(*context);
        else
            made = std::move(context).error();
        lock.lock();
    }
    --in_flight_;
    CertTable::Finished finished = table_.finish(job, made, times());
    publish(job.identity);
    wake_locked();
    lock.unlock();
    settle(job, made, std::move(finished));
    lock.lock();
}

base::Result<CertTable::Made> CertStoreImpl::make(const CertTable::Job& job, std::shared_ptr<const RevocationList> revoked) {
    auto credential = TRY(signer_.sign(job.identity, std::chrono::steady_clock::now() + options_.call_timeout));
    auto context = TRY(make_context_(credential, std::move(revoked)));
    return CertTable::Made{std::move(credential), std::move(context)};
}

void CertStoreImpl::settle(const CertTable::Job& job, const base::Result<CertTable::Made>& made, CertTable::Finished finished) {
    if (finished.discarded) {
        WARREN_LOG(kLog, Level::Debug, "certificate discarded: nobody has the identity any more", {"identity", job.identity.uri()});
        return;
    }
    if (!*finished.outcome)
        WARREN_LOG(kLog, Level::Warn, "certificate not issued", {"identity", job.identity.uri()},
                   {"error", finished.outcome->error().message()});
    else
        WARREN_LOG(kLog, Level::Debug, "certificate issued", {"identity", job.identity.uri()},
                   {"serial", (*made).credential->chain().front().serial_decimal});
    std::vector<Delivery> answers;
    answers.reserve(finished.waiters.size());
    for (auto& waiter : finished.waiters) answers.push_back({std::move(waiter), *finished.outcome});
    deliver(std::move(answers));
    if (finished.roots_changed) tell_trust_change(job.identity);
}

}  // namespace

std::unique_ptr<OwnedCertStore> make_cert_store(CertSigner& signer, const base::Clock& clock, ContextFactory make_context,
                                                const CertStoreOptions& options) {
    return std::make_unique<CertStoreImpl>(signer, clock, std::move(make_context), options);
}

}  // namespace warren::ztunnel
