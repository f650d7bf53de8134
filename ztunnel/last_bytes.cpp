// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/last_bytes.h"

#include <algorithm>
#include <utility>

namespace warren::ztunnel {

namespace {
constexpr uint16_t kFirst = 1, kSlowest = 50;  // ms; a delayed acknowledgement takes 40
}  // namespace

std::optional<uint16_t> next_look(size_t missing, uint64_t& mark, uint16_t& waited) {
    if (std::exchange(mark, missing) != missing) waited = 0;
    if (missing == 0 || waited >= kLastBytesWait.count()) return std::nullopt;
    const uint16_t next = std::clamp(waited, kFirst, kSlowest);
    waited = static_cast<uint16_t>(waited + next);
    return next;
}

}  // namespace warren::ztunnel
