// SPDX-License-Identifier: Apache-2.0
// Time as a dependency. Durations, deadlines and timers use the monotonic clock; certificates and logs use the wall clock, which may jump.
// The two are different types, so they cannot be subtracted from each other. A component borrows a const Clock& that outlives it; every
// Clock may be read from any thread. FakeClock moves only when told, which is how tests pass time without sleeping.
#pragma once

#include "base/result.h"

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>

namespace warren::base {

using MonoTime = std::chrono::steady_clock::time_point;  // CLOCK_MONOTONIC: stands still while the machine is suspended
using WallTime = std::chrono::system_clock::time_point;  // nanoseconds of Unix time: 1677-09-21 to 2262-04-11

class Clock {
  public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual MonoTime now() const = 0;
    [[nodiscard]] virtual WallTime wall() const = 0;
};

class RealClock final : public Clock {
  public:
    [[nodiscard]] MonoTime now() const override { return std::chrono::steady_clock::now(); }
    [[nodiscard]] WallTime wall() const override { return std::chrono::system_clock::now(); }
};

// Any thread may read and move it; a reader that sees the new time also sees what the mover did before it.
class FakeClock final : public Clock {
  public:
    using Duration = std::chrono::nanoseconds;

    // Neither clock starts at its epoch, so that "zero" is not mistaken for "now": 2024-01-01T00:00:00Z and 1,000 s after boot.
    explicit FakeClock(WallTime wall = WallTime(std::chrono::seconds(1'704'067'200)));
    [[nodiscard]] MonoTime now() const override { return MonoTime(Duration(mono_ns_.load())); }
    [[nodiscard]] WallTime wall() const override { return WallTime(Duration(wall_ns_.load())); }

    void advance(Duration by);      // both clocks
    void set_wall(WallTime value);  // the wall clock alone jumps, forward or back

  private:
    std::atomic<int64_t> mono_ns_;
    std::atomic<int64_t> wall_ns_;
};

// RFC 3339 in UTC with 0 to 9 digits of a second, cut and not rounded: "2024-01-31T23:59:59.123Z". More digits than 9 are 9.
[[nodiscard]] std::string to_rfc3339(WallTime time, unsigned digits = 3);
// RFC 3339 with capital T and Z, as Kubernetes and Go write it: any offset, up to 9 digits. A leap second (:60) is refused, for Unix time
// has no number for it.
[[nodiscard]] Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace warren::base
