// SPDX-License-Identifier: Apache-2.0
// The inbound handshakes under way at one Holder (a pod, a worker), and which of them makes room when its places are out: the oldest of
// those that have not been answered yet, and only without any of these the oldest that was. A stranger who says nothing costs nothing and
// comes back at once, so he must not throw out a peer that is about to prove itself; each answer costs the tunnel a signature, so answered
// strangers are no more than a core can sign. Borrows its members; belongs to one worker's thread.
#pragma once

#include "base/link.h"

#include <string_view>

namespace warren::ztunnel {

template <class Holder>
class HandshakeOf : public base::Link<HandshakeOf<Holder>> {
  public:
    // Ends, for another one.
    virtual void give_way(std::string_view reason_code, std::string_view error) = 0;

  protected:
    ~HandshakeOf() = default;
};

template <class Holder>
class HandshakePlaces {
  public:
    using Member = HandshakeOf<Holder>;

    void enter(Member& member) { waiting_.push_back(member); }
    // Its hello was answered. Again does no harm.
    void answered(Member& member) {
        leave(member);
        answered_.push_back(member);
    }
    static void leave(Member& member) { base::LinkList<Member>::remove(member); }
    void make_room(std::string_view reason_code, std::string_view error) {
        Member* first = waiting_.pop_front();
        if (first == nullptr) first = answered_.pop_front();
        if (first != nullptr) first->give_way(reason_code, error);
    }

  private:
    base::LinkList<Member> waiting_, answered_;  // oldest first
};

}  // namespace warren::ztunnel
