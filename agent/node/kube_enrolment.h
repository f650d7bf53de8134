// SPDX-License-Identifier: Apache-2.0
// KubeEnrolment: enrolment on a Kubernetes node put together: the pod source, the CNI plugin's socket, the plugin's installation once the
// pods are known. start and the destructor belong to main's thread; the rest is for any.
#pragma once

#include "agent/node/cni_installer.h"
#include "agent/node/cni_server.h"
#include "agent/node/node.h"
#include "agent/node/pod_kube_source.h"
#include "agent/node/settings.h"
#include "base/result.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace warren::node {

struct KubeEnrolmentStatus {
    PodKubeStatus pods;
    CniServerStats cni;
    bool installs = false;  // we are to install the plugin
    CniInstaller::Status install;
};

class KubeEnrolment {
  public:
    // The node outlives it, and its loop runs until after its end.
    static base::Result<std::unique_ptr<KubeEnrolment>> start(const Settings& settings, Node& node);
    ~KubeEnrolment();
    KubeEnrolment(const KubeEnrolment&) = delete;
    KubeEnrolment& operator=(const KubeEnrolment&) = delete;

    [[nodiscard]] KubeEnrolmentStatus status() const;

  private:
    explicit KubeEnrolment(const Settings& settings) : settings_(settings) {}
    void install();

    const Settings settings_;
    std::unique_ptr<PodKubeSource> pods_;
    std::unique_ptr<CniServer> server_;
    mutable std::mutex mutex_;
    std::unique_ptr<CniInstaller> installer_;
    std::string install_error_;
};

// Takes the plugin off the node and the annotations off its pods. Also the rest when one of them fails, which is the error.
[[nodiscard]] base::Result<void> uninstall_kube(const Settings& settings);

}  // namespace warren::node
