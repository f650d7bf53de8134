// SPDX-License-Identifier: Apache-2.0
// May an open same-node connection go on? Judged afresh with its own addresses, as the tunnel does for its own after every change of
// the mesh, not by its row: a row may have turned to TUNNEL for a reason that ends nothing, such as a waypoint. Pure; any thread.
#pragma once

#include "agent/node/mesh_view.h"

#include <cstdint>

namespace warren::node {

struct OpenConnection {
    uint32_t source = 0;  // pod ids
    uint32_t destination = 0;
    base::SockAddr src;
    base::SockAddr dst;  // pod address and the application's port
};

enum class Judgement : uint8_t {
    Keep,
    Denied,     // by policy; the decision says which
    Unknown,    // a record is gone: nobody can say who this is any more. Ask only when the mesh is complete
    Encrypted,  // sameNode: encrypted is demanded now
    Gone,       // a pod is no longer of this node's mesh
};

struct Rejudged {
    Judgement judgement = Judgement::Gone;
    policy::Decision decision;  // Keep, Denied; its policy lives as long as the view is not updated
};

[[nodiscard]] Rejudged rejudge(const MeshView& view, const OpenConnection& connection);

}  // namespace warren::node
