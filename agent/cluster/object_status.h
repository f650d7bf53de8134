// SPDX-License-Identifier: Apache-2.0
// What the author of an object is told in its status (Kubernetes contract 2.9): conditions, as the conversion finds them. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace warren::cluster {

enum class ConditionType : uint8_t { WaypointBound, WaypointMissing, ZtunnelAccepted, WaypointAccepted, Accepted, Programmed };
inline constexpr std::array<std::string_view, 6> kConditionTypes = {
    "istio.io/WaypointBound", "istio.io/WaypointMissing", "ZtunnelAccepted", "WaypointAccepted", "Accepted", "Programmed"};
[[nodiscard]] constexpr std::string_view to_string(ConditionType type) { return kConditionTypes[static_cast<size_t>(type)]; }

// Some of the types: a bit each.
using ConditionSet = uint8_t;
[[nodiscard]] constexpr ConditionSet set_of(ConditionType type) { return static_cast<ConditionSet>(1U << static_cast<unsigned>(type)); }

struct Told {
    ConditionType type = ConditionType::WaypointBound;
    bool status = false;
    std::string reason, message;
    bool operator==(const Told&) const = default;
};

// The conditions of ours that an object held when it was read. What we write ourselves makes no object another one.
struct HeldConditions {
    ConditionSet types = 0;
    bool operator==(const HeldConditions&) const { return true; }
};

}  // namespace warren::cluster
