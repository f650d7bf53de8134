// SPDX-License-Identifier: Apache-2.0
// What a captured connection may have to wait for before it has a route: its own pod's record, the mesh's records of where it goes, the
// address of an endpoint that is a hostname. Each wait is bounded in time; afterwards the connection goes on through Outbound or is
// refused. On the pod's worker.
#pragma once

#include "ztunnel/outbound.h"

namespace warren::ztunnel {

// The pod may be faster than the control plane (contract 5.2 step 2).
void wait_for_record(PodProxy& pod, Captured captured);
// The authority may hear of a pod later than the pod's first connection comes; asked again within the time of wait_for_record().
void wait_for_certificate(PodProxy& pod, Captured captured);
// False: nothing to wait for, and captured is untouched (contract 3.6).
[[nodiscard]] bool wait_for_names(PodProxy& pod, Captured& captured);
// The route has a hostname to resolve (contract 5.3, IP selection 4).
void wait_for_address(PodProxy& pod, Captured captured, policy::Route route);

}  // namespace warren::ztunnel
