// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_server.h"

#include "tests/ztunnel/dns_lab.h"

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::tests;

namespace {

void build(MeshFixture& mesh) {
    mesh.workload("ns1/client").ip("10.0.0.1").network("n1");
    mesh.service("ns1/productpage.ns1.svc.cluster.local").vip("n1/9.9.9.9");
    mesh.service("ns2/example.ns2.svc.cluster.local").vip("n1/10.10.10.10");
    mesh.service("ns1/www.google.com").vip("n1/1.1.1.1");
    mesh.service("ns1/ipv4.localhost").vip("n1/2.2.2.2");
    mesh.service("ns1/ipv6.localhost").vip("n1/2001:db8::ff00:42:8329");
    mesh.service("ns1/dual.localhost").vip("n1/2.2.2.2").vip("n1/2001:db8::ff00:42:8329");
    mesh.service("ns1/details.ns2.svc.cluster.remote")
        .vip("n1/11.11.11.11")
        .vip("n1/12.12.12.12")
        .vip("n1/13.13.13.13")
        .vip("n1/14.14.14.14");
    mesh.service("ns1/*.wildcard").vip("n1/10.10.10.10");
    mesh.service("ns1/*.b.wildcard").vip("n1/11.11.11.11");
    mesh.service("ns1/*.svc.mesh.company.net").vip("n1/10.1.2.3");
    mesh.service("ns1/nw2-only.ns1.svc.cluster.local").vip("n2/20.20.20.20");
    mesh.service("ns1/both-networks.ns1.svc.cluster.local").vip("n1/21.21.21.21").vip("n2/22.22.22.22");
    mesh.service("ns1/headless.ns1.svc.cluster.local");
    mesh.service("ns1/headless.example.com");
    mesh.service("ns1/headless-ipv6.ns1.svc.cluster.local").families(policy::IpFamilies::V6Only);
    for (const char* ns : {"ns2", "preferred-ns"}) {
        const bool other = ns[0] == 'n';
        mesh.service(std::string(ns) + "/everywhere.io").vip(other ? "n1/10.10.10.110" : "n1/10.10.10.111");
        mesh.service(std::string(ns) + "/preferred.io").vip(other ? "n1/10.10.10.210" : "n1/10.10.10.211");
    }
    mesh.service("ns1/everywhere.io").vip("n1/10.10.10.112");
    mesh.workload("ns1/headless0").ip("30.30.30.30").ip("2001:db8::30").network("n1").in("ns1/headless.ns1.svc.cluster.local");
    mesh.workload("ns1/headless1").ip("31.31.31.31").ip("2001:db8::31").network("n1").in("ns1/headless.ns1.svc.cluster.local");
    mesh.workload("ns1/headless2").ip("33.33.33.33").ip("2001:db8::33").network("n1").in("ns1/headless-ipv6.ns1.svc.cluster.local");
    mesh.workload("ns1/outside").ip("32.32.32.32").network("n1").in("ns1/headless.example.com");
}

struct Row {
    const char* name;
    const char* v4;
    const char* v6 = "nodata";
};

}  // namespace

TEST_CASE("dns server: record_found: lookup over udp and tcp, found and not_found") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.names.preferred_namespace = "preferred-ns";
    NameServer& upstream = lab.name_server(nxdomain);
    lab.start();
    const Row rows[] = {
        {"unknown.", "rcode 3", "rcode 3"},
        {"productpage.ns1.svc.cluster.local", "9.9.9.9"},
        {"productpage.ns1.svc", "9.9.9.9"},
        {"productpage.ns1", "9.9.9.9"},
        {"productpage", "9.9.9.9"},
        {"PRODUCTpage", "9.9.9.9"},
        {"productpage.ns1.svc.cluster.local.ns1.svc.cluster.local", "cname productpage.ns1.svc.cluster.local: 9.9.9.9"},
        {"productpage.ns1.ns1.svc.cluster.local", "cname productpage.ns1: 9.9.9.9"},
        {"example.ns2.svc.cluster.local", "10.10.10.10"},
        {"example.ns2", "10.10.10.10"},
        {"example", "rcode 3", "rcode 3"},
        {"www.google.com", "1.1.1.1"},
        {"www.google.com.ns1.svc.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.svc.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.bad", "rcode 3", "rcode 3"},
        {"ipv4.localhost", "2.2.2.2"},
        {"ipv6.localhost", "nodata", "2001:db8::ff00:42:8329"},
        {"dual.localhost", "2.2.2.2", "2001:db8::ff00:42:8329"},
        {"details.ns2.svc.cluster.remote", "11.11.11.11 12.12.12.12 13.13.13.13 14.14.14.14"},
        {"foo.wildcard", "10.10.10.10"},
        {"a.b.wildcard", "11.11.11.11"},
        {"foo.wildcard.ns1.svc.cluster.local", "10.10.10.10"},
        {"wildcard", "rcode 3", "rcode 3"},
        {"foo.svc.mesh.company.net", "10.1.2.3"},
        {"nw2-only", "nodata"},
        {"both-networks", "21.21.21.21"},
        {"headless", "30.30.30.30 31.31.31.31", "2001:db8::30 2001:db8::31"},
        {"headless-ipv6", "nodata", "2001:db8::33"},
        {"headless.example.com", "rcode 3", "rcode 3"},
        {"pod0.headless.ns1.svc.cluster.local", "rcode 3", "rcode 3"},
        {"everywhere.io", "10.10.10.112"},
        {"preferred.io", "10.10.10.211"},
    };
    for (const bool tcp : {false, true}) {
        Client client = lab.client(tcp);
        uint16_t id = 0;
        for (const Row& row : rows) {
            for (const uint16_t type : {dns::kTypeA, dns::kTypeAaaa}) {
                const std::string_view expected = type == dns::kTypeA ? row.v4 : row.v6;
                INFO(row.name << " type " << type << (tcp ? " tcp" : " udp"));
                std::string name = row.name;
                if (name.ends_with('.')) name.pop_back();  // on the wire every name ends at the root
                const auto reply = client.ask({.name = name, .type = type, .id = ++id});
                CHECK(reply.text() == expected);
                CHECK(reply.authoritative() == (expected != "rcode 3"));
                CHECK(reply.available());
                for (const auto& record : reply.answers) CHECK(record.ttl == 30);
            }
        }
        CHECK_FALSE(client.closed);
    }
    CHECK(upstream.udp_queries > 0);
    CHECK(upstream.tcp_queries == 0);
    CHECK(lab.until([&] { return lab.server->pending() == 0; }));
}

TEST_CASE("dns server: forward_to_server, of unknown names and of types that are not addresses") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    int types = 0;
    lab.name_server([&](const Message& q, bool) {
        if (wire::read(q).type == 16) ++types;
        const bool known = wire::read(q).question == "www.bing.com";
        return Messages{known ? wire::Answer(q).address("1.1.1.1", 99).bytes() : wire::Answer(q, 0x8185).bytes()};
    });
    lab.start();
    for (const bool tcp : {false, true}) {
        const auto reply = lab.client(tcp).ask({.name = "www.bing.com"});
        CHECK(reply.text() == "1.1.1.1");
        CHECK_FALSE(reply.authoritative());
        CHECK(reply.answers[0].ttl >= 95);
        CHECK(lab.ask("refused.example", tcp) == "rcode 5");
        // A name of the mesh, but no type of it.
        CHECK(lab.ask("productpage.ns1.svc.cluster.local", tcp, 16) == "rcode 5");
    }
    CHECK(types == 2);
}

TEST_CASE("dns server: ipv4_in_6_should_unwrap") {
    // Clients are known by their pod, not by address; what comes mapped, server addresses and records, is IPv4.
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("::ffff:2.2.2.2");
    mesh.service("ns1/www.bing.com").vip("::ffff:1.1.1.1");
    DnsLab lab(mesh);
    NameServer& upstream = lab.name_server(nxdomain);
    lab.conf = parse_resolv_conf("nameserver ::ffff:127.0.0.1\n");
    REQUIRE(lab.conf.servers.size() == 1);
    lab.conf.servers[0].port = upstream.address().port;
    lab.start();
    CHECK(lab.ask("www.bing.com") == "1.1.1.1");
    CHECK(lab.ask("www.bing.com", false, 28) == "nodata");
    CHECK(lab.ask("other.example") == "rcode 3");
}

TEST_CASE("dns server: large_response is cut over udp and whole over tcp") {
    MeshFixture mesh;
    build(mesh);
    auto service = mesh.service("ns1/mesh-large.com");
    for (int i = 0; i < 256; ++i) service.vip("n1/241.0.0." + std::to_string(i));
    DnsLab lab(mesh);
    NameServer& upstream = lab.name_server([](const Message& q, bool tcp) {
        wire::Answer answer(q, tcp ? 0x8180 : 0x8380);
        if (tcp)
            for (int i = 0; i < 256; ++i) answer.address("240.0.0." + std::to_string(i));
        return Messages{answer.bytes()};
    });
    lab.start();
    for (const char* name : {"large.com", "mesh-large.com"}) {
        const auto tcp = lab.client(true).ask({.name = name, .payload = 1232});
        CHECK_FALSE(tcp.truncated());
        CHECK(tcp.answers.size() == 256);
        const auto udp = lab.client(false).ask({.name = name, .payload = 1232});
        CHECK(udp.truncated());
        CHECK(udp.bytes <= 1232);
        CHECK(udp.answers.size() >= 73);
        CHECK(udp.answers.size() <= 75);
        CHECK(lab.client(false).ask({.name = name}).bytes <= 512);
    }
    CHECK(upstream.tcp_queries >= 2);
}

TEST_CASE("dns server: search_domains, those of Kubernetes or those configured") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.name_server(nxdomain);
    lab.start();
    CHECK(lab.ask("www.google.com.ns1.svc.cluster.local") == "cname www.google.com: 1.1.1.1");
    CHECK(lab.ask("www.google.com.corp.example") == "rcode 3");
    DnsLab dedicated(mesh);
    dedicated.current = lab.current;
    dedicated.settings.names.search_domains = parse_resolv_conf("search corp.example other.example\n").search;
    dedicated.name_server(nxdomain);
    dedicated.start();
    CHECK(dedicated.ask("www.google.com.corp.example") == "cname www.google.com: 1.1.1.1");
    CHECK(dedicated.ask("www.google.com.ns1.svc.cluster.local") == "rcode 3");
}

TEST_CASE("dns server: a pod whose record is unknown waits for it, and gets SERVFAIL when it does not come") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.known = false;
    lab.settings.workload_wait = 30ms;
    NameServer& upstream = lab.name_server(answers("3.3.3.3"));
    lab.start();
    CHECK(lab.ask("www.google.com") == "rcode 2");
    CHECK(lab.ask("elsewhere.example", true) == "rcode 2");
    CHECK(upstream.udp_queries == 0);
    lab.settings.workload_wait = 5s;
    Client client = lab.client(false);
    client.send(wire::query({.name = "www.google.com", .id = 1}));
    client.send(wire::query({.name = "elsewhere.example", .id = 2}));
    REQUIRE(lab.until([&] { return lab.server->pending() == 2; }));
    lab.server->on_mesh_change();
    CHECK(lab.server->pending() == 2);
    lab.known = true;
    lab.server->on_mesh_change();
    CHECK(client.reply(1)->text() == "1.1.1.1");
    CHECK(client.reply(2)->text() == "3.3.3.3");
    CHECK(lab.server->pending() == 0);
}

TEST_CASE("dns server: after a short wait the node agent's word serves for a record that has not come") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.known = false;
    lab.stands_in = true;
    lab.settings.workload_wait = 1h;
    lab.settings.record_wait = 20ms;
    lab.name_server(answers("3.3.3.3"));
    lab.start();
    Client client = lab.client(false);
    client.send(wire::query({.name = "www.google.com", .id = 1}));
    client.send(wire::query({.name = "elsewhere.example", .id = 2}));
    CHECK(client.reply(1)->text() == "1.1.1.1");
    CHECK(client.reply(2)->text() == "3.3.3.3");
    CHECK(lab.server->pending() == 0);
}

TEST_CASE("dns server: concurrent queries are bounded and counted") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.limits.queries = 3;
    lab.name_server(silent);
    lab.start();
    Client client = lab.client(false);
    for (uint16_t id = 1; id <= 5; ++id) client.send(wire::query({.name = "a.example", .id = id}));
    REQUIRE(lab.until([&] { return client.replies.size() == 2; }));
    CHECK(client.reply(4)->text() == "rcode 2");
    CHECK(client.reply(5)->text() == "rcode 2");
    CHECK(lab.server->pending() == 3);
    CHECK(lab.metrics->queries_refused->value() == 2);
    CHECK(lab.ask("www.google.com") == "1.1.1.1");  // the mesh needs no slot
}

TEST_CASE("dns server: hostile datagrams") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.start();
    Client client = lab.client(false);
    Message m = wire::query({.name = "www.google.com", .id = 1});
    client.send(Message(m.begin(), m.begin() + 5));
    m[2] |= 0x80;
    client.send(m);
    CHECK(client.reply(1)->rcode() == 1);
    client.send(wire::query({.name = "www.google.com", .id = 2, .flags = 0x2800}));
    CHECK(client.reply(2)->rcode() == 4);
    Message huge = wire::query({.name = "www.google.com", .id = 3});
    huge.resize(5000);
    client.send(huge);
    CHECK(client.reply(3)->rcode() == 1);
    CHECK(lab.metrics->malformed->value() == 3);
    CHECK(client.ask({.name = "www.google.com", .id = 4}).text() == "1.1.1.1");
}

TEST_CASE("dns server: tcp clients, several queries at once, answers as they come, half-close") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.name_server([](const Message& q, bool) {
        return wire::read(q).question == "slow.example" ? Messages{} : Messages{wire::Answer(q).address("3.3.3.3").bytes()};
    });
    lab.settings.upstream_timeout = 100ms;
    lab.start();
    Client client = lab.client(true);
    Message burst;
    for (const auto& [id, name] : {std::pair<uint16_t, const char*>{1, "slow.example"}, {2, "fast.example"}, {3, "www.google.com"}})
        dns::append_framed(burst, wire::query({.name = name, .id = id}));
    client.send_raw(burst);
    client.shut();
    CHECK(client.reply(3)->text() == "1.1.1.1");
    CHECK(client.reply(2)->text() == "3.3.3.3");
    CHECK(client.reply(1)->text() == "rcode 2");
    CHECK(client.order == std::vector<uint16_t>{3, 2, 1});
    CHECK(lab.until([&] { return client.closed; }));
    CHECK(lab.server->tcp_clients() == 0);
}

TEST_CASE("dns server: tcp clients are closed when idle, when slow by the byte, when they break the framing") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.tcp_idle = 60ms;
    lab.start();
    Client idle = lab.client(true), slow = lab.client(true), broken = lab.client(true);
    Message framed;
    dns::append_framed(framed, wire::query({.name = "www.google.com", .id = 1}));
    slow.send_raw({framed[0]});
    broken.send_raw({0, 3});
    CHECK(lab.until([&] { return broken.closed; }));
    CHECK(lab.until([&] { return slow.closed && idle.closed; }));
    CHECK(slow.replies.empty());
    CHECK(lab.server->tcp_clients() == 0);
}

TEST_CASE("dns server: a tcp client that goes on asking is not idle") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.tcp_idle = 200ms;
    lab.start();
    Client client = lab.client(true);
    for (uint16_t id = 1; id <= 8; ++id) {
        CHECK(client.ask({.name = "www.google.com", .id = id}).text() == "1.1.1.1");
        CHECK_FALSE(until(*lab.loop, [&] { return client.closed; }, 50ms));
    }
}

TEST_CASE("dns server: a tcp client may ask for more than is answered at a time, and take it late") {
    MeshFixture mesh;
    build(mesh);
    auto service = mesh.service("ns1/mesh-large.com");
    for (int i = 0; i < 4000; ++i) service.vip("n1/241.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    DnsLab lab(mesh);
    lab.settings.limits.queries_per_tcp_client = 2;
    lab.name_server(answers("3.3.3.3", 0));
    lab.start();
    const bool mesh_name = GENERATE(true, false);
    // 6 MB of answers, more than the sockets hold, to queries that the server reads at once.
    const uint16_t count = 100;
    Message burst;
    for (uint16_t id = 1; id <= count; ++id)
        dns::append_framed(burst, wire::query({.name = mesh_name ? "mesh-large.com" : "a.example", .id = id}));
    Client client = lab.client(true);
    REQUIRE(burst.size() < 4096);
    client.send_raw(burst);
    CHECK(lab.until([&] { return client.replies.size() == count || client.closed; }));
    CHECK_FALSE(client.closed);
    CHECK(lab.metrics->answers_unsent->value() == 0);
}

TEST_CASE("dns server: a tcp client that does not take its answers is closed, and counted") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.limits.queries_per_tcp_client = 400;
    lab.settings.tcp_idle = 60s;
    lab.name_server([](const Message& q, bool tcp) {
        wire::Answer answer(q, tcp ? 0x8180 : 0x8380);
        for (int i = 0; tcp && i < 3000; ++i) answer.address("240.0.0.1");
        return Messages{answer.bytes()};
    });
    lab.start();
    auto fd = make_tcp(AF_INET, {});
    REQUIRE(fd);
    REQUIRE(begin_connect(fd->get(), lab.server->addresses(true)[0]));
    REQUIRE(lab.until([&] { return lab.server->tcp_clients() == 1; }));
    Message burst;
    for (uint16_t id = 1; id <= 400; ++id) dns::append_framed(burst, wire::query({.name = "a.example", .id = id}));
    REQUIRE(::send(fd->get(), burst.data(), burst.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(burst.size()));
    CHECK(lab.until([&] { return lab.server->tcp_clients() == 0; }));
    CHECK(lab.metrics->answers_unsent->value() == 1);
}

TEST_CASE("dns server: a tcp client that leaves before its answer, and more clients than allowed") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.limits.tcp_clients = 2;
    lab.settings.upstream_timeout = 50ms;
    lab.name_server(silent);
    lab.start();
    {
        Client gone = lab.client(true);
        gone.send(wire::query({.name = "a.example"}));
        REQUIRE(lab.until([&] { return lab.server->pending() == 1; }));
        gone.shut();
    }
    CHECK(lab.until([&] { return lab.server->idle(); }));
    Client a = lab.client(true), b = lab.client(true);
    REQUIRE(lab.until([&] { return lab.server->tcp_clients() == 2; }));
    Client c = lab.client(true);
    CHECK(lab.until([&] { return c.closed; }));
    CHECK(lab.metrics->clients_refused->value() == 1);
    CHECK(a.ask({.name = "www.google.com"}).text() == "1.1.1.1");
}

TEST_CASE("dns server: draining answers who has asked, then frees the ports, and the end is clean at any time") {
    MeshFixture mesh;
    build(mesh);
    DnsLab lab(mesh);
    lab.settings.upstream_timeout = 100ms;
    lab.name_server(silent);
    lab.start();
    Client tcp = lab.client(true), udp = lab.client(false), idle = lab.client(true);
    tcp.send(wire::query({.name = "a.example", .id = 1}));
    udp.send(wire::query({.name = "b.example", .id = 1}));
    REQUIRE(lab.until([&] { return lab.server->pending() == 2 && lab.server->tcp_clients() == 2; }));
    const auto port = lab.server->addresses(false)[0];
    Client queued = lab.client(false);
    queued.send(wire::query({.name = "www.google.com", .id = 7}));  // in the socket's queue, not read yet
    lab.server->drain();
    CHECK(lab.server->pending() == 2);
    CHECK(queued.reply(7)->text() == "1.1.1.1");
    CHECK(tcp.reply(1)->text() == "rcode 2");
    CHECK(udp.reply(1)->text() == "rcode 2");
    CHECK(lab.until([&] { return tcp.closed; }));
    CHECK(idle.ask({.name = "www.google.com"}).text() == "1.1.1.1");  // it had connected before, and asks once
    CHECK(lab.until([&] { return lab.server->idle() && idle.closed; }));
    SocketOptions exclusive;
    exclusive.reuse_port = false;
    CHECK(bind_udp(port, exclusive));
    DnsLab cut(mesh);
    cut.current = lab.current;
    cut.name_server(silent);
    cut.start();
    Client last = cut.client(true), datagram = cut.client(false);
    last.send(wire::query({.name = "a.example"}));
    datagram.send(wire::query({.name = "a.example"}));
    REQUIRE(cut.until([&] { return cut.server->pending() == 2; }));
    cut.server.reset();
    CHECK(cut.until([&] { return last.closed; }));
}

TEST_CASE("dns server: test_dns_metrics") {
    MeshFixture mesh;
    build(mesh);
    auto client_record = mesh.workload("ns1/client").ip("10.0.0.1").network("n1");
    client_record->canonical_name = policy::Text("shop");
    client_record->canonical_revision = policy::Text("v2");
    DnsLab lab(mesh);
    lab.name_server([](const Message& q, bool) {
        const bool known = wire::read(q).question == "www.bing.com";
        return Messages{known ? wire::Answer(q).address("1.1.1.1").bytes() : wire::Answer(q, 0x8183).bytes()};
    });
    lab.start();
    CHECK(lab.ask("www.google.com") == "1.1.1.1");
    CHECK(lab.ask("www.bing.com") == "1.1.1.1");
    CHECK(lab.ask("www.bing.com") == "1.1.1.1");
    CHECK(lab.ask("unknown.example") == "rcode 3");
    CHECK(lab.ask("unknown.example", true, 65280) == "rcode 3");
    auto value = [&](auto& family, const char* type, const char* protocol) { return family.with({type, protocol, "shop", "v2"}); };
    CHECK(value(lab.metrics->requests, "a", "udp")->value() == 4);
    CHECK(value(lab.metrics->upstream_requests, "a", "udp")->value() == 3);
    CHECK(value(lab.metrics->upstream_failures, "a", "udp")->value() == 1);
    CHECK(value(lab.metrics->requests, "unknown", "tcp")->value() == 1);
    CHECK(value(lab.metrics->upstream_failures, "unknown", "tcp")->value() == 1);
    uint64_t observed = 0;
    for (size_t i = 0; i <= 6; ++i) observed += value(lab.metrics->upstream_seconds, "a", "udp")->bucket(i);
    CHECK(observed == 3);
    CHECK(lab.metrics->cache_hits->value() == 1);
}
