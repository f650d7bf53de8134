// SPDX-License-Identifier: Apache-2.0
// One pod of the file of pods, from its YAML node; part of pod_file_source.cpp. Refusals name file, line, path of the field and the fix.
#pragma once

#include "agent/node/pod_source.h"
#include "base/result.h"
#include "policy/document.h"

#include <vector>

namespace warren::node {

// The elements of "pods".
base::Result<std::vector<policy::Node>> pod_nodes(policy::Node root);
// dns_capture: of a pod that does not say.
base::Result<Pod> read_pod(policy::Node node, bool dns_capture);

}  // namespace warren::node
