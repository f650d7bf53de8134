// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/node.h"
#include "proto/xds.pb.h"
#include "tests/catch.h"

using namespace warren;

TEST_CASE("xds node: identity and metadata from the environment") {
    const char* environment[] = {"INSTANCE_IP=10.0.0.7",
                                 "POD_NAME=ztunnel-abc",
                                 "POD_NAMESPACE=istio-system",
                                 "NODE_NAME=node-1",
                                 "ISTIO_META_CLUSTER_ID=one",
                                 "ISTIO_META_DNS_CAPTURE=true",
                                 "HOME=/",
                                 nullptr};
    envoy::service::discovery::v3::Node node;
    to_proto(xds::NodeSettings::from_environment(environment, {{"CLUSTER_ID", "overridden"}, {"FROM_CONFIG", "kept"}}), node);
    CHECK(node.id() == "ztunnel~10.0.0.7~ztunnel-abc.istio-system~istio-system.svc.cluster.local");
    CHECK(node.cluster().empty());
    std::map<std::string, std::string> got;
    for (const auto& [key, value] : node.metadata().fields()) got[key] = value.string_value();
    CHECK(got == std::map<std::string, std::string>{{"NAME", "ztunnel-abc"},
                                                    {"NAMESPACE", "istio-system"},
                                                    {"INSTANCE_IPS", "10.0.0.7"},
                                                    {"NODE_NAME", "node-1"},
                                                    {"CLUSTER_ID", "one"},
                                                    {"DNS_CAPTURE", "true"},
                                                    {"FROM_CONFIG", "kept"}});
}

TEST_CASE("xds node: an empty environment has the address that istiod takes") {
    const char* environment[] = {nullptr};
    envoy::service::discovery::v3::Node node;
    to_proto(xds::NodeSettings::from_environment(environment), node);
    CHECK(node.id() == "ztunnel~1.1.1.1~.~.svc.cluster.local");
    CHECK(node.metadata().fields_size() == 4);
}

TEST_CASE("xds node: test_json_to_value: JSON metadata of every kind; what is none is left out") {
    const char* environment[] = {"ISTIO_METAJSON_LABELS={\"app\":\"ztunnel\",\"n\":1.5,\"deep\":{\"list\":[null,true,\"x\"]}}",
                                 "ISTIO_METAJSON_NUMBER=42",
                                 "ISTIO_METAJSON_TEXT=\"t\"",
                                 "ISTIO_METAJSON_BAD={oops",
                                 "ISTIO_METAJSON_EMPTY=",
                                 "ISTIO_META_BYTES=a\xff",
                                 nullptr};
    envoy::service::discovery::v3::Node node;
    to_proto(xds::NodeSettings::from_environment(environment), node);
    const auto& fields = node.metadata().fields();
    const auto& labels = fields.at("LABELS").struct_value().fields();
    CHECK(labels.at("app").string_value() == "ztunnel");
    CHECK(labels.at("n").number_value() == 1.5);
    const auto& list = labels.at("deep").struct_value().fields().at("list").list_value();
    REQUIRE(list.values_size() == 3);
    CHECK(list.values(0).has_null_value());
    CHECK(list.values(1).bool_value());
    CHECK(list.values(2).string_value() == "x");
    CHECK(fields.at("NUMBER").number_value() == 42);
    CHECK(fields.at("TEXT").string_value() == "t");
    CHECK(fields.count("BAD") == 0);
    CHECK(fields.count("EMPTY") == 0);
    CHECK(fields.at("BYTES").string_value() == "a\xef\xbf\xbd");
}
