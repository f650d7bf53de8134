// SPDX-License-Identifier: Apache-2.0
// The objects of a mesh from an API server (Kubernetes contract 2.1). Two threads: the watcher's parses, the source's own keeps the objects
// and calls the handler, at most once in an interval. The parsed structs are kept, not their JSON. Memory besides: the parsed objects that
// wait while the handler works, each object once.
//
// Kinds whose definitions are not installed count as empty until they appear. An object that cannot be read is reported; its earlier
// version stays in force. Where there is none, a policy is taken at its strictest: it selects what it says it selects (its whole namespace
// when that cannot be read either) and lets nothing through.
//
// ServiceAccounts are not watched: nothing of the conversion reads them.
#pragma once

#include "agent/cluster/source.h"
#include "agent/kube/endpoint.h"
#include "agent/kube/reflector.h"
#include "base/result.h"

#include <chrono>
#include <memory>

namespace warren::cluster {

struct KubeSourceOptions {
    kube::ReflectorOptions watch = {};
    std::chrono::milliseconds settle{10};     // changes that belong together come within this
    std::chrono::milliseconds interval{100};  // between two calls of the handler
};

class KubeSource final : public Source {
  public:
    static base::Result<std::unique_ptr<KubeSource>> create(std::shared_ptr<kube::Endpoint> endpoint,
                                                            const KubeSourceOptions& options = {});
    ~KubeSource() override;

    void start(SourceHandler& handler) override;
    void stop() override;
    [[nodiscard]] SourceStatus status() const override;

    // What is watched, in the order of ObjectKind.
    [[nodiscard]] static std::vector<kube::WatchSpec> specs();

  private:
    struct Impl;
    explicit KubeSource(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

// One object as read: in the fragment exactly one of the kind, or none and the errors say why. Pure.
struct ReadObject {
    Objects fragment;
    std::vector<std::string> errors;
};
[[nodiscard]] ReadObject read_kube_object(ObjectKind kind, const kube::Object& object);
// For a policy that cannot be read; empty for other kinds.
[[nodiscard]] ReadObject strictest_reading(ObjectKind kind, const kube::Object& object);

}  // namespace warren::cluster
