// SPDX-License-Identifier: Apache-2.0
// The wait for a kernel to bring an application its last bytes before its socket is reset, which throws away what has not arrived. No event
// tells of acknowledgements, so it is looked: after a millisecond, then ever more slowly. Pure; of one connection's thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace warren::ztunnel {

// So long without a byte moving is what is left lying lost.
inline constexpr std::chrono::milliseconds kLastBytesWait{10'000};

// missing: bytes that have not arrived. mark: how many were missing at the last look, UINT64_MAX before the first. waited: milliseconds
// since any moved, 0 before the first. Milliseconds to the next look; none when all have arrived, or none has moved for kLastBytesWait:
// what a stalled application leaves lying is lost to it either way.
[[nodiscard]] std::optional<uint16_t> next_look(size_t missing, uint64_t& mark, uint16_t& waited);

}  // namespace warren::ztunnel
