// SPDX-License-Identifier: Apache-2.0
// The mesh as it would be under the policies of a file. A file with workloads of its own is that mesh; one with policies alone is laid over
// the mesh there is: a policy of the same name is replaced, others are added. Mesh files, dumps and Kubernetes manifests are taken. Pure.
#pragma once

#include "agent/cluster/convert.h"
#include "base/result.h"
#include "policy/snapshot.h"
#include "tools/warren/json.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::tools {

struct Proposal {
    std::shared_ptr<const policy::Snapshot> mesh;
    bool whole = false;              // the file is the mesh
    std::vector<std::string> notes;  // what a person should know of how it was read
};

struct ProposalInput {
    std::string text, name;
    std::vector<std::string> removed;  // policies "namespace/name" that would be gone
    cluster::Settings settings;        // for Kubernetes manifests
};

// current is asked only when the file has no workloads.
[[nodiscard]] base::Result<Proposal> propose(const ProposalInput& input, const std::function<base::Result<Json>()>& current);

}  // namespace warren::tools
