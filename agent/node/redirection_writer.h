// SPDX-License-Identifier: Apache-2.0
// RedirectionWriter: writes the pods' ambient.istio.io/redirection annotation, by which a control plane knows that a pod takes HBONE
// (Kubernetes contract 1.1): a merge patch of the pods/status subresource, bound to the pod's uid. One thread, one patch at a time, the
// latest value of each pod; no patch is repeated here.
//
// write() is for any thread. done is called on the writer's thread and not after the destructor.
#pragma once

#include "agent/kube/client.h"
#include "base/result.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace warren::node {

class RedirectionWriter {
  public:
    struct Job {
        std::string ns, name, uid;
        std::string value;  // empty: remove
    };
    // A pod that is gone, or another one by now, is no error.
    using Done = std::function<void(const Job&, const base::Result<void>&)>;

    RedirectionWriter(std::shared_ptr<kube::Client> client, Done done);
    ~RedirectionWriter();
    RedirectionWriter(const RedirectionWriter&) = delete;
    RedirectionWriter& operator=(const RedirectionWriter&) = delete;

    void write(Job job);

  private:
    void run();

    const std::shared_ptr<kube::Client> client_;
    const Done done_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::string, Job> jobs_;  // by uid: bounded by the node's pods
    bool stopping_ = false;
    std::thread thread_;
};

// Removes the annotation from every pod of a node, for an agent that goes for good. Blocking; as many as can be are done when one fails.
base::Result<void> clear_redirection(kube::Client& client, const std::string& node_name);

}  // namespace warren::node
