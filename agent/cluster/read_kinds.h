// SPDX-License-Identifier: Apache-2.0
// One function per kind of object: fields in, struct out. Problems go to the reading of the map. Internal to read_objects.
#pragma once

#include "agent/cluster/kube_objects.h"
#include "agent/cluster/object_fields.h"

#include <initializer_list>

namespace warren::cluster {

Pod read_pod(const FieldMap& object);
KubeService read_service(const FieldMap& object);
EndpointSlice read_slice(const FieldMap& object);
WorkloadEntry read_workload_entry(const FieldMap& object);
ServiceEntry read_service_entry(const FieldMap& object);
Gateway read_gateway(const FieldMap& object);
AuthorizationPolicy read_authorization_policy(const FieldMap& object);
PeerAuthentication read_peer_authentication(const FieldMap& object);
// An entry of the plain list of workloads.
Pod read_workload(const FieldMap& entry);

// "FILE:LINE".
std::string where(const FieldMap& object);
ObjectMeta read_meta(const FieldMap& object, bool namespaced);
// What counts of a kind whose author is told these types: its generation and those that its status holds. A status is no reason to refuse
// an object, whatever it looks like.
void read_told(const FieldMap& object, std::initializer_list<ConditionType> types, ObjectMeta& to);
// Of it name, namespace and labels, which stand in `meta`.
ObjectMeta read_name(const FieldMap& object, const FieldMap& meta, bool namespaced);
LabelSelector read_label_selector(const FieldMap& selector);
// A text that is no address is reported.
std::optional<base::IpAddr> read_address(const FieldMap& map, std::string_view key);

}  // namespace warren::cluster
