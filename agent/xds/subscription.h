// SPDX-License-Identifier: Apache-2.0
// Subscription: what one client has of one type, and what it is owed (Kubernetes contract 5.3, 5.4; data-plane contract 3.1, 3.3, 3.6).
// Requests in, messages out, no I/O. Belongs to its session.
//
// There is no list of versions for each client. A wildcard client holds the snapshot it was sent last, which costs a pointer as long as
// that is the current one; an on-demand client holds a set of its own, which shares its resources with all others. One message is under
// way until the client answers it, so a slow client is owed the difference to whatever is current by then, and nothing queues up.
//
// An on-demand client that was given a resource is told of its changes and its end until it takes the name back, whatever it asked by.
#pragma once

#include "agent/xds/payload.h"
#include "agent/xds/request.h"
#include "agent/xds/resource_set.h"
#include "base/clock.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

// One type of what the server has published. A generation is a number for what a set holds: never 0, never used twice for different
// contents.
struct PublishedType {
    static constexpr size_t kUnknown = SIZE_MAX;
    std::string type_url;
    size_t index = kUnknown;  // among the types that are served
    ResourceSet set;
    uint64_t generation = 0;
    base::MonoTime since{};
};

struct SubscriptionLimits {
    size_t max_names = 0;          // asked for and not taken back
    size_t max_message_bytes = 0;  // a larger response goes in several
};

// One response, without its nonce.
struct Outgoing {
    std::shared_ptr<const std::string> body;
    std::string tail;  // goes behind it
    [[nodiscard]] size_t size() const { return body->size() + tail.size(); }
};

struct TypeStatus {
    std::string type_url;
    bool wildcard = false;
    size_t names = 0;  // asked for by name
    size_t held = 0;   // resources the client was given
    uint64_t sent_generation = 0, acked_generation = 0;
    bool pending = false;  // a response waits for its answer
    uint64_t pushes = 0, bytes = 0, acks = 0, nacks = 0;
    std::string last_nack;  // printable, cut
};

class Subscription {
  public:
    Subscription(std::string type_url, SubscriptionLimits limits) : limits_(limits) { status_.type_url = std::move(type_url); }

    // Names an on-demand client is subscribed to without asking; before its first request.
    void imply(std::vector<std::string> names) { implied_ = std::move(names); }
    // An error ends the stream. now: what is published of this type.
    base::Result<void> on_request(const RequestView& request, const PublishedType& now);
    // The next message, unless one is under way or nothing is owed. Nothing as well when the cache is full: deferred() is true then, and
    // it is to be asked again soon.
    struct Turn {
        std::string_view nonce;
        base::MonoTime time;
    };
    std::optional<Outgoing> next(const PublishedType& now, EncodingCache& cache, const Turn& turn);
    [[nodiscard]] bool deferred() const { return deferred_; }
    // Since when the message under way, or that of the last answer, has been owed.
    [[nodiscard]] base::MonoTime owed_since() const { return owed_since_; }
    [[nodiscard]] bool waiting() const { return !nonce_.empty(); }
    [[nodiscard]] base::MonoTime sent_at() const { return sent_at_; }  // the message under way
    [[nodiscard]] uint64_t acks() const { return status_.acks; }
    [[nodiscard]] uint64_t nacks() const { return status_.nacks; }
    [[nodiscard]] const std::string& type_url() const { return status_.type_url; }
    [[nodiscard]] TypeStatus status() const;

  private:
    struct Asked {
        bool again = true;   // deliver even what the client holds: somebody waits for it
        bool quiet = false;  // no word when there is no such thing
    };
    static constexpr uint64_t kNoGeneration = UINT64_MAX;  // held_ is nobody else's

    void begin(const RequestView& request, const PublishedType& now);
    void resume_wildcard(const RequestView& request, const ResourceSet& now);
    void ask(std::string_view name, Asked how);
    [[nodiscard]] bool in_asked_group(const ResourceBlock& block) const;
    void answered(const RequestView& request);
    void change_names(const RequestView& request);
    void go_wildcard();
    void leave_wildcard();
    void drop_name(std::string_view name);

    [[nodiscard]] bool wanted(const ResourceBlock& block, const ResourceSet& set) const;
    [[nodiscard]] bool owes(const PublishedType& now) const;
    std::shared_ptr<const Messages> compose(const PublishedType& now, EncodingCache& cache);
    void collect_wildcard(const ResourceSet& now, Delta& delta) const;
    void collect_names(const ResourceSet& now, Delta& delta);
    void collect_asked(const ResourceSet& now, Delta& delta);
    Outgoing take_message(const Turn& turn);

    const SubscriptionLimits limits_;
    bool began_ = false, wildcard_ = false, must_answer_ = false, deferred_ = false;
    std::vector<std::string> implied_;
    std::set<std::string, std::less<>> names_;
    std::map<std::string, Asked, std::less<>> asked_;  // to be answered with the next message
    std::vector<std::string> gone_;                    // listed by a client that came back, and there no more
    ResourceSet held_;                                 // what the client has, as soon as the message under way has arrived
    uint64_t held_generation_ = 0;                     // of a published set, 0 for nothing, or kNoGeneration
    ResourceSet seen_;                                 // on demand: the published set that held_ was last brought up to
    uint64_t seen_generation_ = 0;
    std::shared_ptr<const Messages> messages_;  // of which this one is the next
    size_t at_ = 0;
    std::string nonce_;  // under way
    base::MonoTime owed_since_{}, sent_at_{};
    TypeStatus status_;
};

// fn(block) for what a name brings: the resource of that name or alias, its members, and the members of the group of that name.
// False when there is nothing.
bool resolve(const ResourceSet& set, std::string_view name, const std::function<void(const ResourceBlock&)>& fn);

}  // namespace warren::xds
