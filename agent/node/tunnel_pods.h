// SPDX-License-Identifier: Apache-2.0
// What enrolment needs of the tunnel (implemented by the ZDS server, data-plane contract 8): a pod's namespace is handed over before the
// pod is captured, so that its listeners are there when the first connection comes, and taken back after it is captured no more.
//
// Called on the enrolment's loop thread; none of the calls may block. The implementation outlives the enrolment.
#pragma once

#include "agent/node/pod_source.h"
#include "base/netns.h"
#include "base/result.h"

#include <functional>
#include <memory>
#include <string>

namespace warren::node {

class TunnelPods {
  public:
    using Done = std::function<void(base::Result<void>)>;

    virtual ~TunnelPods() = default;
    // Whether somebody could acknowledge an add now. When not, enrolment does not wait: the pod is captured and fails closed.
    [[nodiscard]] virtual bool connected() const = 0;
    // Hands over (or, for a uid that is there, replaces). done is called at most once, on any thread, also after the pod was removed; it
    // stays callable after the enrolment has gone.
    virtual void pod_ready(PodPtr pod, std::shared_ptr<const base::Netns> netns, Done done) = 0;
    virtual void pod_gone(const std::string& uid) = 0;
};

}  // namespace warren::node
