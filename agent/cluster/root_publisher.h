// SPDX-License-Identifier: Apache-2.0
// The root certificate in every namespace: ConfigMap istio-ca-root-cert (Kubernetes contract 4.6), made where it is missing and made right
// again where it was edited or deleted, while leading. The same for the revocation lists, istio-ca-crl, under another name and key. It
// watches namespaces, and of the ConfigMaps only those of this name. start, stop and the destructor belong to one owner; set_root and stats
// to any thread.
#pragma once

#include "agent/cluster/labels.h"
#include "agent/kube/client.h"
#include "agent/kube/reflector.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::cluster {

struct RootPublisherOptions {
    std::string name = "istio-ca-root-cert";
    std::string key = "root-cert.pem";
    std::vector<LabelSelector> discovery = {};  // namespaces that count; none: all
    kube::ReflectorOptions watch = {};
};

class RootPublisher {
  public:
    // The client outlives it. leading: asked before each write.
    static base::Result<std::unique_ptr<RootPublisher>> create(kube::Client& client, RootPublisherOptions options,
                                                               std::function<bool()> leading);
    ~RootPublisher();

    void start();
    void stop();
    void set_root(std::string pem);  // nothing is written before the first; an empty text is one

    struct Stats {
        uint64_t writes = 0, errors = 0;
        size_t namespaces = 0, waiting = 0;
        std::string last_error;
    };
    [[nodiscard]] Stats stats() const;

  private:
    struct Impl;
    explicit RootPublisher(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::cluster
