// SPDX-License-Identifier: Apache-2.0
// The pods of this node as the agent hears of them, and the interface behind which their sources stand: a file (pod_file_source.h),
// Kubernetes later. A source decides who is eligible (Kubernetes contract 1.2) and says so here; whether a namespace may be captured at
// all (never the node's) is checked again in enrolment.h, for a source may be wrong.
//
// Pods are immutable values. A source calls its events on any thread, one call at a time, and never after it was destroyed.
#pragma once

#include "agent/node/network_policy.h"
#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

// Where a pod's network namespace is found; exactly one is set.
struct NetnsRef {
    std::string path = {};                                // /run/netns/NAME, /proc/PID/ns/net
    pid_t pid = 0;                                        // believed only when the namespace has one of the pod's addresses (contract 1.6)
    std::shared_ptr<const base::Netns> opened = nullptr;  // handed over, for example by the CNI plugin

    friend bool operator==(const NetnsRef& a, const NetnsRef& b) {
        const bool same_open = a.opened == b.opened || (a.opened && b.opened && *a.opened == *b.opened);
        return a.path == b.path && a.pid == b.pid && same_open;
    }
};

enum class Membership : uint8_t {
    Enrolled,  // captured
    Observed,  // flows only
};

struct Pod {
    std::string uid;  // never used again for another pod
    std::string name, namespace_name, service_account;
    std::map<std::string, std::string> labels = {}, annotations = {};
    NetnsRef netns = {};
    std::vector<base::IpAddr> addresses = {};  // as its owner declares them; may be empty at first
    bool host_network = false;                 // never captured, whatever else is said
    Membership membership = Membership::Enrolled;
    bool dns_capture = true;
    bool ingress_capture = true;  // false: ambient.istio.io/bypass-inbound-capture
    bool direct = true;           // may use the same-node path as source
    PodNetworkRef network = {};   // what NetworkPolicies leave of that path; null: the source knows of none

    bool operator==(const Pod&) const = default;
};

using PodPtr = std::shared_ptr<const Pod>;

class PodEvents {
  public:
    virtual ~PodEvents() = default;
    virtual void pod_changed(PodPtr pod) = 0;  // new, or another value under the same uid
    virtual void pod_removed(std::string uid) = 0;
    // Every pod of the node has been told once: what is not among them is gone. Called once.
    virtual void pods_synced() = 0;
};

class PodSource {
  public:
    virtual ~PodSource() = default;
    // Tells what is there, then what changes. events outlives the source.
    virtual base::Result<void> start(PodEvents& events) = 0;
};

}  // namespace warren::node
