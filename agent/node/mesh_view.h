// SPDX-License-Identifier: Apache-2.0
// MeshView: the pods of this node joined with their records in the mesh, and for each whether the same-node path may start or end there.
// A pod's record is the one the tunnel uses (data-plane contract 8.4: name, namespace, account, node), so kernel and tunnel judge by the
// same policies. Pure but for the snapshot it keeps alive. Owned by one thread; versions tell readers of that thread what changed.
#pragma once

#include "agent/node/local_pods.h"
#include "policy/snapshot.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace warren::node {

// Why a pod's connections take the tunnel instead of the same-node path.
enum class NotDirect : uint8_t {
    No,               // they need not
    NotCaptured,      // the pod's traffic of that direction is not ours
    UnknownWorkload,  // its record has not arrived
    OtherNetwork,     // its record is of another network than the node
    Encrypted,        // sameNode: encrypted
    SwitchedOff,      // sameNode: off
    // destinations only
    NoAddress,
    Waypoint,
    OwnTunnel,      // the record has no HBONE, terminates its own, or has an application tunnel: the tunnel does not deliver as it is asked
    SharedAddress,  // one of its addresses is another workload's or a service's: the tunnel might go elsewhere
};
[[nodiscard]] std::string_view to_string(NotDirect why);

struct Member {
    LocalPod pod;
    policy::WorkloadRef record;  // null: unknown
    policy::Identity identity;   // of the record
    SameNode same_node = SameNode::Direct;
    NotDirect as_source = NotDirect::UnknownWorkload;
    NotDirect as_destination = NotDirect::UnknownWorkload;
    std::shared_ptr<const policy::PolicySet> policies;  // null without a record
    // Grow when anything changed that verdicts with the pod as source, or as destination, depend on.
    uint64_t source_version = 0;
    uint64_t destination_version = 0;
};

struct MeshSettings {
    policy::Text network;  // the node's own
    std::string node;      // empty: records of any node
    SameNodeRules same_node;
};

class MeshView {
  public:
    explicit MeshView(MeshSettings settings) : settings_(std::move(settings)) {}

    // Observed pods and ids given twice are left out. True when anything changed that a table may depend on.
    bool update(std::shared_ptr<const policy::Snapshot> snapshot, std::span<const LocalPod> pods);

    [[nodiscard]] const std::vector<Member>& members() const { return members_; }  // by id
    [[nodiscard]] const Member* find(uint32_t id) const;
    [[nodiscard]] const policy::Snapshot& snapshot() const { return *snapshot_; }
    [[nodiscard]] const std::shared_ptr<const policy::Snapshot>& shared_snapshot() const { return snapshot_; }
    [[nodiscard]] const MeshSettings& settings() const { return settings_; }
    // Grows with every update that joined, lost or changed a member or a record of one.
    [[nodiscard]] uint64_t version() const { return version_; }

  private:
    [[nodiscard]] Member join(const LocalPod& pod) const;
    [[nodiscard]] const policy::Workload* record_of(const LocalPod& pod) const;
    [[nodiscard]] NotDirect why_not_either(const Member& m) const;
    [[nodiscard]] NotDirect why_not_to(const Member& m) const;
    [[nodiscard]] bool owns(const policy::Workload& record, base::IpAddr ip) const;

    MeshSettings settings_;
    std::shared_ptr<const policy::Snapshot> snapshot_ = std::make_shared<const policy::Snapshot>();
    std::vector<Member> members_;
    uint64_t version_ = 0;
};

}  // namespace warren::node
