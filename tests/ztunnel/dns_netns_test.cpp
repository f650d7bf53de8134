// SPDX-License-Identifier: Apache-2.0
// The DNS server of a pod in a network namespace of its own: where its sockets live, what mark they carry, which loopback it binds. Root.
#include "tests/ztunnel/dns_lab.h"

#include <fcntl.h>
#include <netinet/in.h>

#include <cstdlib>

using namespace warren;
using namespace warren::ztunnel;
using namespace warren::tests;

namespace {

constexpr uint32_t kMark = 0x539;

base::Result<void> disable_ipv6() {
    const base::Fd fd(::open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || ::write(fd.get(), "1", 1) != 1) return base::os_error("disable_ipv6");
    return {};
}

// A namespace of this test's own with its loopback up, removed by its exact name.
class Pod {
  public:
    explicit Pod(bool ipv6 = true) {
        static int count = 0;
        name_ = "wrt-dns-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
        REQUIRE(run("ip netns add " + name_));
        REQUIRE(run("ip -n " + name_ + " link set lo up"));
        auto here = base::Netns::current(), there = base::Netns::open("/run/netns/" + name_);
        REQUIRE(here);
        REQUIRE(there);
        home = std::make_unique<base::Netns>(std::move(*here));
        netns = std::make_unique<base::Netns>(std::move(*there));
        if (!ipv6) REQUIRE(inside(&disable_ipv6));
    }
    ~Pod() { run("ip netns del " + name_); }
    template <class Make>
    auto inside(Make&& make) -> decltype(make()) {
        return base::in_netns(*netns, *home, std::forward<Make>(make));
    }
    std::unique_ptr<base::Netns> home, netns;

  private:
    static bool run(const std::string& command) { return std::system(command.c_str()) == 0; }
    std::string name_;
};

// One IPv4 datagram with a source of one's choice, as CAP_NET_RAW lets a pod send it.
void forge(Pod& pod, const base::SockAddr& from, const base::SockAddr& to, const Message& payload) {
    Message packet{0x45, 0, 0, 0, 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0};  // the kernel fills in lengths and checksum
    for (const auto& end : {from, to}) wire::put32(packet, end.ip.v4_host_order());
    for (const unsigned v : {unsigned{from.port}, unsigned{to.port}, static_cast<unsigned>(8 + payload.size()), 0u}) wire::put16(packet, v);
    packet.insert(packet.end(), payload.begin(), payload.end());
    const auto raw =
        pod.inside([]() -> base::Result<base::Fd> { return base::Fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)); });
    REQUIRE(raw);
    REQUIRE(send_to(raw->get(), packet, to, AF_INET));
}

// Mark of every socket of this process that lives in the namespace.
std::vector<uint32_t> marks_in(const base::Netns& netns) {
    std::vector<uint32_t> marks;
    const auto cookie = netns.cookie();
    REQUIRE(cookie);
    for (int fd = 0; fd < 1024; ++fd) {
        const auto of = base::netns_cookie_of(fd);
        if (!of || *of != *cookie) continue;
        uint32_t mark = 0;
        socklen_t size = sizeof mark;
        int domain = 0;
        socklen_t domain_size = sizeof domain;
        ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size);
        if (domain != AF_INET && domain != AF_INET6) continue;
        REQUIRE(::getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size) == 0);
        marks.push_back(mark);
    }
    return marks;
}

}  // namespace

TEST_CASE("dns netns: test_run_works, test_inpod_config_outbound_sockets: in the pod's namespace, marked; the thread stays at home") {
    require_root();
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    mesh.service("ns1/www.google.com").vip("1.1.1.1");
    Pod pod;
    DnsLab lab(mesh);
    lab.settings.sockets.mark = kMark;
    lab.settings.listen.port = kDnsPort;
    lab.place = {pod.netns.get(), pod.home.get()};
    lab.settings.upstream_timeout = 5s;
    // Name servers that exist in the pod's namespace alone, one of them silent.
    SocketOptions marked;
    marked.mark = kMark;
    auto make = [&](NameServer::Behave behave, const char* at) {
        auto made = pod.inside([&]() -> base::Result<std::unique_ptr<NameServer>> {
            return std::make_unique<NameServer>(*lab.loop, std::move(behave), sock(at), marked);
        });
        REQUIRE(made);
        return std::move(*made);
    };
    const auto upstream = make(
        [](const Message& q, bool tcp) -> Messages {
            const std::string name = wire::read(q).question;
            if (name == "silent.example") return {};
            if (name == "large.example" && !tcp) return {wire::Answer(q, 0x8380).bytes()};
            if (name == "large.example" && tcp) return {};
            return {wire::Answer(q).address("3.3.3.3").bytes()};
        },
        "127.0.0.53:53");
    lab.conf = parse_resolv_conf("nameserver 127.0.0.53\n");
    lab.start();
    CHECK(base::Netns::current().value() == *pod.home);
    CHECK(lab.server->addresses(false).size() == 2);
    const size_t before = marks_in(*pod.netns).size();
    CHECK(before == 6);  // two of the name server, UDP and TCP on two loopback addresses

    auto in_pod = [&](bool tcp, size_t address) {
        auto made = pod.inside([&]() -> base::Result<std::unique_ptr<Client>> {
            return std::make_unique<Client>(*lab.loop, lab.server->addresses(tcp)[address], tcp);
        });
        REQUIRE(made);
        return std::move(*made);
    };
    for (const size_t address : {0u, 1u})
        for (const bool tcp : {false, true}) {
            CHECK(in_pod(tcp, address)->ask({.name = "www.google.com"}).text() == "1.1.1.1");
            CHECK(in_pod(tcp, address)->ask({.name = "a.example"}).text() == "3.3.3.3");
        }
    REQUIRE(lab.until([&] { return lab.server->idle(); }));
    CHECK(marks_in(*pod.netns).size() == before);  // no socket of a query is left

    // While queries are under way, over UDP and over TCP: every socket there is marked but the client's.
    const auto client = in_pod(false, 0);
    const size_t mine = marks_in(*pod.netns).size() - before;
    client->send(wire::query({.name = "silent.example", .id = 1}));
    client->send(wire::query({.name = "large.example", .id = 2}));
    REQUIRE(lab.until([&] { return upstream->tcp_queries == 1 && upstream->udp_queries >= 2; }));
    size_t marked_count = 0, unmarked = 0;
    for (const uint32_t mark : marks_in(*pod.netns)) ++(mark == kMark ? marked_count : unmarked);
    CHECK(unmarked == mine);
    CHECK(marked_count == before + 3);  // both queries' sockets, and the name server's accepted one, which inherits
}

TEST_CASE("dns netns: IPv6 is bound where the namespace and the configuration have it") {
    require_root();
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    Pod with, without(false);
    auto addresses = [&](Pod& pod, bool ipv6) {
        DnsLab lab(mesh);
        lab.settings.sockets.ipv6 = ipv6;
        lab.settings.listen.port = kDnsPort;
        lab.place = {pod.netns.get(), pod.home.get()};
        lab.start();
        std::string out;
        for (const auto& address : lab.server->addresses(true)) out += address.to_string() + " ";
        return out;
    };
    CHECK(addresses(with, true) == "127.0.0.1:15053 [::1]:15053 ");
    CHECK(addresses(with, false) == "127.0.0.1:15053 ");
    CHECK(addresses(without, true) == "127.0.0.1:15053 ");
}

TEST_CASE("dns netns: a busy port fails the server whole, with the address in the error") {
    require_root();
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    Pod pod;
    SocketOptions exclusive;
    exclusive.reuse_port = false;
    const auto taken = pod.inside([&] { return listen_tcp({sock("[::1]:15053"), ListenAt::Transparent::No, 1}, exclusive); });
    REQUIRE(taken);
    DnsLab lab(mesh);
    lab.settings.listen.port = kDnsPort;
    lab.place = {pod.netns.get(), pod.home.get()};
    lab.current = mesh.snapshot();
    const auto refused = DnsServer::start({*lab.loop, lab.random, lab, lab.place, lab.settings, *lab.metrics}, lab.conf);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("[::1]:15053") != std::string::npos);
    CHECK(marks_in(*pod.netns).size() == 1);
    CHECK(base::Netns::current().value() == *pod.home);
}

TEST_CASE("dns netns: a datagram that forges the server's own address is not answered, for it would be answered for ever") {
    require_root();
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    Pod pod;
    DnsLab lab(mesh);
    lab.settings.listen.port = kDnsPort;
    lab.place = {pod.netns.get(), pod.home.get()};
    lab.start();
    Message response = wire::query({.name = "a.example"});
    response[2] |= 0x80;
    const auto own = sock("127.0.0.1:15053");
    forge(pod, own, own, response);
    REQUIRE(lab.until([&] { return lab.metrics->malformed->value() == 1; }));
    // Answers from elsewhere get their FORMERR, and nothing came back from the first in the meantime.
    forge(pod, sock("127.0.0.1:4"), own, response);
    REQUIRE(lab.until([&] { return lab.metrics->malformed->value() == 2; }));
    CHECK_FALSE(until(*lab.loop, [&] { return lab.metrics->malformed->value() > 2; }, 50ms));
}
