// SPDX-License-Identifier: Apache-2.0
// The objects of a source that come and go one by one, held as the conversion wants them. Belongs to one thread. Memory: the structs of
// kube_objects and one index entry each.
#pragma once

#include "agent/cluster/kube_objects.h"
#include "agent/cluster/object_change.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace warren::cluster {

[[nodiscard]] std::string_view to_string(ObjectKind kind) noexcept;

// Calls f with each kind and the member of Objects that is its list.
template <class F>
void each_kind(F f) {
    f(ObjectKind::Pod, &Objects::pods);
    f(ObjectKind::Node, &Objects::nodes);
    f(ObjectKind::Namespace, &Objects::namespaces);
    f(ObjectKind::Service, &Objects::services);
    f(ObjectKind::EndpointSlice, &Objects::slices);
    f(ObjectKind::WorkloadEntry, &Objects::workload_entries);
    f(ObjectKind::ServiceEntry, &Objects::service_entries);
    f(ObjectKind::Gateway, &Objects::gateways);
    f(ObjectKind::GatewayClass, &Objects::gateway_classes);
    f(ObjectKind::AuthorizationPolicy, &Objects::authorization_policies);
    f(ObjectKind::PeerAuthentication, &Objects::peer_authentications);
}

class ObjectStore {
  public:
    [[nodiscard]] const Objects& objects() const { return objects_; }
    [[nodiscard]] size_t count(ObjectKind kind) const { return index_[static_cast<size_t>(kind)].size(); }

    [[nodiscard]] bool contains(ObjectKind kind, const std::string& key) const { return index_[static_cast<size_t>(kind)].count(key) != 0; }

    // In the list of its kind; it is there.
    [[nodiscard]] size_t position(ObjectKind kind, const std::string& key) const { return index_[static_cast<size_t>(kind)].at(key); }
    // The one object in the fragment is there, with the same content. What changed of it is not read: a node's heartbeat, a pod's status.
    [[nodiscard]] bool holds(ObjectKind kind, const Objects& fragment) const;

    // Takes the one object of the kind that is in the fragment, in place of one of the same key ("NS/NAME"); false when there is none.
    bool upsert(ObjectKind kind, Objects& fragment);
    bool remove(ObjectKind kind, const std::string& key);  // false: not there

  private:
    using Index = std::unordered_map<std::string, size_t>;
    Objects objects_;
    std::array<Index, kObjectKinds> index_;
};

}  // namespace warren::cluster
