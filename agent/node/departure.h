// SPDX-License-Identifier: Apache-2.0
// Departure: an agent that is told to end is being replaced, and then the kernel and the CNI configuration keep what they have, or it is
// being removed, and then it takes everything of Warren off the node (Kubernetes contract 1.12). It is the DaemonSet that knows. And the
// other half: retire, which removes the DaemonSet and waits for its agents, so that they can clean up while they still have permissions
// (a hook of the chart). Blocking, any thread, within the deadline.
#pragma once

#include "agent/kube/client.h"
#include "base/clock.h"
#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace warren::node {

struct DaemonSetName {
    std::string ns, name;
    // "NS/NAME"
    static base::Result<DaemonSetName> parse(std::string_view text);
};

enum class Departure : uint8_t {
    Replaced,  // the DaemonSet is there to stay
    Removed,   // it is gone or going, or so is the account whose token we carry
};

// An API server that does not answer or refuses is asked again; at the deadline that is an error, and the caller leaves things as they are:
// a node that keeps its capture harms nobody, one that drops it sends plaintext. A refusal for lack of permission is one, for while a chart
// is removed the role goes shortly before the account, and an answer may be cached for ten seconds.
base::Result<Departure> departure_of(kube::Client& client, const DaemonSetName& self, base::MonoTime deadline);

// Done when neither it nor a pod with the label selector is there; nothing there at first is no error. Timeout says who is left.
base::Result<void> retire(kube::Client& client, const DaemonSetName& set, std::string_view selector, base::MonoTime deadline);

}  // namespace warren::node
