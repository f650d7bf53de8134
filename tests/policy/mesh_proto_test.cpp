// SPDX-License-Identifier: Apache-2.0
#include "policy/mesh_proto.h"

#include "base/bytes.h"
#include "tests/catch.h"
#include "tests/policy/random_mesh.h"

#include <google/protobuf/util/message_differencer.h>

#include <functional>

namespace {

using namespace warren;
using namespace warren::policy;
namespace pb = istio::workload;

const std::string kV4("\x0a\x00\x00\x01", 4);
const std::string kV6("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
const std::string kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\x01", 16);

pb::Workload small_workload() {
    pb::Workload w;
    w.set_uid("c//Pod/prod/web-1");
    w.set_namespace_("prod");
    return w;
}

pb::Service small_service() {
    pb::Service s;
    s.set_namespace_("prod");
    s.set_hostname("web.prod.svc");
    return s;
}

// The error of a workload after `change`, empty when it was accepted.
std::string refusal(const std::function<void(pb::Workload&)>& change) {
    RecordPool pool;
    pb::Workload w = small_workload();
    change(w);
    const auto read = workload_from_proto(w, pool);
    return read ? "" : read.error().message();
}

std::string service_refusal(const std::function<void(pb::Service&)>& change) {
    RecordPool pool;
    pb::Service s = small_service();
    change(s);
    const auto read = service_from_proto(s, pool);
    return read ? "" : read.error().message();
}

WorkloadRef read(const pb::Workload& w) {
    RecordPool pool;
    auto out = workload_from_proto(w, pool);
    REQUIRE(out);
    return *out;
}

ServiceRef read(const pb::Service& s) {
    RecordPool pool;
    auto out = service_from_proto(s, pool);
    REQUIRE(out);
    return *out;
}

std::string with_address(const std::string& bytes) {
    return refusal([&](pb::Workload& w) { w.add_addresses(bytes); });
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

bool same(const google::protobuf::Message& a, const google::protobuf::Message& b, std::string& difference) {
    google::protobuf::util::MessageDifferencer differencer;
    differencer.ReportDifferencesToString(&difference);
    return differencer.Compare(a, b);
}

}  // namespace

// -- workloads

TEST_CASE("mesh_proto: byte_to_ipaddr_v4: four bytes are an IPv4 address") {
    pb::Workload w = small_workload();
    w.add_addresses(kV4);
    CHECK(read(w)->addresses[0].to_string() == "10.0.0.1");
}

TEST_CASE("mesh_proto: byte_to_ipaddr_v6: sixteen bytes are an IPv6 address") {
    pb::Workload w = small_workload();
    w.add_addresses(kV6);
    CHECK(read(w)->addresses[0].to_string() == "2001:db8::1");
}

TEST_CASE("mesh_proto: byte_to_ipaddr_mapped: an IPv4-mapped address in sixteen bytes is the IPv4 address") {
    pb::Workload w = small_workload();
    w.add_addresses(kMapped);
    CHECK(read(w)->addresses[0] == base::IpAddr::v4(0x0a000001));
}

TEST_CASE("mesh_proto: byte_to_ipaddr_empty, _short, _garbage, _long: any other length rejects the workload") {
    CHECK(with_address("") == "workload 'c//Pod/prod/web-1': addresses[0]: 0 address bytes; give 4 or 16");
    CHECK(has(with_address("\x0a\x01\x02"), "addresses[0]: 3 address bytes; give 4 or 16"));
    CHECK(has(with_address("10.0.0.1"), "addresses[0]: 8 address bytes; give 4 or 16"));
    CHECK(has(with_address(std::string(17, 'x')), "17 address bytes"));
    CHECK(has(refusal([](pb::Workload& w) {
                  w.add_addresses(kV4);
                  w.add_addresses("x");
              }),
              "addresses[1]: 1 address bytes"));
}

TEST_CASE("mesh_proto: a workload without anything optional gets the defaults of the wire") {
    const WorkloadRef w = read(small_workload());
    CHECK(w->trust_domain == "cluster.local");
    CHECK(w->service_account == "default");
    CHECK(w->cluster_id == "Kubernetes");
    CHECK(w->capacity == 1);
    CHECK(w->network.empty());
    CHECK(w->type == WorkloadType::Deployment);
    CHECK(w->tunnel_protocol == TunnelProtocol::None);
    CHECK(w->waypoint == nullptr);
    CHECK(w->application_tunnel == nullptr);
    CHECK(w->services.empty());
    CHECK(w->identity().uri() == "spiffe://cluster.local/ns/prod/sa/default");
}

TEST_CASE("mesh_proto: a capacity of zero is kept, it is not the default") {
    pb::Workload w = small_workload();
    w.mutable_capacity()->set_value(0);
    CHECK(read(w)->capacity == 0);
}

TEST_CASE("mesh_proto: the legacy tunnel protocol and unknown ones reject the workload") {
    CHECK(has(refusal([](pb::Workload& w) { w.set_tunnel_protocol(pb::LEGACY_ISTIO_MTLS); }),
              "tunnel_protocol: LEGACY_ISTIO_MTLS is not supported; give NONE or HBONE"));
    CHECK(has(refusal([](pb::Workload& w) { w.set_tunnel_protocol(static_cast<pb::TunnelProtocol>(3)); }),
              "tunnel_protocol: unknown value 3"));
    CHECK(has(refusal([](pb::Workload& w) { w.set_tunnel_protocol(static_cast<pb::TunnelProtocol>(-1)); }),
              "tunnel_protocol: unknown value -1"));
    CHECK(refusal([](pb::Workload& w) { w.set_tunnel_protocol(pb::HBONE); }).empty());
}

TEST_CASE("mesh_proto: unknown numbers of strict enums reject the workload") {
    CHECK(has(refusal([](pb::Workload& w) { w.set_network_mode(static_cast<pb::NetworkMode>(2)); }),
              "network_mode: unknown value 2; give a number from 0 to 1"));
    CHECK(has(refusal([](pb::Workload& w) { w.set_status(static_cast<pb::WorkloadStatus>(7)); }), "status: unknown value 7"));
    CHECK(
        has(refusal([](pb::Workload& w) { w.mutable_application_tunnel()->set_protocol(static_cast<pb::ApplicationTunnel::Protocol>(2)); }),
            "application_tunnel.protocol: unknown value 2"));
}

TEST_CASE("mesh_proto: an unknown workload type is a deployment") {
    pb::Workload w = small_workload();
    w.set_workload_type(static_cast<pb::WorkloadType>(9));
    CHECK(read(w)->type == WorkloadType::Deployment);
    w.set_workload_type(pb::JOB);
    CHECK(read(w)->type == WorkloadType::Job);
}

TEST_CASE("mesh_proto: a services key without a slash rejects the workload") {
    CHECK(has(refusal([](pb::Workload& w) { (*w.mutable_services())["web.prod.svc"]; }),
              "services: key 'web.prod.svc' has no '/'; write namespace/hostname"));
}

TEST_CASE("mesh_proto: services are sorted by key, whatever the order of the map") {
    pb::Workload w = small_workload();
    for (const char* key : {"p/m", "p/a", "p/z", "a/q"}) (*w.mutable_services())[key];
    const WorkloadRef out = read(w);
    REQUIRE(out->services.size() == 4);
    CHECK(out->services[0].service == "a/q");
    CHECK(out->services[1].service == "p/a");
    CHECK(out->services[3].service == "p/z");
}

TEST_CASE("mesh_proto: ports above 65535 are refused with the field") {
    CHECK(has(refusal([](pb::Workload& w) { (*w.mutable_services())["p/h"].add_ports()->set_service_port(65536); }),
              "services key 'p/h': services.ports[0].service_port: port 65536 is out of range; give 0 to 65535"));
    CHECK(has(refusal([](pb::Workload& w) { (*w.mutable_services())["p/h"].add_ports()->set_target_port(73616); }),
              "target_port: port 73616"));
    CHECK(has(refusal([](pb::Workload& w) { w.mutable_application_tunnel()->set_port(70000); }), "application_tunnel.port: port 70000"));
    CHECK(has(refusal([](pb::Workload& w) {
                  w.mutable_waypoint()->mutable_hostname();
                  w.mutable_waypoint()->set_hbone_mtls_port(65536);
              }),
              "waypoint.hbone_mtls_port: port 65536"));
    CHECK(refusal([](pb::Workload& w) { (*w.mutable_services())["p/h"].add_ports()->set_service_port(65535); }).empty());
}

TEST_CASE("mesh_proto: a gateway without destination rejects the workload") {
    CHECK(has(refusal([](pb::Workload& w) { w.mutable_waypoint()->set_hbone_mtls_port(15008); }),
              "waypoint: no destination; set hostname or address"));
    CHECK(has(refusal([](pb::Workload& w) { w.mutable_network_gateway(); }), "network_gateway: no destination"));
    CHECK(has(refusal([](pb::Workload& w) { w.mutable_waypoint()->mutable_address()->set_address("abc"); }),
              "waypoint.address.address: 3 address bytes"));
    CHECK(has(refusal([](pb::Workload& w) { w.mutable_waypoint()->mutable_hostname()->set_namespace_("a/b"); }),
              "waypoint.hostname: namespace 'a/b' contains '/'; remove it"));
}

TEST_CASE("mesh_proto: gateways by hostname and by address, the address's length ignored") {
    pb::Workload w = small_workload();
    w.mutable_waypoint()->mutable_hostname()->set_namespace_("prod");
    w.mutable_waypoint()->mutable_hostname()->set_hostname("wp.prod");
    w.mutable_waypoint()->set_hbone_mtls_port(15008);
    w.mutable_network_gateway()->mutable_address()->set_network("net2");
    w.mutable_network_gateway()->mutable_address()->set_address(kMapped);
    w.mutable_network_gateway()->mutable_address()->set_length(99);
    const WorkloadRef out = read(w);
    REQUIRE(out->waypoint);
    CHECK(std::get<Text>(out->waypoint->destination) == "prod/wp.prod");
    CHECK(out->waypoint->hbone_mtls_port == 15008);
    REQUIRE(out->network_gateway);
    CHECK(std::get<NetworkAddress>(out->network_gateway->destination).to_string() == "net2/10.0.0.1");
}

TEST_CASE("mesh_proto: a workload without uid is refused") {
    CHECK(has(refusal([](pb::Workload& w) { w.clear_uid(); }), "uid: empty"));
}

// -- services

TEST_CASE("mesh_proto: an address without length or with the full one is a host VIP, any other a prefix") {
    pb::Service s = small_service();
    s.add_addresses()->set_address(kV4);
    auto add = [&](const std::string& bytes, uint32_t length) {
        s.add_addresses()->set_address(bytes);
        s.mutable_addresses(s.addresses_size() - 1)->set_length(length);
    };
    add(kV4, 32);
    add(kV4, 8);
    add(kV6, 128);
    add(kV6, 0);
    add(kMapped, 128);
    add(kMapped, 104);
    const ServiceRef out = read(s);
    CHECK(out->vips.size() == 4);
    REQUIRE(out->cidr_vips.size() == 3);
    CHECK(out->cidr_vips[0].cidr.to_string() == "10.0.0.0/8");
    CHECK(out->cidr_vips[1].cidr.to_string() == "::/0");
    CHECK(out->cidr_vips[2].cidr.to_string() == "10.0.0.0/8");
    CHECK(out->vips[3].ip.to_string() == "10.0.0.1");
}

TEST_CASE("mesh_proto: an impossible prefix rejects the service") {
    auto with = [](const std::string& bytes, uint32_t length) {
        return service_refusal([&](pb::Service& s) {
            s.add_addresses()->set_address(bytes);
            s.mutable_addresses(0)->set_length(length);
        });
    };
    CHECK(with(kV4, 33) == "service 'prod/web.prod.svc': addresses[0].length: prefix length 33 of 10.0.0.1 is out of range; give 0 to 32");
    CHECK(has(with(kV6, 129), "give 0 to 128"));
    CHECK(has(with(kMapped, 95), "prefix length 95 of IPv4-mapped 10.0.0.1 is out of range; give 96 to 128"));
    CHECK(has(with(kV4, 256), "prefix length 256"));
    CHECK(has(with("", 0), "addresses[0].address: 0 address bytes"));
}

TEST_CASE("mesh_proto: unknown load-balancing numbers reject the service, and so does the unspecified scope") {
    using LB = pb::LoadBalancing;
    CHECK(has(service_refusal([](pb::Service& s) { s.mutable_load_balancing()->add_routing_preference(LB::UNSPECIFIED_SCOPE); }),
              "load_balancing.routing_preference[0]: UNSPECIFIED_SCOPE"));
    CHECK(has(service_refusal([](pb::Service& s) {
                  s.mutable_load_balancing()->add_routing_preference(LB::REGION);
                  s.mutable_load_balancing()->add_routing_preference(static_cast<LB::Scope>(7));
              }),
              "load_balancing.routing_preference[1]: unknown value 7"));
    CHECK(has(service_refusal([](pb::Service& s) { s.mutable_load_balancing()->set_mode(static_cast<LB::Mode>(4)); }),
              "load_balancing.mode: unknown value 4"));
    CHECK(has(service_refusal([](pb::Service& s) { s.mutable_load_balancing()->set_health_policy(static_cast<LB::HealthPolicy>(2)); }),
              "load_balancing.health_policy: unknown value 2"));
    CHECK(has(service_refusal([](pb::Service& s) { s.set_ip_families(static_cast<pb::IPFamilies>(4)); }), "ip_families: unknown value 4"));
}

TEST_CASE("mesh_proto: presence of load balancing matters, and every scope is itself") {
    CHECK(!read(small_service())->load_balancing);
    pb::Service s = small_service();
    for (int i = 1; i <= 6; ++i) s.mutable_load_balancing()->add_routing_preference(static_cast<pb::LoadBalancing::Scope>(i));
    const ServiceRef out = read(s);
    REQUIRE(out->load_balancing);
    const auto& scopes = out->load_balancing->routing_preference;
    CHECK(scopes == Array<LbScope>{LbScope::Region, LbScope::Zone, LbScope::Subzone, LbScope::Node, LbScope::Cluster, LbScope::Network});
}

TEST_CASE("mesh_proto: unknown visibility is public, unknown app protocol is unknown") {
    pb::Service s = small_service();
    s.set_visibility(static_cast<pb::Service::Visibility>(2));
    s.add_ports()->set_app_protocol(static_cast<pb::AppProtocol>(99));
    CHECK(read(s)->visibility == Visibility::Public);
    CHECK(read(s)->ports[0].app_protocol == AppProtocol::Unknown);
    s.set_visibility(pb::Service::NAMESPACE);
    CHECK(read(s)->visibility == Visibility::Namespace);
}

TEST_CASE("mesh_proto: a service's ports above 65535 and weighted waypoints without destination are refused") {
    CHECK(has(service_refusal([](pb::Service& s) { s.add_ports()->set_target_port(65536); }), "ports[0].target_port: port 65536"));
    CHECK(has(service_refusal([](pb::Service& s) { s.add_weighted_waypoints()->set_weight(1); }), "weighted_waypoints[0]: no destination"));
    CHECK(has(service_refusal([](pb::Service& s) { s.add_weighted_waypoints()->mutable_destination(); }),
              "weighted_waypoints[0].destination: no destination"));
    CHECK(has(service_refusal([](pb::Service& s) { s.set_namespace_("a/b"); }), "namespace: namespace 'a/b' contains '/'"));
}

TEST_CASE("mesh_proto: names that are no SPIFFE identities are ignored and counted") {
    pb::Address address;
    *address.mutable_service() = small_service();
    address.mutable_service()->add_subject_alt_names("web.example.com");
    address.mutable_service()->add_subject_alt_names("spiffe://td/ns/prod/sa/web");
    RecordPool pool;
    ResourceReader reader(pool);
    const auto out = reader.address(base::as_bytes(address.SerializeAsString()));
    REQUIRE(out);
    const ServiceRef service = std::get<ServiceRef>(*out);
    REQUIRE(service->subject_alt_names.size() == 1);
    CHECK(service->subject_alt_names[0].uri() == "spiffe://td/ns/prod/sa/web");
    CHECK(reader.ignored_names() == 1);
}

// -- addresses from bytes

TEST_CASE("mesh_proto: an address with neither member, or bytes that are none, are refused") {
    RecordPool pool;
    ResourceReader reader(pool);
    auto error = [&](std::string_view bytes) {
        const auto out = reader.address(base::as_bytes(bytes));
        return out ? std::string() : out.error().message();
    };
    CHECK(error("") == "address: neither workload nor service; set one");
    CHECK(has(error("\xff\xff\xff"), "3 bytes that are not a message istio.workload.Address"));
    CHECK(has(error(std::string_view("\x0a\x00", 2)), "uid: empty"));
    CHECK(has(error("\x0a\x05web"), "not a message"));
    CHECK(has(error("\x0a\x04\x0a\x02\xff\xfe"), "not a message"));  // a name that is not UTF-8
}

TEST_CASE("mesh_proto: an address split over two fields or followed by another is read as the parser reads it") {
    pb::Address one, two;
    one.mutable_workload()->set_uid("u");
    one.mutable_workload()->set_namespace_("first");
    two.mutable_workload()->set_namespace_("second");
    RecordPool pool;
    ResourceReader reader(pool);
    const auto merged = reader.address(base::as_bytes(one.SerializeAsString() + two.SerializeAsString()));
    REQUIRE(merged);
    CHECK(std::get<WorkloadRef>(*merged)->uid == "u");
    CHECK(std::get<WorkloadRef>(*merged)->ns == "second");
    pb::Address service;
    *service.mutable_service() = small_service();
    const auto last = reader.address(base::as_bytes(one.SerializeAsString() + service.SerializeAsString()));
    REQUIRE(last);
    CHECK(std::get<ServiceRef>(*last)->key == "prod/web.prod.svc");
}

TEST_CASE("mesh_proto: a reader carries nothing over from one resource to the next") {
    tests::RandomMesh mesh(7);
    RecordPool pool;
    ResourceReader reader(pool);
    for (int i = 0; i < 50; ++i) {
        pb::Address full, empty;
        *full.mutable_workload() = mesh.workload();
        *empty.mutable_workload() = small_workload();
        REQUIRE(reader.address(base::as_bytes(full.SerializeAsString())));
        const auto out = reader.address(base::as_bytes(empty.SerializeAsString()));
        REQUIRE(out);
        CHECK(*std::get<WorkloadRef>(*out) == *read(small_workload()));
    }
}

// -- round trips

TEST_CASE("mesh_proto: random workloads survive message, value, message") {
    tests::RandomMesh mesh(GENERATE(1u, 2u, 3u, 4u));
    RecordPool pool;
    ResourceReader reader(pool);
    for (int i = 0; i < 200; ++i) {
        const pb::Workload in = mesh.workload();
        const auto value = workload_from_proto(in, pool);
        REQUIRE(value);
        pb::Workload out;
        to_proto(**value, out);
        std::string difference;
        CHECK(same(in, out, difference));
        CHECK(difference == "");
        pb::Address wrapped;
        *wrapped.mutable_workload() = out;
        const auto again = reader.address(base::as_bytes(wrapped.SerializeAsString()));
        REQUIRE(again);
        REQUIRE(*std::get<WorkloadRef>(*again) == **value);
    }
}

TEST_CASE("mesh_proto: random services survive message, value, message") {
    tests::RandomMesh mesh(GENERATE(1u, 2u, 3u, 4u));
    RecordPool pool;
    ResourceReader reader(pool);
    for (int i = 0; i < 200; ++i) {
        const pb::Service in = mesh.service();
        const auto value = service_from_proto(in, pool);
        REQUIRE(value);
        pb::Service out;
        to_proto(**value, out);
        std::string difference;
        CHECK(same(in, out, difference));
        CHECK(difference == "");
        pb::Address wrapped;
        *wrapped.mutable_service() = out;
        const auto again = reader.address(base::as_bytes(wrapped.SerializeAsString()));
        REQUIRE(again);
        REQUIRE(*std::get<ServiceRef>(*again) == **value);
    }
}
