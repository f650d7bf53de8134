// SPDX-License-Identifier: Apache-2.0
// A node for the measurement of verdicts: pods of ten namespaces, each with an account of its own, so that no two of them are judged
// alike; policies spread over the namespaces, one in ten for its whole namespace, the others listed by some of its pods. Deterministic.
#pragma once

#include "agent/node/local_pods.h"
#include "policy/snapshot.h"

#include <cstdint>
#include <vector>

namespace warren::bench {

struct VerdictCaseSize {
    uint32_t pods, ports, policies;
    bool addresses;  // every policy looks at source addresses as well, so that no two pods share any work
};

class VerdictCase {
  public:
    explicit VerdictCase(const VerdictCaseSize& size) : size_(size) {}

    [[nodiscard]] std::vector<node::LocalPod> pods() const;
    // Workloads and policies, with no decision made yet.
    [[nodiscard]] policy::Batch mesh() const;
    // Policy number n as it is after that many changes, each with another verdict for some.
    [[nodiscard]] policy::PolicySpec policy(uint32_t n, uint32_t round) const;
    [[nodiscard]] static policy::PolicySpec global_policy(uint32_t round);
    // A policy of a whole namespace, and one that some pods list.
    [[nodiscard]] static uint32_t wide_policy(uint32_t i) { return i % 10; }
    [[nodiscard]] uint32_t listed_policy(uint32_t i) const { return 100 + i * 7 % (size_.policies - 100); }

  private:
    VerdictCaseSize size_;
};

}  // namespace warren::bench
