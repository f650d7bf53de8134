// SPDX-License-Identifier: Apache-2.0
// Enrolment: from a source's pods to captured namespaces, and back. Membership is exactly wr_pods (bpf/abi.h); nothing a pod does changes
// it. Lives on one loop (the agent's), on which its listener is called; the source's events may come on any thread.
//
// Joining: find and believe the namespace, hand it to the tunnel and wait a bounded time for the acknowledgement; then the addresses
// (wr_addrs), the sk_lookup link (which refuses what it does not find there), and last the row of wr_pods: from that write on the pod is
// captured whole. If the tunnel does not answer, the pod is captured all the same and fails closed. Leaving, in reverse: the row goes
// first, then the link, the addresses, the tunnel's listeners. A pod that changes its identity gets a new id by one write over the old row;
// one that changes its namespace leaves and joins.
//
// After a restart pinned rows stay in force: a pod that the source tells again keeps its id if namespace and identity are the same, and the
// others go only after the source has told all (pods_synced), and never while a pod of the same identity cannot be looked at.
//
// Budgets: one pod captured <= 20 ms after it is told (with a tunnel that answers at once), 200 pods <= 2 s. Each pod costs three
// descriptors: namespace, link, netlink socket.
#pragma once

#include "agent/node/address_book.h"
#include "agent/node/attachments.h"
#include "agent/node/enrolment_store.h"
#include "agent/node/maps.h"
#include "agent/node/pod_netns.h"
#include "agent/node/pod_source.h"
#include "agent/node/tunnel_pods.h"
#include "base/loop.h"
#include "base/result.h"
#include "base/timer.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace warren::node {

struct EnrolledPod {
    PodPtr pod;
    uint32_t id = 0;
    uint64_t netns = 0;  // cookie
    std::shared_ptr<const base::Netns> namespace_handle;
    std::vector<base::IpAddr> addresses;
    bool tunnel_acknowledged = false;
};

// On the loop's thread. Calls of Enrolment from inside are allowed, but for stop and destruction.
class EnrolmentListener {
  public:
    virtual ~EnrolmentListener() = default;
    virtual void captured(const EnrolledPod& pod) = 0;  // also after each change of addresses, flags, id
    virtual void left(const EnrolledPod& pod) = 0;
    virtual void tunnel_acknowledged(const EnrolledPod&) {}
    virtual void failed(const Pod&, const base::Error&) {}  // will be tried again
    // After pods_synced: every pod of the source has been captured or has failed once, leftovers are gone.
    virtual void settled() {}
};

struct EnrolmentSettings {
    std::chrono::milliseconds tunnel_wait = std::chrono::seconds(2);  // for an acknowledgement, before the pod is captured anyway
    std::chrono::milliseconds retry_first = std::chrono::milliseconds(100);
    std::chrono::milliseconds retry_most = std::chrono::seconds(15);
    size_t max_pods = 4096;  // a node has some hundreds
};

struct EnrolmentCounts {
    size_t enrolled = 0, observed = 0, waiting = 0, failing = 0;
    uint64_t joined = 0, left = 0, adopted = 0, swept = 0;
    uint64_t tunnel_timeouts = 0, tunnel_refusals = 0;
    uint64_t refused = 0;  // host network, the node's own namespace, one namespace claimed twice, too many
    uint64_t addresses_refused = 0;
};

struct PodStatus {
    std::string uid, name, namespace_name;
    std::string state;  // "captured", "waiting for the tunnel", "failing", "observed", "refused"
    std::string why;
};

class Enrolment final : public PodEvents {
  public:
    struct Parts {
        base::Loop& loop;
        const Maps& maps;
        Attachments& attachments;
        EnrolmentStore& store;
        const NodeNetns& node;
        TunnelPods& tunnel;
        EnrolmentListener& listener;
    };
    // All parts outlive it. On the loop's thread, or before the loop runs.
    static base::Result<std::unique_ptr<Enrolment>> create(const Parts& parts, EnrolmentSettings settings);
    // Leaves the kernel as it is: pods stay captured. The source must have been destroyed.
    ~Enrolment() override;
    Enrolment(const Enrolment&) = delete;
    Enrolment& operator=(const Enrolment&) = delete;

    // Any thread.
    void pod_changed(PodPtr pod) override;
    void pod_removed(std::string uid) override;
    void pods_synced() override;

    // The loop's thread. A tunnel connected anew is told every pod by its server from these.
    [[nodiscard]] std::vector<EnrolledPod> pods() const;
    [[nodiscard]] EnrolmentCounts counts() const;
    [[nodiscard]] std::vector<PodStatus> status() const;

  private:
    struct Member;
    struct Changed {
        PodPtr pod;
    };
    struct Removed {
        std::string uid;
    };
    struct Synced {};
    struct Answer {
        std::string uid;
        uint64_t attempt;
        base::Result<void> result;
    };
    using Event = std::variant<Changed, Removed, Synced, Answer>;
    // Events from other threads; shared with the tunnel's answers, which may come after the enrolment has gone.
    struct Inbox;

    Enrolment(const Parts& parts, EnrolmentSettings settings);
    base::Result<void> load_pinned();
    void on_tick();
    void drain();
    void handle(Event& event);
    void change(PodPtr pod);
    void remove(const std::string& uid);
    void look(Member& member);
    base::Result<void> join(Member& member, PodNetns netns);
    base::Result<uint32_t> id_for(uint64_t cookie, const Pod& pod, bool& adopted);
    void hand_over(Member& member);
    void answered(const Answer& answer);
    void waited(Member& member);
    base::Result<void> write_rows(Member& member);
    void capture(Member& member);
    void fail(Member& member, const base::Error& error);
    void leave(Member& member);
    void addresses_changed(Member& member);
    void reclaim_addresses();
    void settle();
    base::Result<void> sweep();
    [[nodiscard]] bool awaited(uint64_t cookie) const;
    [[nodiscard]] static EnrolledPod enrolled(const Member& member);

    Parts parts_;
    EnrolmentSettings settings_;
    AddressBook book_;
    std::shared_ptr<Inbox> inbox_;
    std::unordered_map<std::string, std::unique_ptr<Member>> members_;
    std::unordered_map<uint64_t, Member*> by_netns_;
    std::unordered_map<uint64_t, PodOwner> pinned_;  // rows of an earlier agent that nobody has claimed yet
    EnrolmentCounts counts_;
    uint64_t attempts_ = 0;
    bool synced_ = false, settled_ = false;
    base::Timer tick_;
};

}  // namespace warren::node
