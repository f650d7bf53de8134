// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/handshake_places.h"

#include "tests/catch.h"

#include <deque>
#include <string>
#include <vector>

namespace warren::ztunnel {
namespace {

struct Worker;
struct Pod;

class Handshake final : public HandshakeOf<Pod>, public HandshakeOf<Worker> {
  public:
    Handshake(std::string name, std::vector<std::string>& ended) : name_(std::move(name)), ended_(ended) {}

  private:
    void give_way(std::string_view reason_code, std::string_view) override {
        HandshakePlaces<Pod>::leave(*this);
        HandshakePlaces<Worker>::leave(*this);
        ended_.push_back(name_ + " " + std::string(reason_code));
    }
    std::string name_;
    std::vector<std::string>& ended_;
};

struct Places {
    HandshakePlaces<Pod> pod;
    HandshakePlaces<Worker> worker;
    std::vector<std::string> ended;
    std::deque<Handshake> all;

    Handshake& enter(std::string name) {
        all.emplace_back(std::move(name), ended);
        pod.enter(all.back());
        worker.enter(all.back());
        return all.back();
    }
    void answered(Handshake& one) {
        pod.answered(one);
        worker.answered(one);
    }
};

}  // namespace

TEST_CASE("handshake places: who has sent nothing makes room before who was answered, the oldest first") {
    Places places;
    places.answered(places.enter("honest"));
    places.enter("silent 1");
    places.enter("silent 2");
    places.answered(places.enter("late hello"));

    for (int i = 0; i < 2; ++i) places.pod.make_room("full", "");
    for (int i = 0; i < 2; ++i) places.worker.make_room("busy", "");
    CHECK(places.ended == std::vector<std::string>{"silent 1 full", "silent 2 full", "honest busy", "late hello busy"});
    places.pod.make_room("full", "");
    places.worker.make_room("busy", "");
    CHECK(places.ended.size() == 4);  // nobody is left in either
}

TEST_CASE("handshake places: one that is done, or dead, is asked no more") {
    Places places;
    auto& done = places.enter("done");
    HandshakePlaces<Pod>::leave(done);
    HandshakePlaces<Worker>::leave(done);
    {
        Handshake dead("dead", places.ended);
        places.pod.enter(dead);
        places.pod.answered(dead);
        places.pod.answered(dead);
    }
    places.pod.make_room("full", "");
    places.worker.make_room("full", "");
    CHECK(places.ended.empty());
}

}  // namespace warren::ztunnel
