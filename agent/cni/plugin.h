// SPDX-License-Identifier: Apache-2.0
// The chained CNI plugin (Kubernetes contract 1.5), as a function: what the runtime gave in, what it gets back. Blocking, within the
// configured deadline.
//
// Failure direction: a pod that is of the mesh, or of a namespace that has some of it while the agent is away, does not start uncaptured:
// ADD fails with "try again later", and the kubelet does. Any other pod starts, whatever is broken on our side (trap 34). DEL, CHECK, GC
// and STATUS never fail: a node must be able to take pods down, and be ready, without us.
#pragma once

#include "agent/cni/invocation.h"

#include <string>
#include <string_view>

namespace warren::cni {

struct Outcome {
    int exit_code = 0;
    std::string output;  // standard output: nothing but the protocol
    std::string remark;  // standard error, for the runtime's log
};

[[nodiscard]] Outcome run_plugin(const Environment& environment, std::string_view config);

}  // namespace warren::cni
