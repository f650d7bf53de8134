// SPDX-License-Identifier: Apache-2.0
// KubeletCgroup: keeps wr_kubelets current, the cgroup whose processes may probe enrolled pods past their policy from the node's own
// namespace (Kubernetes contract 1.8 recognises probes by a source address that any local process gets; here it is the kubelet's own
// process). Found by program: kubelet, kubelite (MicroK8s), k3s; or configured. A process counts only in the node's network namespace, by
// its executable and not by the name it gives itself, and outside of any pod's cgroup. One thread; looked for again at each tick, for a
// kubelet that restarts gets another cgroup.
//
// Where the kubelet shares its cgroup (k3s runs everything in one, with containerd and the shims), all of those processes may probe:
// reported, with the others by name.
#pragma once

#include "agent/node/cgroups.h"
#include "agent/node/maps.h"
#include "agent/node/pod_netns.h"
#include "base/result.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace warren::node {

struct KubeletSettings {
    std::string cgroup = {};  // directory, absolute or below the cgroup2 root; empty: found by program
    std::vector<std::string> programs = {"kubelet", "kubelite", "k3s"};
    std::string proc = "/proc";
};

struct KubeletReport {
    std::string program;  // "kubelet", or "configured"
    std::string cgroup;
    uint64_t id = 0;
    std::vector<std::string> shared_with = {};  // names of other programs in the same cgroup
};

class KubeletCgroup {
  public:
    KubeletCgroup(KubeletSettings settings, std::string cgroup2_root, const Maps& maps, const NodeNetns& node)
        : settings_(std::move(settings)), root_(std::move(cgroup2_root)), maps_(maps), node_(node) {}

    // Looks, writes, removes what is no longer a kubelet's. NotFound when there is none: probes are then judged like any plaintext.
    base::Result<void> refresh();
    [[nodiscard]] const std::vector<KubeletReport>& report() const { return reports_; }

  private:
    base::Result<std::vector<KubeletReport>> find() const;

    const KubeletSettings settings_;
    const std::string root_;
    const Maps& maps_;
    const NodeNetns& node_;
    std::vector<KubeletReport> reports_;
};

}  // namespace warren::node
