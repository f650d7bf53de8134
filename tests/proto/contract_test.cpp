// SPDX-License-Identifier: Apache-2.0
// The schemas against the contract's tables, field by field. The rows below were written down from the contract, not from the .proto files,
// in its notation: `r` repeated, `o` explicit optional, `1:x` member of the oneof x, `m<K,V>` map; a row is the whole message, so a field
// too many fails as well. A number changed here is a broken mesh, not a test to update.
#include "proto/authorization.pb.h"
#include "proto/ca.pb.h"
#include "proto/workload.pb.h"
#include "proto/xds.pb.h"
#include "proto/zds.pb.h"

#include "tests/catch.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <string>
#include <vector>

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;

namespace {

struct Row {
    const char* name;
    const char* fields;
};

const Row kMessages[] = {
    {"istio.workload.Address", "1 workload 1:type istio.workload.Workload; 2 service 1:type istio.workload.Service"},
    {"istio.workload.Service",
     "1 name string; 2 namespace string; 3 hostname string; 4 addresses r istio.workload.NetworkAddress; 5 ports r istio.workload.Port; "
     "6 subject_alt_names r string; 7 waypoint istio.workload.GatewayAddress; 8 load_balancing istio.workload.LoadBalancing; "
     "9 ip_families istio.workload.IPFamilies; 10 extensions r istio.workload.Extension; 11 canonical bool; 12 ingress_use_waypoint bool; "
     "13 weighted_waypoints r istio.workload.WeightedWaypoint; 14 visibility istio.workload.Service.Visibility"},
    {"istio.workload.NetworkAddress", "1 network string; 2 address bytes; 3 length o uint32"},
    {"istio.workload.Port", "1 service_port uint32; 2 target_port uint32; 3 app_protocol istio.workload.AppProtocol"},
    {"istio.workload.PortList", "1 ports r istio.workload.Port"},
    {"istio.workload.LoadBalancing",
     "1 routing_preference r istio.workload.LoadBalancing.Scope; 2 mode istio.workload.LoadBalancing.Mode; "
     "3 health_policy istio.workload.LoadBalancing.HealthPolicy"},
    {"istio.workload.Workload",
     "1 name string; 2 namespace string; 3 addresses r bytes; 4 network string; 5 tunnel_protocol istio.workload.TunnelProtocol; "
     "6 trust_domain string; 7 service_account string; 8 waypoint istio.workload.GatewayAddress; 9 node string; 10 canonical_name string; "
     "11 canonical_revision string; 12 workload_type istio.workload.WorkloadType; 13 workload_name string; 14 native_tunnel bool; "
     "16 authorization_policies r string; 17 status istio.workload.WorkloadStatus; 18 cluster_id string; "
     "19 network_gateway istio.workload.GatewayAddress; 20 uid string; 21 hostname string; 22 services m<string,istio.workload.PortList>; "
     "23 application_tunnel istio.workload.ApplicationTunnel; 24 locality istio.workload.Locality; "
     "25 network_mode istio.workload.NetworkMode; 26 extensions r istio.workload.Extension; 27 capacity google.protobuf.UInt32Value; "
     "reserved 15"},
    {"istio.workload.GatewayAddress",
     "1 hostname 1:destination istio.workload.NamespacedHostname; 2 address 1:destination istio.workload.NetworkAddress; "
     "3 hbone_mtls_port uint32; reserved 4; reserved hbone_single_tls_port"},
    {"istio.workload.WeightedWaypoint", "1 destination istio.workload.GatewayAddress; 2 weight uint32"},
    {"istio.workload.NamespacedHostname", "1 namespace string; 2 hostname string"},
    {"istio.workload.ApplicationTunnel", "1 protocol istio.workload.ApplicationTunnel.Protocol; 2 port uint32"},
    {"istio.workload.Locality", "1 region string; 2 zone string; 3 subzone string"},
    {"istio.workload.Extension", "1 name string; 2 config google.protobuf.Any"},

    {"istio.security.Authorization",
     "1 name string; 2 namespace string; 3 scope istio.security.Scope; 4 action istio.security.Action; 5 rules r istio.security.Rule; "
     "6 dry_run bool; 7 extensions r istio.workload.Extension"},
    {"istio.security.Rule", "1 clauses r istio.security.Clause"},
    {"istio.security.Clause", "2 matches r istio.security.Match"},
    {"istio.security.Match",
     "1 namespaces r istio.security.StringMatch; 2 not_namespaces r istio.security.StringMatch; 3 principals r istio.security.StringMatch; "
     "4 not_principals r istio.security.StringMatch; 5 source_ips r istio.security.Address; 6 not_source_ips r istio.security.Address; "
     "7 destination_ips r istio.security.Address; 8 not_destination_ips r istio.security.Address; 9 destination_ports r uint32; "
     "10 not_destination_ports r uint32; 11 service_accounts r istio.security.ServiceAccountMatch; "
     "12 not_service_accounts r istio.security.ServiceAccountMatch; 13 extensions r istio.workload.Extension"},
    {"istio.security.Address", "1 address bytes; 2 length uint32"},
    {"istio.security.ServiceAccountMatch", "1 namespace string; 2 serviceAccount string"},
    {"istio.security.StringMatch",
     "1 exact 1:match_type string; 2 prefix 1:match_type string; 3 suffix 1:match_type string; "
     "4 presence 1:match_type google.protobuf.Empty"},

    {"envoy.service.discovery.v3.Node", "1 id string; 2 cluster string; 3 metadata google.protobuf.Struct; 5 build_version string"},
    {"envoy.service.discovery.v3.DeltaDiscoveryRequest",
     "1 node envoy.service.discovery.v3.Node; 2 type_url string; 3 resource_names_subscribe r string; "
     "4 resource_names_unsubscribe r string; 5 initial_resource_versions m<string,string>; 6 response_nonce string; "
     "7 error_detail envoy.service.discovery.v3.Status"},
    {"envoy.service.discovery.v3.DeltaDiscoveryResponse",
     "1 system_version_info string; 2 resources r envoy.service.discovery.v3.Resource; 4 type_url string; 5 nonce string; "
     "6 removed_resources r string"},
    {"envoy.service.discovery.v3.Resource",
     "1 version string; 2 resource google.protobuf.Any; 3 name string; 4 aliases r string; 6 ttl google.protobuf.Duration; "
     "7 cache_control envoy.service.discovery.v3.Resource.CacheControl"},
    {"envoy.service.discovery.v3.Status", "1 code int32; 2 message string; 3 details r google.protobuf.Any"},

    {"istio.v1.auth.IstioCertificateRequest", "1 csr string; 3 validity_duration int64; 4 metadata google.protobuf.Struct"},
    {"istio.v1.auth.IstioCertificateResponse", "1 cert_chain r string"},

    {"istio.workload.zds.ZdsHello", "1 version istio.workload.zds.Version"},
    {"istio.workload.zds.WorkloadInfo", "1 name string; 2 namespace string; 3 service_account string; reserved 4; reserved trust_domain"},
    {"istio.workload.zds.AddWorkload", "1 uid string; 2 workload_info istio.workload.zds.WorkloadInfo"},
    {"istio.workload.zds.KeepWorkload", "1 uid string"},
    {"istio.workload.zds.DelWorkload", "1 uid string"},
    {"istio.workload.zds.SnapshotSent", ""},
    {"istio.workload.zds.Ack", "1 error string"},
    {"istio.workload.zds.WorkloadRequest",
     "1 add 1:payload istio.workload.zds.AddWorkload; 2 del 1:payload istio.workload.zds.DelWorkload; "
     "3 snapshot_sent 1:payload istio.workload.zds.SnapshotSent; 5 keep 1:payload istio.workload.zds.KeepWorkload"},
    {"istio.workload.zds.WorkloadResponse", "1 ack 1:payload istio.workload.zds.Ack"},
};

const Row kEnums[] = {
    {"istio.workload.Service.Visibility", "PUBLIC=0, NAMESPACE=1"},
    {"istio.workload.LoadBalancing.Scope", "UNSPECIFIED_SCOPE=0, REGION=1, ZONE=2, SUBZONE=3, NODE=4, CLUSTER=5, NETWORK=6"},
    {"istio.workload.LoadBalancing.Mode", "UNSPECIFIED_MODE=0, STRICT=1, FAILOVER=2, PASSTHROUGH=3"},
    {"istio.workload.LoadBalancing.HealthPolicy", "ONLY_HEALTHY=0, ALLOW_ALL=1"},
    {"istio.workload.ApplicationTunnel.Protocol", "NONE=0, PROXY=1"},
    {"istio.workload.IPFamilies", "AUTOMATIC=0, IPV4_ONLY=1, IPV6_ONLY=2, DUAL=3"},
    {"istio.workload.NetworkMode", "STANDARD=0, HOST_NETWORK=1"},
    {"istio.workload.WorkloadStatus", "HEALTHY=0, UNHEALTHY=1"},
    {"istio.workload.WorkloadType", "DEPLOYMENT=0, CRONJOB=1, POD=2, JOB=3"},
    {"istio.workload.AppProtocol", "UNKNOWN=0, HTTP11=1, HTTP2=2, GRPC=3, TCP=4, TLS=5"},
    {"istio.workload.TunnelProtocol", "NONE=0, HBONE=1, LEGACY_ISTIO_MTLS=2"},
    {"istio.security.Scope", "GLOBAL=0, NAMESPACE=1, WORKLOAD_SELECTOR=2"},
    {"istio.security.Action", "ALLOW=0, DENY=1"},
    {"istio.workload.zds.Version", "NOT_USED=0, V1=1"},
};

std::string type_of(const FieldDescriptor* f) {
    if (f->message_type() != nullptr) return f->message_type()->full_name();
    if (f->enum_type() != nullptr) return f->enum_type()->full_name();
    return f->type_name();
}

std::string field_text(const FieldDescriptor* f) {
    std::string text = std::to_string(f->number()) + " " + f->name() + " ";
    if (f->is_map()) {
        const Descriptor* entry = f->message_type();
        return text + "m<" + type_of(entry->map_key()) + "," + type_of(entry->map_value()) + ">";
    }
    if (f->is_repeated()) text += "r ";
    if (f->real_containing_oneof() != nullptr) {
        text += "1:" + f->real_containing_oneof()->name() + " ";
    } else if (f->has_optional_keyword()) {
        text += "o ";
    }
    return text + type_of(f);
}

std::string message_text(const Descriptor* message) {
    std::vector<const FieldDescriptor*> fields;
    for (int i = 0; i < message->field_count(); ++i) fields.push_back(message->field(i));
    std::sort(fields.begin(), fields.end(), [](auto* a, auto* b) { return a->number() < b->number(); });
    std::vector<std::string> parts;
    for (const FieldDescriptor* f : fields) parts.push_back(field_text(f));
    for (int i = 0; i < message->reserved_range_count(); ++i) {
        const Descriptor::ReservedRange* range = message->reserved_range(i);
        for (int n = range->start; n < range->end; ++n) parts.push_back("reserved " + std::to_string(n));
    }
    for (int i = 0; i < message->reserved_name_count(); ++i) parts.push_back("reserved " + message->reserved_name(i));
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
    return text;
}

std::string enum_text(const google::protobuf::EnumDescriptor* e) {
    std::string text;
    for (int i = 0; i < e->value_count(); ++i) {
        text += (i == 0 ? "" : ", ") + e->value(i)->name() + "=" + std::to_string(e->value(i)->number());
    }
    return text;
}

// Counts messages and enums of a file, nested ones too, map entries not.
void count_types(const Descriptor* message, size_t& messages, size_t& enums) {
    if (message->options().map_entry()) return;
    ++messages;
    enums += static_cast<size_t>(message->enum_type_count());
    for (int i = 0; i < message->nested_type_count(); ++i) count_types(message->nested_type(i), messages, enums);
}

}  // namespace

TEST_CASE("proto: every message has the contract's fields, numbers and types, and no others") {
    for (const Row& row : kMessages) {
        INFO(row.name);
        const Descriptor* message = DescriptorPool::generated_pool()->FindMessageTypeByName(row.name);
        REQUIRE(message != nullptr);
        CHECK(message->file()->syntax() == google::protobuf::FileDescriptor::SYNTAX_PROTO3);
        CHECK(message_text(message) == row.fields);
    }
}

TEST_CASE("proto: every enum has the contract's values") {
    for (const Row& row : kEnums) {
        INFO(row.name);
        const auto* e = DescriptorPool::generated_pool()->FindEnumTypeByName(row.name);
        REQUIRE(e != nullptr);
        CHECK(enum_text(e) == row.fields);
    }
}

TEST_CASE("proto: the contract's tables cover every type of the compatible schemas") {
    size_t messages = 0;
    size_t enums = 0;
    for (const auto* file :
         {istio::workload::Address::descriptor()->file(), istio::security::Authorization::descriptor()->file(),
          envoy::service::discovery::v3::Node::descriptor()->file(), istio::v1::auth::IstioCertificateRequest::descriptor()->file(),
          istio::workload::zds::Ack::descriptor()->file()}) {
        for (int i = 0; i < file->message_type_count(); ++i) count_types(file->message_type(i), messages, enums);
        enums += static_cast<size_t>(file->enum_type_count());
    }
    // Not in the contract: Resource.CacheControl, and the two messages of the state-of-the-world method.
    CHECK(messages == std::size(kMessages) + 3);
    CHECK(enums == std::size(kEnums));
}
