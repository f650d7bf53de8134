// SPDX-License-Identifier: Apache-2.0
// What differs between two states of the objects (kube_objects.h): one object that came, changed or went. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace warren::cluster {

// In the order of the members of Objects.
enum class ObjectKind : uint8_t {
    Pod,
    Node,
    Namespace,
    Service,
    EndpointSlice,
    WorkloadEntry,
    ServiceEntry,
    Gateway,
    GatewayClass,
    AuthorizationPolicy,
    PeerAuthentication,
};
inline constexpr size_t kObjectKinds = 11;

struct Change {
    ObjectKind kind = ObjectKind::Pod;
    std::string key;  // "NS/NAME", "/NAME" for kinds that live in no namespace
    bool removed = false;
    size_t at = 0;  // where it is in the list of its kind, unless removed

    bool operator==(const Change& o) const { return kind == o.kind && key == o.key && removed == o.removed; }
};

}  // namespace warren::cluster
