// SPDX-License-Identifier: Apache-2.0
// OnDemand: the names that the control plane was asked for, in on-demand mode (data-plane contract 3.6): who waits for which, and which
// are in use. A name is a resource name or "network/ip". Unlike the reference nobody waits for ever (the caller brings a deadline), several
// may wait for one name (quirk A15), and a name that no connection has used for a while is given back with what came for it.
//
// A name counts as answered from the snapshot on that holds the answer: a worker that still has an older one is told to wait for it, so
// "the mesh does not know this address" is never concluded from a snapshot that could not know.
//
// Threads: ask(), known(), use(), hint() and cancel() for workers; the rest for the thread of the xDS client and the one that expires
// names. No lock of it is held while a loop's own code runs.
#pragma once

#include "base/loop.h"
#include "base/result.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace warren::ztunnel {

struct OnDemandOptions {
    std::chrono::milliseconds wait = std::chrono::seconds(2);     // of a connection, for all the names it needs
    std::chrono::milliseconds unused = std::chrono::minutes(10);  // then a name is given back
    uint32_t max_names = 16'384;
    bool services = false;  // all services come by themselves (kServicesGroup): a known one may lack its endpoints until it is asked for
};

class OnDemand {
  public:
    using Names = std::vector<std::string>;
    // To the xDS client: subscribe (true) or unsubscribe. Called under the lock, so that the last word about a name is the table's.
    using Tell = std::function<base::Result<void>(std::span<const std::string> names, bool wanted)>;
    class Waiter;
    using Ticket = std::shared_ptr<Waiter>;
    struct Stats {
        uint64_t hits = 0, misses = 0, timeouts = 0, refused = 0, expired = 0;
        size_t names = 0, pending = 0, waiting = 0;
    };

    explicit OnDemand(OnDemandOptions options) : options_(options) {}
    [[nodiscard]] const OnDemandOptions& options() const { return options_; }
    // Before the first name is asked for; empty: there is no client (any more), and what is asked for waits.
    void connect(Tell tell);

    // -- workers. version: of the snapshot the caller sees.
    // All of them are answered there; marks them as used.
    [[nodiscard]] bool known(std::span<const std::string> names, uint64_t version);
    // A ticket: `ready` runs on the loop once all names are answered and the loop's snapshot shows it. Null: they are already. Exhausted:
    // too many names are in use, or wait to be sent.
    [[nodiscard]] base::Result<Ticket> ask(std::span<const std::string> names, uint64_t version, base::Loop& loop,
                                           std::function<void()> ready);
    // `ready` will not be asked for any more; it may be on its way.
    void cancel(const Ticket& ticket, bool timed_out);
    // Marks those that were asked for as used.
    void use(std::span<const std::string> names);
    // Asks, and waits for nothing; full or not sent: never mind.
    void hint(std::string_view name);

    // -- the control plane's side
    // Looks at each pending name. version: of the snapshot that holds the answers, which the loops have been sent already.
    enum class Answer : uint8_t {
        No,
        Perhaps,  // the next one that waits for it in vain makes it a Yes
        Yes,
    };
    void answered(const std::function<Answer(const std::string&)>& answer_to, uint64_t version);
    // Everything asked for, again: a stream began, whose server may have forgotten what it once called unknown.
    void ask_again();
    // Drops the names that were not used since `unused` ago.
    struct Expired {
        Names names;      // gone
        Names remaining;  // still asked for
    };
    // with(expired) runs under the lock, so before anybody can ask again, and answers which other names to give back: those of records that
    // no name stands behind.
    void expire(std::chrono::steady_clock::time_point now, const std::function<Names(const Expired&)>& with);
    [[nodiscard]] Stats stats() const;

  private:
    struct Entry {
        bool answered = false, perhaps = false;
        uint64_t version = 0;  // of the snapshot with the answer
        std::chrono::steady_clock::time_point used;
        std::vector<Ticket> waiters;
    };
    [[nodiscard]] static bool fits(const Entry& entry, uint64_t version) { return entry.answered && entry.version <= version; }
    void settle(const std::string& name, Entry& entry);
    base::Result<void> tell(std::span<const std::string> names, bool wanted);

    const OnDemandOptions options_;
    mutable std::mutex mutex_;  // all below
    Tell tell_;
    std::unordered_map<std::string, Entry> names_;
    std::unordered_set<std::string> pending_;
    size_t waiting_ = 0;
    Stats stats_;
};

}  // namespace warren::ztunnel
