// SPDX-License-Identifier: Apache-2.0
// The network namespaces of running pods, found without asking the container runtime (Kubernetes contract 1.6): the oldest process whose
// cgroup names the pod. The namespace is held open when it is returned, so that no process number has to be believed later; whether it is
// the pod's is for the caller to see by its addresses. Blocking reads of /proc: 20 us a process.
#pragma once

#include "base/netns.h"
#include "base/result.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace warren::node {

// Every pod uid in the text of a /proc/PID/cgroup, with dashes: "pod<uid>" of the cgroupfs and systemd drivers, cri-o's, and nested ones.
// The last one counts: the innermost. Empty: none. Fuzzed (tests/fuzz/kube_pod.cpp).
[[nodiscard]] std::string pod_uid_of_cgroup(std::string_view text);

// By uid, of those wanted. node: the node's own namespace, whose processes are passed over.
base::Result<std::map<std::string, std::shared_ptr<const base::Netns>>> find_pod_namespaces(const std::string& proc,
                                                                                            const base::Netns& node,
                                                                                            const std::set<std::string>& wanted);

}  // namespace warren::node
