// SPDX-License-Identifier: Apache-2.0
// The walks over open connections, and what another product's connect hook does to ours, with real programs and real connections between
// two namespaces.
#include "agent/node/cgroups.h"
#include "agent/node/map_rows.h"
#include "agent/node/socket_destroyer.h"
#include "agent/node/socket_sampler.h"
#include "tests/agent/node/foreign_program.h"
#include "tests/agent/node/kernel_lab.h"
#include "tests/catch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

namespace {

// This process inside the lab's cgroup, where the hooks are.
class InCgroup {
  public:
    explicit InCgroup(const std::string& path) { move(path); }
    ~InCgroup() { move(must(find_cgroup2())); }
    InCgroup(const InCgroup&) = delete;
    InCgroup& operator=(const InCgroup&) = delete;

  private:
    static void move(const std::string& path) {
        const base::Fd procs(::open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
        REQUIRE(::write(procs.get(), "0", 1) == 1);
    }
};

base::Fd tcp() {
    base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd);
    const timeval limit{.tv_sec = 3, .tv_usec = 0};
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    return fd;
}

sockaddr_in at(const char* address, uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    REQUIRE(::inet_pton(AF_INET, address, &out.sin_addr) == 1);
    return out;
}

template <class Make>
base::Fd in(const base::Netns& netns, Make make) {
    return must(base::in_netns(netns, [&]() -> base::Result<base::Fd> { return make(); }));
}

struct Connection {
    base::Fd client, server;
};

// Two enrolled pods on one node, 10.9.0.1 and 10.9.0.2, joined by a veth, with the direct path on.
struct TwoPods {
    explicit TwoPods(const KernelLab& lab, const KernelObjectSettings& settings = {}) : agent(lab, settings), inside(lab.cgroup_root()) {
        const std::string to = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(b->fd());
        ip_in(*a, "link add w0 type veth peer name w0 netns " + to);
        setup(*a, "10.9.0.1", "10.9.0.2");
        setup(*b, "10.9.0.2", "10.9.0.1");
        must(agent.maps.configure({.abi_version = 0,
                                   .flags = WR_CONFIG_REDIRECT | WR_CONFIG_DIRECT | WR_CONFIG_FLOWS,
                                   .host_netns = must(must(base::Netns::current()).cookie()),
                                   .port_outbound = 15001,
                                   .port_plaintext = 15006,
                                   .port_hbone = 15008,
                                   .port_dns = 15053,
                                   .ring_wakeup_bytes = 4096,
                                   .pad = 0}));
        enrol(a, 1, "10.9.0.1");
        enrol(b, 2, "10.9.0.2");
    }

    static void setup(const base::Netns& netns, const std::string& own, const std::string& peer) {
        ip_in(netns, "addr add " + own + " peer " + peer + " dev w0");
        ip_in(netns, "link set w0 up");
    }
    void enrol(const std::shared_ptr<const base::Netns>& netns, uint32_t id, const char* address) {
        const wr_addr row = to_row(must(base::IpAddr::parse(address)));
        const uint64_t cookie = must(netns->cookie());
        const uint32_t flags = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;
        must(agent.maps.addrs.update(row, {.netns = cookie, .id = id, .flags = flags}));
        must(agent.attachments->attach_pod(cookie, netns));
        must(agent.maps.pods.update(cookie, {.id = id, .flags = flags, .v4 = row, .v6 = {}}));
    }
    void verdict(uint16_t port, wr_verdict verdict) {
        must(agent.maps.verdicts.update({.source = 1, .destination = 2, .port = port, .pad = 0},
                                        {.verdict = static_cast<uint8_t>(verdict), .reason = 0, .pad = 0, .policy = 0, .rule = 0}));
    }
    base::Fd listen(uint16_t port) {
        return in(*b, [port] {
            base::Fd fd = tcp();
            const sockaddr_in address = at("10.9.0.2", port);
            REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
            REQUIRE(::listen(fd.get(), 16) == 0);
            return fd;
        });
    }
    // What connect() says, 0 or an errno.
    int dial(base::Fd& client, uint16_t port) {
        client = in(*a, [] { return tcp(); });
        const sockaddr_in address = at("10.9.0.2", port);
        return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
    }
    Connection connect(const base::Fd& listener, uint16_t port) {
        Connection out;
        REQUIRE(dial(out.client, port) == 0);
        out.server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(out.server);
        return out;
    }

    std::shared_ptr<const base::Netns> a = make_netns(), b = make_netns();
    base::Netns home = must(base::Netns::current());
    AgentLife agent;
    InCgroup inside;
};

bool is_open(const base::Fd& socket) {
    char byte = 0;
    return ::recv(socket.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

}  // namespace

TEST_CASE("socket sampler: an open direct connection is reported with its bytes, in its own namespace only") {
    KernelLab lab;
    TwoPods pods(lab);
    pods.verdict(8080, WR_VERDICT_ALLOW);
    const base::Fd listener = pods.listen(8080);
    const Connection connection = pods.connect(listener, 8080);
    const std::string text(1000, 'x');
    REQUIRE(::send(connection.client.get(), text.data(), text.size(), 0) == 1000);
    std::array<char, 1000> got{};
    REQUIRE(::recv(connection.server.get(), got.data(), got.size(), MSG_WAITALL) == 1000);

    const SocketSampler sampler = must(SocketSampler::of(*pods.agent.object));
    std::vector<wr_flow_event> events;
    const auto keep = [&](const wr_flow_event& event) { events.push_back(event); };
    REQUIRE(wait_for([&] {
        events.clear();
        return must(sampler.sample(*pods.a, pods.home, keep)) == 1 && events[0].bytes_to_destination == 1000;
    }));
    CHECK(events[0].kind == WR_EVENT_SAMPLE);
    CHECK(events[0].path == WR_PATH_DIRECT);
    CHECK(events[0].source_id == 1);
    CHECK(events[0].destination_id == 2);
    CHECK(from_row(events[0].chosen).to_string() == "10.9.0.2");
    CHECK(events[0].chosen_port == 8080);
    CHECK(must(sampler.sample(pods.home, pods.home, keep)) == 0);
}

TEST_CASE("socket destroyer: connections whose verdict changed end, and only those, in the kernel and by netlink") {
    KernelLab lab;
    const bool in_kernel = GENERATE(true, false);
    KernelObjectSettings settings;
    if (!in_kernel) settings.leave_out["wr_iter_judge"] = "as before Linux 6.5";
    TwoPods pods(lab, settings);
    pods.verdict(8080, WR_VERDICT_ALLOW);
    pods.verdict(9090, WR_VERDICT_ALLOW);
    const base::Fd one = pods.listen(8080), other = pods.listen(9090);
    const Connection doomed = pods.connect(one, 8080), stays = pods.connect(other, 9090);

    const SocketDestroyer destroyer = must(SocketDestroyer::of(*pods.agent.object));
    CHECK(destroyer.in_kernel() == in_kernel);
    CHECK(must(destroyer.judge(*pods.a, pods.home)).ended == 0);
    CHECK(is_open(doomed.client));

    pods.verdict(8080, WR_VERDICT_DENY);
    CHECK(must(destroyer.judge(*pods.b, pods.home)).ended == 0);  // judged where it began
    size_t told = 0;
    const auto counts = must(destroyer.judge(*pods.a, pods.home, [&](const wr_flow_event& event) {
        ++told;
        CHECK(event.chosen_port == 8080);
    }));
    CHECK(counts.ended == 1);
    CHECK(counts.failed == 0);
    CHECK(told == 1);
    char byte = 0;
    CHECK(::recv(doomed.client.get(), &byte, 1, 0) == -1);
    CHECK(errno == ECONNABORTED);
    CHECK(::recv(doomed.server.get(), &byte, 1, 0) == -1);
    CHECK(errno == ECONNRESET);
    CHECK(is_open(stays.client));
    CHECK(is_open(stays.server));
    CHECK(must(destroyer.judge(*pods.a, pods.home)).ended == 0);
    base::Fd refused;
    CHECK(pods.dial(refused, 8080) == ECONNREFUSED);
}

TEST_CASE("socket destroyer: netlink ends one connection by its tuple and says when there is none") {
    KernelLab lab;
    TwoPods pods(lab);
    const auto none = base::in_netns(
        *pods.a, [] { return destroy_tcp(must(base::SockAddr::parse("10.9.0.1:1")), must(base::SockAddr::parse("10.9.0.2:2"))); });
    CHECK_FALSE(must(none));
}

TEST_CASE("restart: trap 19, no connection slips past its verdict while new agents take over") {
    KernelLab lab;
    TwoPods pods(lab);
    pods.verdict(8080, WR_VERDICT_DENY);
    const base::Fd listener = pods.listen(8080);
    std::atomic<bool> stop = false;
    std::atomic<size_t> refused = 0, others = 0;
    std::thread storm([&] {
        const auto home = base::Netns::current();
        const auto stay = base::NetnsStay::enter(*pods.a, *home);
        while (!stop) {
            const base::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_port = htons(8080);
            address.sin_addr.s_addr = htonl(0x0a090002);
            const bool failed = ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
            ++(failed && errno == ECONNREFUSED ? refused : others);
        }
    });
    for (int i = 0; i < 5; ++i) {
        const AgentLife next(lab);
        const size_t so_far = refused;
        CHECK(wait_for([&] { return refused > so_far + 100 || others > 0; }));
    }
    stop = true;
    storm.join();
    CHECK(others == 0);
    CHECK(refused > 500);
    pollfd waiting{.fd = listener.get(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&waiting, 1, 0) == 0);
}

TEST_CASE("another product's connect hook: before ours, ours judges where it really goes") {
    KernelLab lab;
    const Cgroup root = must(open_cgroup(lab.cgroup_root()));
    const base::Fd foreign = foreign_connect4(80, 8080);
    const base::Fd link(::bpf_link_create(foreign.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    REQUIRE(link);
    TwoPods pods(lab);
    const base::Fd listener = pods.listen(8080);
    pods.verdict(80, WR_VERDICT_ALLOW);
    pods.verdict(8080, WR_VERDICT_DENY);
    base::Fd client;
    CHECK(pods.dial(client, 80) == ECONNREFUSED);
    pods.verdict(8080, WR_VERDICT_ALLOW);
    CHECK(pods.dial(client, 80) == 0);
}

TEST_CASE("another product's connect hook: after ours, it leads no connection past its verdict") {
    KernelLab lab;
    TwoPods pods(lab);
    const Cgroup root = must(open_cgroup(lab.cgroup_root()));
    const base::Fd foreign = foreign_connect4(80, 8080);
    const base::Fd link(::bpf_link_create(foreign.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    REQUIRE(link);
    const base::Fd listener = pods.listen(8080);
    pods.verdict(80, WR_VERDICT_ALLOW);
    pods.verdict(8080, WR_VERDICT_DENY);
    base::Fd client;
    CHECK(pods.dial(client, 80) != 0);
    pollfd waiting{.fd = listener.get(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&waiting, 1, 0) == 0);
}

TEST_CASE("another product's connect hook: after ours, it leads no connection past the tunnel") {
    KernelLab lab;
    TwoPods pods(lab);
    const base::Fd stranger = pods.listen(8080);
    const uint64_t cookie = must(pods.b->cookie());
    pods.agent.attachments->detach_pod(cookie);  // outside the mesh: what reaches it reaches it in plaintext
    CHECK(must(pods.agent.maps.pods.erase(cookie)));
    CHECK(must(pods.agent.maps.addrs.erase(to_row(must(base::IpAddr::parse("10.9.0.2"))))));
    const Cgroup root = must(open_cgroup(lab.cgroup_root()));
    const base::Fd foreign = foreign_connect4(15001, 8080, htonl(0x0a090002));
    const base::Fd link(::bpf_link_create(foreign.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    REQUIRE(link);
    base::Fd client;
    CHECK(pods.dial(client, 80) != 0);
    pollfd waiting{.fd = stranger.get(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&waiting, 1, 0) == 0);
    CHECK(must(pods.agent.maps.stats())[WR_STAT_CONNECT_DENIED] == 1);
}
