// SPDX-License-Identifier: Apache-2.0
// The self-made authority's state folder (authority.h has its layout): generations of root and issuer, and where a rotation stands. Values
// and blocking file operations; whoever changes the folder holds its lock (lock_state). Private to the certificate service.
#pragma once

#include "agent/cluster/authority_types.h"
#include "base/fd.h"
#include "base/result.h"

#include <string>
#include <vector>

namespace warren::cluster {

struct Generations {
    RotationState::Phase phase = RotationState::Phase::Steady;
    base::WallTime since{};    // of the phase
    std::vector<int> numbers;  // ascending; the last is the newest
    int signing = 0;
    bool operator==(const Generations&) const = default;
};

[[nodiscard]] std::string generation_folder(const std::string& state, int number);
[[nodiscard]] base::Result<base::Fd> lock_state(const std::string& state);

// What state.json says. A folder without one has no generations; one whose file was lost but whose keys are there goes on with the oldest,
// which every peer is sure to trust.
[[nodiscard]] base::Result<Generations> read_generations(const std::string& state, base::WallTime now);
[[nodiscard]] base::Result<Generations> parse_generations(const std::string& text);
[[nodiscard]] base::Result<void> write_generations(const std::string& state, const Generations& generations);

// The files of the next generation; not yet in state.json.
[[nodiscard]] base::Result<int> create_generation(const AuthorityOptions& options, const Generations& so_far, base::WallTime now);

// Takes away generations that are not in use, which only a crash leaves (nobody saw their roots, or nobody needs them any more), and what
// it left half-written. Only for who holds the folder's lock, and only when state.json is there to say what is in use.
void remove_leftovers(const std::string& state, const Generations& in_use);

// When the phase's next step is due; zero when there is none.
[[nodiscard]] base::WallTime next_step(const Generations& generations, const AuthorityOptions& options);
// The next phase: Overlap -> Retiring -> Steady.
[[nodiscard]] Generations advanced(Generations generations, base::WallTime now);

}  // namespace warren::cluster
