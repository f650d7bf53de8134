// SPDX-License-Identifier: Apache-2.0
#include "agent/node/ranges.h"

#include "agent/node/map_rows.h"
#include "policy/random.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <set>

using namespace warren;
using namespace warren::node;
using tests::MeshFixture;

namespace {

std::vector<base::Cidr> cidrs(std::initializer_list<const char*> texts) {
    std::vector<base::Cidr> out;
    for (const char* t : texts) out.push_back(base::Cidr::parse(t).value());
    return out;
}

std::string text(const std::vector<base::Cidr>& prefixes) {
    std::string out;
    for (const base::Cidr& p : prefixes) out += p.to_string() + ' ';
    return out;
}

LocalPod pod(uint32_t id, const char* name, const char* ip) {
    LocalPod p;
    p.id = id;
    p.ns = policy::Text("shop");
    p.name = policy::Text(name);
    p.service_account = policy::Text("default");
    p.v4 = tests::ip(ip);
    return p;
}

}  // namespace

TEST_CASE("ranges: configured prefixes, and addresses of the mesh outside them") {
    MeshFixture mesh;
    mesh.workload("shop/inside").ip("10.1.0.1").hbone();
    mesh.workload("shop/outside").ip("192.0.2.1").ip("2001:db8::1").hbone();
    mesh.workload("shop/node").ip("192.0.2.9").host_network();
    mesh.workload("shop/elsewhere").network("net-b").ip("192.0.2.8");
    mesh.service("shop/inside.example").vip("10.96.0.1");
    mesh.service("shop/entry.example")
        .vip("240.240.0.7")
        .cidr("", "198.51.100.0/24")
        .cidr("", "10.96.4.0/24")
        .cidr("net-b", "203.0.113.0/24");
    Ranges ranges(cidrs({"10.1.0.0/16", "10.96.0.0/12"}));
    MeshView view{MeshSettings{}};
    view.update(mesh.snapshot(), {});
    const RangesChange first = ranges.update(view);
    CHECK(ranges.usable());
    CHECK(text(ranges.prefixes()) == "10.1.0.0/16 10.96.0.0/12 192.0.2.1/32 198.51.100.0/24 240.240.0.7/32 2001:db8::1/128 ");
    CHECK(text(first.added) == text(ranges.prefixes()));
    CHECK(first.removed.empty());
    CHECK(ranges.update(view).added.empty());

    // One goes, one comes, one is shared; endpoints of a service change nothing.
    mesh.workload("shop/outside").ip("192.0.2.2").hbone();
    mesh.workload("shop/twin").ip("192.0.2.2").in("shop/entry.example");
    view.update(mesh.snapshot(), {});
    const RangesChange second = ranges.update(view);
    CHECK(text(second.added) == "192.0.2.2/32 ");
    CHECK(text(second.removed) == "192.0.2.1/32 2001:db8::1/128 ");
    mesh.workload("shop/twin").ip("192.0.2.3");
    view.update(mesh.snapshot(), {});
    const RangesChange third = ranges.update(view);
    CHECK(text(third.added) == "192.0.2.3/32 ");
    CHECK(third.removed.empty());
}

TEST_CASE("ranges: pods of the node count before their records arrive, and so do other networks of theirs") {
    MeshFixture mesh;
    mesh.workload("shop/elsewhere").network("net-b").ip("192.0.2.8");
    MeshView view{MeshSettings{}};
    Ranges ranges(cidrs({"10.1.0.0/16"}));
    view.update(mesh.snapshot(), std::vector{pod(1, "a", "172.16.0.1")});
    ranges.update(view);
    CHECK(text(ranges.prefixes()) == "10.1.0.0/16 172.16.0.1/32 ");
    mesh.workload("shop/a").network("net-b").ip("172.16.0.1");
    view.update(mesh.snapshot(), std::vector{pod(1, "a", "172.16.0.1")});
    const RangesChange change = ranges.update(view);
    CHECK(text(change.added) == "192.0.2.8/32 ");
    CHECK(change.removed.empty());
    view.update(mesh.snapshot(), {});
    CHECK(text(ranges.update(view).removed) == "172.16.0.1/32 192.0.2.8/32 ");
}

TEST_CASE("ranges: without configured ranges, or with too many prefixes, everything needs the tunnel") {
    MeshFixture mesh;
    mesh.workload("shop/a").ip("192.0.2.1");
    mesh.workload("shop/b").ip("192.0.2.2");
    MeshView view{MeshSettings{}};
    view.update(mesh.snapshot(), {});
    Ranges none({});
    CHECK(none.update(view).added.empty());
    CHECK(!none.usable());
    Ranges few(cidrs({"10.0.0.0/8"}), 3);
    few.update(view);
    CHECK(few.usable());
    mesh.workload("shop/c").ip("192.0.2.3");
    view.update(mesh.snapshot(), {});
    CHECK(few.update(view).removed.size() == 3);
    CHECK(!few.usable());
    CHECK(few.prefixes().empty());
    mesh.workload("shop/c").ip("10.0.0.3");
    view.update(mesh.snapshot(), {});
    CHECK(few.update(view).added.size() == 3);
    CHECK(few.usable());
}

TEST_CASE("ranges: many random changes end where a start from nothing ends") {
    policy::Random random(5);
    MeshFixture mesh;
    MeshView view{MeshSettings{}};
    Ranges ranges(cidrs({"10.0.0.0/9", "fd00::/16"}));
    std::set<base::Cidr> map;
    for (int round = 0; round < 300; ++round) {
        for (uint64_t n = 1 + random.below(4); n > 0; --n) {
            const std::string i = std::to_string(random.below(12));
            const char* bases[] = {"10.0.0.", "10.200.0.", "192.0.2."};
            const std::string address = bases[random.below(3)] + std::to_string(random.below(6));
            if (random.below(2) == 0) {
                auto w = mesh.workload("shop/w" + i);
                w.ip(address);
                if (random.below(5) == 0) w.host_network();
                if (random.below(5) == 0) w.network("net-b");
            } else {
                mesh.service("shop/s" + i).vip(address).cidr("", address + "/" + std::to_string(24 + random.below(8)));
            }
        }
        view.update(mesh.snapshot(), {});
        const RangesChange change = ranges.update(view);
        for (const base::Cidr& p : change.added) REQUIRE(map.insert(p).second);
        for (const base::Cidr& p : change.removed) REQUIRE(map.erase(p) == 1);
        Ranges fresh(cidrs({"10.0.0.0/9", "fd00::/16"}));
        fresh.update(view);
        REQUIRE(text(fresh.prefixes()) == text(ranges.prefixes()));
        REQUIRE(text({map.begin(), map.end()}) == text(ranges.prefixes()));
    }
}

TEST_CASE("ranges: keys are mapped addresses with the length of their family") {
    const wr_range_key v4 = to_row(base::Cidr::parse("10.1.0.0/16").value());
    CHECK(v4.prefix_bits == 112);
    CHECK(v4.address.b[10] == 0xff);
    CHECK(v4.address.b[12] == 10);
    const wr_range_key v6 = to_row(base::Cidr::parse("fd00::/8").value());
    CHECK(v6.prefix_bits == 8);
    CHECK(v6.address.b[0] == 0xfd);
}
