// SPDX-License-Identifier: Apache-2.0
// Puts the CNI plugin on the node and keeps it there (Kubernetes contract 1.5): the binary into the runtime's folder, one element into the
// configuration that the runtime uses, both whole or not at all, and again when another component rewrites them. The binary comes first
// and goes last: a list that names a missing plugin stops every pod of the node.
//
// CniInstaller is one thread that watches both folders; install_cni and uninstall_cni are one step each, for any one thread at a time.
// Errors name the file.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace warren::node {

struct CniInstallSettings {
    std::string conf_dir = "/etc/cni/net.d";
    std::string bin_dir = "/opt/cni/bin";
    std::string conf_name = {};                // empty: the first that the runtime would take
    std::string plugin_name = "warren-cni";    // of the binary and of the element
    std::string binary = {};                   // where the plugin is copied from
    std::string socket = {}, state = {};       // as the host sees them
    std::chrono::milliseconds deadline{5000};  // of one ADD
};

struct CniInstalled {
    std::string conf;  // the configuration that names us
    bool changed = false;
};

// NotFound: there is no configuration yet, and nothing was done but for the binary.
base::Result<CniInstalled> install_cni(const CniInstallSettings& settings);
// Every list loses our element, a single configuration that was made a list of is put back, then the binary goes. Also the rest when one
// of them fails, which is the error.
base::Result<void> uninstall_cni(const CniInstallSettings& settings);

class CniInstaller {
  public:
    struct Status {
        bool installed = false;
        std::string conf, error;  // error: why not, at present
        uint64_t installs = 0;    // times that something had to be written
        uint64_t failures = 0;
    };

    // Installs from now on. The end leaves what is installed: a node whose agent is replaced goes on asking.
    static base::Result<std::unique_ptr<CniInstaller>> start(CniInstallSettings settings);
    ~CniInstaller();
    CniInstaller(const CniInstaller&) = delete;
    CniInstaller& operator=(const CniInstaller&) = delete;

    [[nodiscard]] Status status() const;  // any thread

  private:
    CniInstaller(CniInstallSettings settings, base::Fd inotify, base::Fd wake);
    void run();
    void step();
    bool watch();
    [[nodiscard]] bool wait(std::chrono::milliseconds limit);

    const CniInstallSettings settings_;
    const base::Fd inotify_, wake_;
    mutable std::mutex mutex_;
    Status status_;
    std::thread thread_;
};

}  // namespace warren::node
