// SPDX-License-Identifier: Apache-2.0
// What is wrong with a set of objects, for people: one line per problem with file, line, field and what to do. An error means that an
// object was not taken, or that a policy was made stricter than written because part of it could not be read; a warning means that the
// result is what the object says and still perhaps not what its author meant. Bounded; plain values, no thread affinity.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace warren::cluster {

// What became of the waypoint that an object names (contract 2.9: condition istio.io/WaypointBound, whose reasons these are).
struct WaypointBound {
    bool bound = false;  // its traffic passes the waypoint
    std::string reason, message;
    bool operator==(const WaypointBound&) const = default;
};

class Diagnostics {
  public:
    static constexpr size_t kMaxKept = 200;  // of each; the rest is only counted

    void error(std::string text) { add(errors_, error_count_, std::move(text)); }
    void warning(std::string text) { add(warnings_, warning_count_, std::move(text)); }

    // Of the object being converted; nothing when it names no waypoint.
    void set_bound(WaypointBound bound) { bound_ = std::move(bound); }
    [[nodiscard]] const std::optional<WaypointBound>& bound() const { return bound_; }

    [[nodiscard]] const std::vector<std::string>& errors() const { return errors_; }
    [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
    [[nodiscard]] size_t error_count() const { return error_count_; }
    [[nodiscard]] size_t warning_count() const { return warning_count_; }

  private:
    static void add(std::vector<std::string>& to, size_t& count, std::string text) {
        if (++count <= kMaxKept) to.push_back(std::move(text));
    }

    std::vector<std::string> errors_, warnings_;
    std::optional<WaypointBound> bound_;
    size_t error_count_ = 0, warning_count_ = 0;
};

}  // namespace warren::cluster
