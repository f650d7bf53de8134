// SPDX-License-Identifier: Apache-2.0
// Node: the agent's loop: pods come and go, the mesh changes, the tunnel connects, and the kernel's rows follow. Everything that writes
// maps lives here, on one thread. Changes are gathered for some milliseconds, so that a rollout of a hundred pods is one computation.
//
// create, run and the destructor belong to main's threads in that order (run blocks until stop); mesh() and ask() are for any thread.
#pragma once

#include "agent/node/attachments.h"
#include "agent/node/conntrack_sweeper.h"
#include "agent/node/enrolment.h"
#include "agent/node/features.h"
#include "agent/node/flow_directory.h"
#include "agent/node/judge.h"
#include "agent/node/kernel_object.h"
#include "agent/node/kernel_tables.h"
#include "agent/node/kubelet_cgroup.h"
#include "agent/node/maps.h"
#include "agent/node/node_report.h"
#include "agent/node/pins.h"
#include "agent/node/policy_id_store.h"
#include "agent/node/settings.h"
#include "agent/node/tunnel_cgroup.h"
#include "agent/node/tunnel_link.h"
#include "base/loop.h"
#include "base/result.h"
#include "base/timer.h"

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace warren::node {

class Node final : private EnrolmentListener {
  public:
    using Publish = std::function<void(std::shared_ptr<const FlowDirectory>)>;

    // Loads and attaches; fails with what is missing and the fix. publish is called on the loop's thread.
    static base::Result<std::unique_ptr<Node>> create(const Settings& settings, Publish publish);
    ~Node() override;

    [[nodiscard]] base::Result<void> run() { return loop_->run(); }
    void stop() { loop_->stop(); }

    // Where the pod source puts its pods.
    [[nodiscard]] PodEvents& pod_events() { return *enrolment_; }
    void mesh(std::shared_ptr<const policy::Snapshot> snapshot, bool synced);
    // Who else hears what becomes of pods, on the loop's thread; before the source starts. False: the loop takes no more tasks.
    [[nodiscard]] bool also_tell(std::shared_ptr<EnrolmentListener> listener);
    // What the node is doing, read on its loop; nothing when it does not answer within the deadline.
    [[nodiscard]] std::optional<NodeReport> report(std::chrono::milliseconds deadline = std::chrono::seconds(2));

    // The loop turns.
    [[nodiscard]] bool alive(std::chrono::milliseconds deadline = std::chrono::seconds(2));

    // Borrowed: they live as long as this.
    [[nodiscard]] const KernelObject& object() const { return *object_; }
    [[nodiscard]] const Maps& maps() const { return *maps_; }
    // The namespaces of the enrolled pods, any thread: for the sampler.
    [[nodiscard]] std::vector<std::shared_ptr<const base::Netns>> namespaces() const;

  private:
    explicit Node(const Settings& settings, Publish publish);
    base::Result<void> load();
    base::Result<void> attach();
    [[nodiscard]] wr_config config() const;

    void captured(const EnrolledPod& pod) override;
    void left(const EnrolledPod& pod) override;
    void tunnel_acknowledged(const EnrolledPod& pod) override;
    void settled() override;
    void failed(const Pod& pod, const base::Error& error) override;

    void take_mesh();
    void soon();
    void update();
    void tick();
    void publish_names();
    [[nodiscard]] LocalPod local(const EnrolledPod& pod) const;
    [[nodiscard]] NodeReport look() const;

    const Settings settings_;
    const Publish publish_;
    Features features_;
    std::optional<Pins> pins_;
    std::unique_ptr<KernelObject> object_;
    std::optional<Maps> maps_;
    std::optional<NodeNetns> netns_;
    std::unique_ptr<Attachments> attachments_;
    std::unique_ptr<TunnelCgroups> tunnel_cgroups_;
    std::unique_ptr<KubeletCgroup> kubelet_;
    std::optional<EnrolmentStore> store_;
    std::unique_ptr<base::Loop> loop_;
    std::unique_ptr<TunnelLink> tunnel_;
    std::optional<PolicyIdStore> policy_ids_;
    std::unique_ptr<KernelTables> tables_;
    std::unique_ptr<Judge> judge_;  // null: this kernel has no TCP iterator
    ConntrackSweeper conntrack_;
    std::shared_ptr<EnrolmentListener> also_;  // may be null
    std::unique_ptr<Enrolment> enrolment_;

    base::Timer update_timer_, tick_timer_;
    std::shared_ptr<const policy::Snapshot> mesh_;
    bool mesh_synced_ = false, settled_ = false;
    std::mutex next_mesh_mutex_;
    std::shared_ptr<const policy::Snapshot> next_mesh_;  // not taken by the loop yet
    bool next_mesh_synced_ = false;
    std::vector<std::shared_ptr<const base::Netns>> left_namespaces_;  // to be judged once the tables have let them go
    base::MonoTime synced_at_{};
    uint64_t ticks_ = 0;
    CheckReport last_check_;
    // Names for flow records, of pods that left too, for some time.
    struct Named {
        std::shared_ptr<const FlowPod> pod;
        std::optional<base::MonoTime> left;
    };
    std::unordered_map<uint32_t, Named> names_;
    mutable std::mutex namespaces_mutex_;
    std::vector<std::shared_ptr<const base::Netns>> namespaces_;
};

}  // namespace warren::node
