// SPDX-License-Identifier: Apache-2.0
// PodFileSource: the pods of this node from a YAML file, for nodes without Kubernetes, for the lab and the tests. Watched: an edited or
// replaced file is in force within some milliseconds. A file that does not read, at start too, leaves the last good state in force and
// an error that names file, line, field and fix; no half of a bad file is applied.
//
//   pods:
//   - name: web
//     namespace: prod
//     serviceAccount: web             # "default" when absent
//     uid: 6f0c...                    # "file:NAMESPACE/NAME" when absent
//     netns: /run/netns/web           # or pid: 4711; not both
//     addresses: [10.1.0.7, fd00::7]  # may be absent: those found in the namespace
//     labels: {app: web}
//     annotations: {}
//     hostNetwork: false
//     enrolment: enrolled             # or observed: flows only
//     dnsCapture: true                # over the node's dns_capture
//     ingressCapture: true
//     direct: true
//
// Events come on the caller's thread from start(), then on the watcher's.
#pragma once

#include "agent/node/pod_source.h"
#include "base/file_watch.h"
#include "base/result.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

// Bounded: no more than kMaxPods. name: how errors call the text. dns_capture: of pods that do not say.
constexpr size_t kMaxPodsOfFile = 4096;
base::Result<std::vector<PodPtr>> pods_from_yaml(std::string_view text, std::string_view name, bool dns_capture = true);

class PodFileSource final : public PodSource {
  public:
    explicit PodFileSource(std::string path, bool dns_capture = true) : path_(std::move(path)), dns_capture_(dns_capture) {}

    // Fails only when the file cannot be watched. A file that is not there or does not read: no pods yet and not synced (nothing that an
    // earlier agent enrolled is let go), see last_error().
    base::Result<void> start(PodEvents& events) override;

    struct Status {
        uint64_t loads = 0, failures = 0;
        size_t pods = 0;
        std::optional<std::string> error = {};  // of the last reading
    };
    [[nodiscard]] Status status() const;

  private:
    void load();
    void apply(std::vector<PodPtr> pods);

    const std::string path_;
    const bool dns_capture_;
    PodEvents* events_ = nullptr;
    std::mutex load_mutex_;     // one reading at a time
    mutable std::mutex mutex_;  // of status_
    Status status_;
    bool synced_ = false;
    std::map<std::string, PodPtr> pods_;
    std::unique_ptr<base::FileWatcher> watcher_;
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

}  // namespace warren::node
