// SPDX-License-Identifier: Apache-2.0
// One pod's way into the mesh and out of it; internal to enrolment.cpp and enrolment_sweep.cpp. Lives on the enrolment's loop.
#pragma once

#include "agent/node/enrolment.h"
#include "base/loop.h"
#include "base/timer.h"

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::node {

// Events of other threads, the latest of each pod. Closed when the enrolment goes, so that a tunnel's late answer finds nobody.
struct Enrolment::Inbox {
    explicit Inbox(base::Loop& l, Enrolment& o) : loop(l), owner(&o) {}

    base::Loop& loop;
    Enrolment* owner;  // used by the loop's thread alone, which also ends it
    std::mutex mutex;
    bool closed = false, posted = false;
    std::vector<Event> events;
    std::unordered_map<std::string, size_t> latest;  // uid -> its place in events

    static void push(const std::shared_ptr<Inbox>& inbox, Event event);
    std::vector<Event> take();
};

struct Enrolment::Member final : base::IoHandler {
    enum class State : uint8_t {
        Looking,   // about to be looked at
        Waiting,   // for the tunnel
        Captured,  // rows are written; of an observed pod too
        Failing,   // will be tried again
        Refused,   // until the source says something else
    };

    Member(Enrolment& o, PodPtr p) : owner(o), pod(std::move(p)), timer(base::Timer::of<&Member::on_timer>(*this)) {}
    void on_io(uint32_t) override { owner.addresses_changed(*this); }
    void on_timer() {
        if (state == State::Waiting)
            owner.waited(*this);
        else if (state == State::Captured && refused)
            owner.hand_over(*this);
        else
            owner.look(*this);
    }
    [[nodiscard]] bool enrolled() const { return pod->membership == Membership::Enrolled; }

    Enrolment& owner;
    PodPtr pod;
    State state = State::Looking;
    std::optional<PodNetns> netns;
    uint32_t id = 0;
    std::vector<base::IpAddr> addresses;
    uint64_t attempt = 0;  // of handing over; an answer to an earlier one counts no more
    bool told = false, acknowledged = false;
    bool refused = false;     // by the tunnel, the last time
    bool redirected = false;  // captured as an enrolled pod, not as an observed one
    std::string why;          // it fails
    std::chrono::milliseconds delay{0};
    std::chrono::milliseconds tell_delay{0};  // before a tunnel that refused is told again
    base::Timer timer;
};

}  // namespace warren::node
