// SPDX-License-Identifier: Apache-2.0
#include "policy/hbone_headers.h"

#include "policy/authority.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

using namespace warren;
using namespace warren::policy;
using warren::tests::sock;

namespace {

Baggage parse(std::initializer_list<std::string_view> headers) {
    const std::vector<std::string_view> list(headers);
    return parse_baggage(list);
}

}  // namespace

TEST_CASE("authority: addresses, hostnames and what is refused") {
    struct Row {
        const char* text;
        const char* printed;  // null: refused
        bool address;
    };
    const Row rows[] = {
        {"10.0.0.1:80", "10.0.0.1:80", true},
        {"[fd00::1]:8080", "[fd00::1]:8080", true},
        {"[::ffff:10.0.0.1]:80", "10.0.0.1:80", true},
        {"web.prod.svc.cluster.local:80", "web.prod.svc.cluster.local:80", false},
        {"*.Example.com:443", "*.Example.com:443", false},
        {"localhost:65535", "localhost:65535", false},
        {"10.0.0.1", nullptr, false},
        {"[fd00::1]", nullptr, false},
        {"fd00::1:80", nullptr, false},
        {"[10.0.0.1]:80", nullptr, false},
        {"[fe80::1%eth0]:80", nullptr, false},
        {"web", nullptr, false},
        {"web:", nullptr, false},
        {":80", nullptr, false},
        {"web:0", "web:0", false},
        {"10.0.0.1:0", "10.0.0.1:0", true},
        {"web:00", "web:0", false},
        {"web:65536", nullptr, false},
        {"web:80x", nullptr, false},
        {"web:-1", nullptr, false},
        {"web:+80", nullptr, false},
        {"user@web:80", nullptr, false},
        {"http://web:80", nullptr, false},
        {"we b:80", nullptr, false},
        {"[]:80", nullptr, false},
        {"", nullptr, false},
    };
    for (const Row& row : rows) {
        INFO(row.text);
        const auto parsed = parse_authority(row.text);
        REQUIRE(parsed.has_value() == (row.printed != nullptr));
        if (row.printed == nullptr) continue;
        CHECK(parsed->to_string() == row.printed);
        CHECK(parsed->is_address() == row.address);
    }
    CHECK_FALSE(parse_authority(std::string(254, 'a') + ":80"));
    CHECK(parse_authority(std::string(253, 'a') + ":80"));
    CHECK(parse_authority("web").error().detail == ":authority \"web\" has no port; it has the form ADDRESS:PORT or HOSTNAME:PORT");
    const auto hostile = parse_authority("evil\n\xff host:80");
    REQUIRE_FALSE(hostile);
    CHECK(hostile.error().detail.find("\"evil?? host:80\"") != std::string::npos);
}

TEST_CASE("hbone headers: build_forwarded") {
    CHECK(format_forwarded(sock("127.0.0.1:80"), "") == "for=\"127.0.0.1:80\"");
    CHECK(format_forwarded(sock("127.0.0.1:80"), "svc.example") == "for=\"127.0.0.1:80\";host=svc.example");
    CHECK(format_forwarded(sock("[::1]:80"), "") == "for=\"[::1]:80\"");
    CHECK(format_forwarded(sock("[::1]:80"), "svc.example") == "for=\"[::1]:80\";host=svc.example");
    CHECK(format_forwarded(sock("[::1]:80"), "a;b=c") == "for=\"[::1]:80\"");
    CHECK(format_forwarded(sock("[::1]:80"), "a\r\nx: y") == "for=\"[::1]:80\"");
}

TEST_CASE("hbone headers: test_parse_forwarded_host") {
    CHECK(parse_forwarded_host("for=\"127.0.0.1:80\";host=svc.example") == "svc.example");
    CHECK(parse_forwarded_host("for=\"[::1]:80\";host=\"svc.example\"") == "svc.example");
    CHECK(parse_forwarded_host("host=a ; proto=http") == "a");
    CHECK(parse_forwarded_host("by=x;  host=a") == "a");
    CHECK(parse_forwarded_host("host=a;host=b") == "a");
    CHECK(parse_forwarded_host("host=;host=b").empty());
    CHECK(parse_forwarded_host("host=\"\"").empty());
    CHECK(parse_forwarded_host("host=\"").empty());
    CHECK(parse_forwarded_host("xhost=a").empty());
    CHECK(parse_forwarded_host("for=\"127.0.0.1:80\"").empty());
    CHECK(parse_forwarded_host("").empty());
    CHECK(parse_forwarded_host("host=\xc3\xa9").empty());
    CHECK(parse_forwarded_host("host=a;\x01").empty());
}

TEST_CASE("hbone headers: baggage of a workload, keys in order, empty ones left out") {
    tests::MeshFixture mesh;
    auto w = mesh.workload("ns1/web-1").cluster("K1").locality("r", "z");
    w->workload_name = Text("web");
    w->canonical_name = Text("web-app");
    w->canonical_revision = Text("v1");
    CHECK(format_baggage(baggage_of(*w.ref())) ==
          "k8s.cluster.name=K1,k8s.namespace.name=ns1,k8s.deployment.name=web,service.name=web-app,service.version=v1,"
          "cloud.region=r,cloud.availability_zone=z");
    w->type = WorkloadType::CronJob;
    w->canonical_revision = Text();
    w->locality = {};
    CHECK(format_baggage(baggage_of(*w.ref())) == "k8s.cluster.name=K1,k8s.namespace.name=ns1,k8s.cronjob.name=web,service.name=web-app");
    CHECK(format_baggage(Baggage{}).empty());
    CHECK(format_baggage(Baggage{.cluster = "a,k8s.namespace.name=root", .ns = "x\r\n", .region = "r"}) == "cloud.region=r");
}

TEST_CASE("hbone headers: baggage_parser") {
    const Baggage b =
        parse({"k8s.cluster.name=K1,k8s.namespace.name=NS1,k8s.deployment.name=N1,service.name=N2,service.version=V1,"
               "cloud.region=R1,cloud.availability_zone=Z1"});
    CHECK(b == Baggage{"K1", "NS1", "N1", WorkloadType::Deployment, "N2", "V1", "R1", "Z1"});
    CHECK(parse_baggage(std::vector<std::string_view>{}) == Baggage{});
}

TEST_CASE("hbone headers: baggage of several headers, unknown, empty and repeated keys") {
    CHECK(parse({"k8s.cluster.name=K1", "k8s.namespace.name=NS1,k8s.pod.name=p"}) ==
          Baggage{.cluster = "K1", .ns = "NS1", .workload_name = "p", .workload_type = WorkloadType::Pod});
    CHECK(parse({"k8s.cluster.name=K1,k8s.cluster.name=K2"}).cluster == "K2");
    CHECK(parse({"k8s.cluster.name=K1", "k8s.cluster.name="}).cluster.empty());
    CHECK(parse({"k8s.job.name=j,k8s.cronjob.name=c"}).workload_type == WorkloadType::CronJob);
    CHECK(parse({"k8s.cluster.name"}) == Baggage{});
    CHECK(parse({"k8s.cluster.name=a=b"}).cluster == "a");
    CHECK(parse({" k8s.cluster.name=K1"}) == Baggage{});  // keys are not trimmed
    CHECK(parse({"k8s.cluster.name= K1"}).cluster == " K1");
    CHECK(parse({"k8s.statefulset.name=x,k8s.name=y,k8s..name=z,other=1"}) == Baggage{});
    CHECK(parse({",,=,=x,service.name=n"}).service_name == "n");
    CHECK(parse({"service.name=n", "x=\xc3\xa9"}) == Baggage{});  // one header that is not ASCII voids all
}

TEST_CASE("hbone headers: traceparent is checked field by field (quirk A7)") {
    const auto t = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    REQUIRE(t);
    CHECK(t->trace_hi == 0x0af7651916cd43ddu);
    CHECK(t->trace_lo == 0x8448eb211c80319cu);
    CHECK(t->span == 0xb7ad6b7169203331u);
    CHECK(t->to_string() == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    for (const char* bad :
         {"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
          "0000af7651916cd43dd8448eb211c80319c0b7ad6b716920333100-", "-------------------------------------------------------",
          "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", "00x0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331x01",
          "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333 -01",
          "00-0af7651916cd43dd-448eb211c80319c-b7ad6b7169203331-01"})
        CHECK_FALSE(TraceParent::parse(bad));
    Random random(7);
    const TraceParent made = TraceParent::make(random);
    CHECK(TraceParent::parse(made.to_string()) == made);
    CHECK_FALSE(TraceParent::make(random) == made);
}
