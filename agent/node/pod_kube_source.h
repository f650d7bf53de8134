// SPDX-License-Identifier: Apache-2.0
// PodKubeSource: the pods of this node from the API server (Kubernetes contract 1): who is eligible by labels and annotations, where a
// running pod's network namespace is, what the CNI plugin hands over before a new pod's first program runs, and the redirection annotation,
// which follows what was really captured. Enrolment says that through listener().
//
// Threads: the watcher's parses; the source's own decides and is the one that calls the events; the writer's patches; add() and del() are
// called on the CNI server's. start, the destructor and give_up belong to the owner, the rest is for any thread. The events outlive the
// source; listener() may outlive it and then does nothing.
//
// While the API server is away the last state stands: nobody is let go, and what the plugin asks of a pod that is not known yet is answered
// by its namespace. synced is told when every pod was listed and every eligible one that has an address was found or looked for twice.
//
// Each pod is told with what NetworkPolicies leave of plain TCP to and from it (network_policy.h). Where they may not be read, pods are
// told without: a node agent of an older role must not turn its whole node to the tunnel, and whoever enforces them does so regardless.
#pragma once

#include "agent/kube/endpoint.h"
#include "agent/kube/reflector.h"
#include "agent/node/cni_server.h"
#include "agent/node/enablement.h"
#include "agent/node/enrolment.h"
#include "agent/node/kube_network_policy.h"
#include "agent/node/pod_source.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

namespace warren::node {

struct PodKubeOptions {
    std::string node_name;
    Enablement enablement = Enablement::standard();
    std::set<std::string> excluded_namespaces = {"kube-system"};
    std::string own_namespace = {};  // pods labelled app=ztunnel in it are never enrolled (contract 1.2, row 6)
    bool dns_capture = true;
    bool annotate = true;          // false where another agent redirects
    bool observe_others = false;   // tell of pods outside the mesh too, for their flows
    bool network_policies = true;  // watch them
    NetworkPolicyLimits policy_limits = {};
    std::string proc = "/proc";
    std::string node_netns = "/proc/1/ns/net";
    std::string state_file = {};  // for the CNI plugin while the agent is away; empty: none
    bool unknown_waits = false;   // cni::NodeState
    kube::ReflectorOptions watch = {};
    std::chrono::milliseconds find_first{20}, find_most{5000};  // between looks for a pod's namespace; doubles
    std::chrono::milliseconds look_again{30'000};               // at those that were found: a sandbox may be made anew
    std::function<void()> on_synced = {};                       // on the source's thread, once, after the state file is there
};

struct NetworkPolicyStatus {
    bool watched = false;
    bool known = false;    // they were listed once, and what came since counts
    bool missing = false;  // the API server has no such kind
    size_t policies = 0;
    size_t unread = 0;  // of those: their namespaces' pods take the tunnel
    std::string error;  // why nothing comes, or of the latest that did not read; empty once it is over
};

struct PodKubeStatus {
    bool synced = false;
    size_t pods = 0, namespaces = 0;
    size_t enrolled = 0;  // told as members
    size_t lost = 0;      // eligible, with an address, and no namespace found
    uint64_t scans = 0, patches = 0, patch_failures = 0, malformed = 0, cni_fallbacks = 0;
    std::string error;  // of the watch, a patch or the state file, the latest; empty once it is over
    NetworkPolicyStatus network_policies;
};

class PodKubeSource final : public PodSource, public CniDecider {
  public:
    static base::Result<std::unique_ptr<PodKubeSource>> create(std::shared_ptr<kube::Endpoint> endpoint, PodKubeOptions options);
    ~PodKubeSource() override;

    base::Result<void> start(PodEvents& events) override;
    [[nodiscard]] std::shared_ptr<EnrolmentListener> listener() const;
    [[nodiscard]] PodKubeStatus status() const;

    cni::Answer add(const cni::Question& question, std::shared_ptr<const base::Netns> netns, base::MonoTime deadline) override;
    void del(const cni::Question& question) override;
    void give_up() override;

  private:
    struct Impl;
    explicit PodKubeSource(std::shared_ptr<Impl> impl);
    const std::shared_ptr<Impl> impl_;
};

}  // namespace warren::node
