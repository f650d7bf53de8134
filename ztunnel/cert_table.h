// SPDX-License-Identifier: Apache-2.0
// CertTable: what the certificate store knows about each identity and when it acts on it (data-plane contract 2.5), without threads, clocks
// or calls: time comes in, decisions go out. Not thread-safe; the store calls it under its lock.
//
// An identity is Available while it has a context whose certificate has not expired, else Unavailable when an attempt has failed, else
// Initializing. That an expired certificate is not served therefore needs no timer.
#pragma once

#include "base/backoff.h"
#include "ztunnel/cert_store.h"

#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace warren::ztunnel {

using ContextPtr = std::shared_ptr<const TlsContext>;
using CredentialPtr = std::shared_ptr<const Credential>;
using CertOutcome = base::Result<ContextPtr>;

struct CertLimits {
    size_t identities = 4096;  // ten times what a node has pods for
    size_t waiters = 16384;    // connections that wait for a first certificate, over all identities
    size_t prefetch = 256;
};

struct CertCounts {
    uint64_t issued = 0;
    uint64_t failed = 0;            // attempts, the renewals among them
    uint64_t refused = 0;           // requests beyond CertLimits, answered with an error
    uint64_t prefetch_dropped = 0;  // prefetches beyond CertLimits
    uint64_t discarded = 0;         // results for identities that were forgotten meanwhile
    uint64_t contexts_rebuilt = 0;  // for a reloaded revocation list
};

class CertTable {
  public:
    struct Times {
        base::MonoTime mono;
        base::WallTime wall;
    };
    struct Waiter {
        base::Loop* loop = nullptr;
        CertStore::Answer answer;
    };
    struct Job {
        policy::Identity identity;
        uint64_t generation = 0;  // of the entry: one made anew after a forget has another
    };
    struct Made {
        CredentialPtr credential;
        ContextPtr context;
    };
    struct Finished {
        bool discarded = false;
        bool roots_changed = false;
        std::vector<Waiter> waiters;  // to be answered with outcome
        std::optional<CertOutcome> outcome;
    };
    struct Rebuild {
        Job job;
        CredentialPtr credential;
    };

    CertTable(const CertLimits& limits, base::RandomEngine random, bool jitter) : limits_(limits), random_(random), jitter_(jitter) {}

    // The answer when it is known; else the waiter was taken in.
    std::optional<CertOutcome> request(const policy::Identity& identity, CertPriority priority, Times now, Waiter& waiter);
    // False: dropped, the queue is full.
    [[nodiscard]] bool prefetch(const policy::Identity& identity, Times now);
    std::vector<Waiter> forget(const policy::Identity& identity, Times now);
    std::vector<Waiter> forget_all();
    // A new attempt now, in the background: what the signer reads has changed. After the one in flight, if there is one.
    void renew(const policy::Identity& identity, Times now);

    // The most urgent job that is due, now in flight until finish().
    std::optional<Job> start(Times now);
    [[nodiscard]] size_t due_count(Times now);
    // When the next one comes due that is not; max() when there is none.
    [[nodiscard]] base::MonoTime next_due() const { return later_.empty() ? base::MonoTime::max() : (*later_.begin())->due; }
    Finished finish(const Job& job, base::Result<Made> made, Times now);
    // The wall clock jumped, or the machine slept: renewals follow the wall clock.
    void reschedule(Times now);

    // What to make new contexts of when the revocation list changed, and one such context coming in; without effect when the certificate
    // was renewed meanwhile. One that could not be made takes the old one away: it would let revoked peers in.
    [[nodiscard]] std::vector<Rebuild> rebuilds() const;
    void replace(const Rebuild& rebuild, CertOutcome context, Times now);

    // What serves the identity, expired or not.
    [[nodiscard]] Made serving(const policy::Identity& identity) const;
    [[nodiscard]] std::vector<CertState> states(base::WallTime now) const;
    [[nodiscard]] const CertCounts& counts() const { return counts_; }
    [[nodiscard]] size_t size() const { return entries_.size(); }

  private:
    enum class Place : uint8_t { Running, Ready, Later };
    struct Entry {
        policy::Identity identity;
        uint64_t generation = 0;
        Place place = Place::Ready;
        bool again = false;  // renew() came while the job was in flight
        CertPriority priority = CertPriority::Background;
        base::MonoTime due;
        base::WallTime renew_at;           // while the last attempt was a success
        std::optional<base::Error> error;  // of the last attempt
        Made made;
        std::vector<Waiter> waiters;
        base::Backoff backoff;
        std::optional<base::MonoTime> failing_since;
    };
    struct MoreUrgent {
        bool operator()(const Entry* a, const Entry* b) const;
    };
    struct Earlier {
        bool operator()(const Entry* a, const Entry* b) const;
    };

    [[nodiscard]] Entry* find(const policy::Identity& identity);
    Entry& add(const policy::Identity& identity, CertPriority priority, Times now);
    void take_out(Entry& entry);
    void put(Entry& entry, Place place);
    void promote(Times now);
    void advance_prefetch(Times now);
    void succeed(Entry& entry, Made made, Times now);
    void fail(Entry& entry, base::Error error, Times now);
    [[nodiscard]] base::MonoTime retry_at(Entry& entry, Times now);
    [[nodiscard]] base::MonoTime renewal_due(const Entry& entry, Times now) const;
    [[nodiscard]] static bool serves(const Entry& entry, base::WallTime now);

    CertLimits limits_;
    base::RandomEngine random_;
    bool jitter_;
    uint64_t last_generation_ = 0;
    size_t waiters_ = 0;
    std::unordered_map<policy::Text, Entry> entries_;  // by principal
    std::set<Entry*, MoreUrgent> ready_;
    std::set<Entry*, Earlier> later_;
    std::deque<policy::Identity> prefetch_;
    std::unordered_set<policy::Text> prefetch_names_;  // what prefetch_ holds
    uint64_t prefetching_ = 0;                         // generation of the one under way; 0: none
    CertCounts counts_;
};

}  // namespace warren::ztunnel
