// SPDX-License-Identifier: Apache-2.0
// How a stream's end is named and how long to wait for the next one (data-plane contract 3.5; agent/xds/client.h says where it is more
// patient). Values of the client's thread; classify is pure.
#pragma once

#include "agent/xds/client.h"
#include "base/backoff.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace warren::xds {

enum class Retry : uint8_t {
    AtOnce,   // and the back-off starts over
    Soon,     // 10 ms, and the back-off starts over
    Backoff,  // 20 ms, twice that and so on up to the longest wait, each within 20 %
};

struct End {
    Termination reason = Termination::Error;
    Retry retry = Retry::Backoff;
    std::string detail;
};

// status: a gRPC status code. answered: the stream had at least one response.
[[nodiscard]] End classify(int status, std::string_view text, bool answered);

class Reconnect {
  public:
    static constexpr std::chrono::seconds kRemote{15};
    // A socket of this machine: there is no network to spare, and whoever comes back is waited for by every pod of the node.
    static constexpr std::chrono::seconds kLocal{1};

    Reconnect(base::RandomEngine random, std::chrono::nanoseconds longest)
        : random_(random), backoff_(base::Backoff::Mode::Exponential, std::chrono::milliseconds(20), longest) {}
    // age: how long the stream was open, zero when it never was.
    [[nodiscard]] std::chrono::nanoseconds wait_after(const End& end, std::chrono::nanoseconds age);

  private:
    base::RandomEngine random_;
    base::Backoff backoff_;
};

}  // namespace warren::xds
