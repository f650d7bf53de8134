// SPDX-License-Identifier: Apache-2.0
// What is wrong with a set of objects, for people: one line per problem with file, line, field and what to do. An error means that an
// object was not taken, or that a policy was made stricter than written because part of it could not be read; a warning means that the
// result is what the object says and still perhaps not what its author meant. Bounded; plain values, no thread affinity.
#pragma once

#include "agent/cluster/object_status.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace warren::cluster {

class Diagnostics {
  public:
    static constexpr size_t kMaxKept = 200;  // of each; the rest is only counted

    void error(std::string text) { add(errors_, error_count_, std::move(text)); }
    void warning(std::string text) { add(warnings_, warning_count_, std::move(text)); }

    // What the author of the object being converted is told; the last of a type counts.
    void tell(Told told) {
        std::erase_if(told_, [&](const Told& before) { return before.type == told.type; });
        told_.push_back(std::move(told));
    }
    [[nodiscard]] const std::vector<Told>& told() const { return told_; }

    [[nodiscard]] const std::vector<std::string>& errors() const { return errors_; }
    [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
    [[nodiscard]] size_t error_count() const { return error_count_; }
    [[nodiscard]] size_t warning_count() const { return warning_count_; }

  private:
    static void add(std::vector<std::string>& to, size_t& count, std::string text) {
        if (++count <= kMaxKept) to.push_back(std::move(text));
    }

    std::vector<std::string> errors_, warnings_;
    std::vector<Told> told_;
    size_t error_count_ = 0, warning_count_ = 0;
};

}  // namespace warren::cluster
