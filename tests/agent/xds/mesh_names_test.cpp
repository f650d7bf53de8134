// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/mesh_names.h"

#include "base/bytes.h"
#include "proto/workload.pb.h"
#include "tests/catch.h"

#include <string>
#include <vector>

using namespace warren;
using Names = std::vector<std::string>;

namespace {

xds::OtherNames names_of(const istio::workload::Address& address, std::string_view node) {
    const std::string body = address.SerializeAsString();
    xds::Resource resource;
    resource.body = base::as_bytes(body);
    return xds::other_names(xds::kAddressType, resource, node);
}

}  // namespace

TEST_CASE("mesh names: a node's server keeps the group of its own node and of no other") {
    istio::workload::Address address;
    istio::workload::Workload& workload = *address.mutable_workload();
    workload.set_uid("Kubernetes//Pod/prod/web-1");
    workload.set_namespace_("prod");
    workload.set_node("n1");
    workload.add_addresses(std::string("\x0a\x00\x00\x01", 4));
    (*workload.mutable_services())["prod/web.prod.svc"];

    CHECK(names_of(address, "n1").groups == Names{"prod/web.prod.svc", "node:n1"});
    CHECK(names_of(address, "n2").groups == Names{"prod/web.prod.svc"});
    CHECK(names_of(address, "").groups == Names{"prod/web.prod.svc", "node:n1"});  // it does not say for which node it serves
    CHECK(names_of(address, "n2").aliases == Names{"/10.0.0.1"});

    workload.set_node("");
    CHECK(names_of(address, "n1").groups == Names{"prod/web.prod.svc"});
}

TEST_CASE("mesh names: what does not read, and what is no address, has no other names") {
    xds::Resource resource;
    resource.body = base::as_bytes("\xff\xff\xff");
    CHECK(xds::other_names(xds::kAddressType, resource, "n1").groups.empty());
    CHECK(xds::other_names(xds::kAuthorizationType, resource, "n1").aliases.empty());
}
