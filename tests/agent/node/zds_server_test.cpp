// SPDX-License-Identifier: Apache-2.0
#include "agent/node/zds_server.h"

#include "agent/node/process_start.h"
#include "base/netns.h"
#include "proto/zds.pb.h"
#include "tests/catch.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

using namespace std::chrono_literals;
using namespace warren;
namespace zds = istio::workload::zds;

namespace {

struct Folder {
    Folder() {
        char name[] = "/tmp/warren-zds-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
};

struct Recorder final : node::TunnelEvents {
    base::Result<void> tunnel_connected(const node::TunnelPeer& peer) override {
        connected.push_back(peer.pid);
        if (refuse) return base::Error{base::Errc::Denied, 0, "", "start the tunnel in a cgroup of its own"};
        return {};
    }
    void tunnel_synced(const node::TunnelPeer&) override { ++synced; }
    void tunnel_gone(const node::TunnelPeer&) override { ++gone; }
    void pod_taken(const std::string& uid, const base::Result<void>& outcome) override {
        taken.push_back(uid + (outcome ? "" : ": " + outcome.error().message()));
    }
    bool refuse = false;
    std::vector<pid_t> connected;
    int synced = 0, gone = 0;
    std::vector<std::string> taken;
};

// The tunnel's end, driven by hand on the test's thread.
struct Tunnel {
    explicit Tunnel(const std::string& path) : fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    void say(const std::string& bytes) const { REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0); }
    void hello() const {
        zds::ZdsHello m;
        m.set_version(zds::V1);
        say(m.SerializeAsString());
    }
    void ack(const std::string& error = {}) const {
        zds::WorkloadResponse m;
        m.mutable_ack()->set_error(error);
        say(m.SerializeAsString());
    }
    // "add uid name/ns/account inode", "del uid", "sent", "eof", or nothing for now.
    std::optional<std::string> hear() const {
        std::array<char, 2048> bytes;
        std::array<char, 256> control;
        iovec iov{bytes.data(), bytes.size()};
        msghdr header{};
        header.msg_iov = &iov;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        const ssize_t n = ::recvmsg(fd.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0) return errno == EAGAIN ? std::nullopt : std::optional<std::string>("eof");
        if (n == 0 && header.msg_controllen == 0 && bytes[0] != 0) return "eof";
        zds::WorkloadRequest m;
        REQUIRE(m.ParseFromArray(bytes.data(), static_cast<int>(n)));
        std::string inode = "-";
        if (const cmsghdr* part = CMSG_FIRSTHDR(&header)) {
            int passed = -1;
            std::memcpy(&passed, CMSG_DATA(part), sizeof passed);
            base::Fd owned(passed);
            struct stat s{};
            REQUIRE(::fstat(passed, &s) == 0);
            inode = std::to_string(s.st_ino);
        }
        if (m.has_add()) {
            const auto& info = m.add().workload_info();
            return "add " + m.add().uid() + " " + info.name() + "/" + info.namespace_() + "/" + info.service_account() + " " + inode;
        }
        if (m.has_del()) return "del " + m.del().uid();
        return m.has_snapshot_sent() ? "sent" : "eof";
    }
    base::Fd fd;
};

struct Lab {
    explicit Lab(std::chrono::milliseconds patience = 5s, std::optional<uint64_t> anew_since = {}) {
        path = folder.path + "/zds.sock";
        auto made = node::ZdsServer::start(*loop, {.path = path, .patience = patience, .max_tunnels = 3, .anew_since = anew_since}, events);
        REQUIRE(made);
        server = std::move(made).value();
        server->complete();
        here = std::make_shared<const base::Netns>(base::Netns::current().value());
    }
    // Turns the loop until the tunnel hears something.
    std::string hear(const Tunnel& tunnel) {
        const auto deadline = std::chrono::steady_clock::now() + 5s;
        for (;;) {
            if (auto heard = tunnel.hear()) return *heard;
            if (std::chrono::steady_clock::now() > deadline) return "nothing";
            REQUIRE(loop->run_once(std::chrono::steady_clock::now() + 10ms));
        }
    }
    template <class Condition>
    bool until(Condition met) {
        const auto deadline = std::chrono::steady_clock::now() + 5s;
        while (!met() && std::chrono::steady_clock::now() < deadline) REQUIRE(loop->run_once(std::chrono::steady_clock::now() + 10ms));
        return met();
    }
    void add(const std::string& uid) { server->add({uid, "pod-" + uid, "shop", "web", here}); }
    std::string added(const std::string& uid) const { return "add " + uid + " pod-" + uid + "/shop/web " + std::to_string(here->inode()); }
    void sync(const Tunnel& tunnel) {
        tunnel.hello();
        for (;;) {
            const std::string heard = hear(tunnel);
            REQUIRE(heard != "nothing");
            REQUIRE(heard != "eof");
            tunnel.ack();
            if (heard == "sent") break;
        }
        REQUIRE(until([this] { return events.synced > 0; }));
    }

    Folder folder;
    std::string path;
    std::unique_ptr<base::Loop> loop = base::Loop::create().value();
    Recorder events;
    std::unique_ptr<node::ZdsServer> server;
    std::shared_ptr<const base::Netns> here;
};

}  // namespace

TEST_CASE("zds server: a tunnel hears of every pod, one at a time, then that this was all") {
    Lab lab;
    lab.add("1");
    lab.add("2");
    Tunnel tunnel(lab.path);
    tunnel.hello();
    CHECK(lab.hear(tunnel) == lab.added("1"));
    CHECK(lab.events.connected == std::vector<pid_t>{::getpid()});
    REQUIRE(lab.loop->run_once(std::chrono::steady_clock::now()));
    CHECK_FALSE(tunnel.hear());  // the second waits for the first's answer
    tunnel.ack();
    CHECK(lab.hear(tunnel) == lab.added("2"));
    tunnel.ack("listen tcp [::]:15008: address in use");
    CHECK(lab.hear(tunnel) == "sent");
    tunnel.ack();
    CHECK(lab.until([&] { return lab.events.synced == 1; }));
    REQUIRE(lab.server->tunnels().size() == 1);
    CHECK(lab.server->tunnels()[0].pods == 1);
    CHECK(lab.server->tunnels()[0].refused.at("2") == "listen tcp [::]:15008: address in use");
    CHECK(lab.events.taken.size() == 2);
    lab.add("1");  // told once more only what was refused
    lab.add("2");
    CHECK(lab.hear(tunnel) == lab.added("2"));
    tunnel.ack();
    CHECK(lab.until([&] { return lab.events.taken.size() == 3; }));
    CHECK(lab.server->tunnels()[0].refused.empty());

    lab.add("3");
    CHECK(lab.hear(tunnel) == lab.added("3"));
    tunnel.ack();
    lab.server->remove("1");
    CHECK(lab.hear(tunnel) == "del 1");
    tunnel.ack();
    CHECK(lab.until([&] { return lab.server->tunnels()[0].waiting == 0; }));
    CHECK(lab.server->stats().protocol_errors == 0);
}

TEST_CASE("zds server: nothing is said to be all before every pod is known") {
    Lab lab;
    auto young_loop = base::Loop::create().value();
    Recorder events;
    auto young = node::ZdsServer::start(*young_loop, {.path = lab.path}, events).value();
    Tunnel tunnel(lab.path);
    tunnel.hello();
    const auto turn = [&] { REQUIRE(young_loop->run_once(std::chrono::steady_clock::now() + 5ms)); };
    for (int i = 0; i < 20; ++i) turn();
    CHECK(events.connected.size() == 1);
    CHECK_FALSE(tunnel.hear());
    young->add({"1", "pod-1", "shop", "web", lab.here});
    std::optional<std::string> heard;
    for (int i = 0; i < 200 && !(heard = tunnel.hear()); ++i) turn();
    CHECK(heard == lab.added("1"));
    tunnel.ack();
    for (int i = 0; i < 20; ++i) turn();
    CHECK_FALSE(tunnel.hear());
    young->complete();
    for (int i = 0; i < 200 && !(heard = tunnel.hear()); ++i) turn();
    CHECK(heard == "sent");
}

TEST_CASE("zds server: a pod that comes and goes while others are told is not spoken of") {
    Lab lab;
    lab.add("1");
    Tunnel tunnel(lab.path);
    tunnel.hello();
    CHECK(lab.hear(tunnel) == lab.added("1"));
    lab.add("2");
    lab.server->remove("2");
    tunnel.ack();
    CHECK(lab.hear(tunnel) == "sent");
}

TEST_CASE("zds server: adds go to the newest tunnel, dels to all, and the older one catches up when it is alone again") {
    Lab lab;
    lab.add("1");
    Tunnel old(lab.path);
    lab.sync(old);
    std::optional<Tunnel> fresh(lab.path);
    lab.sync(*fresh);
    lab.add("2");
    CHECK(lab.hear(*fresh) == lab.added("2"));
    fresh->ack();
    CHECK_FALSE(old.hear());
    lab.server->remove("1");
    CHECK(lab.hear(*fresh) == "del 1");
    CHECK(lab.hear(old) == "del 1");
    old.ack();
    fresh.reset();
    CHECK(lab.hear(old) == lab.added("2"));
    CHECK(lab.events.gone == 1);
}

TEST_CASE("zds server: what breaks the protocol, or is too slow, is cut and counted") {
    Lab lab(50ms);
    lab.add("1");
    SECTION("no hello") {
        Tunnel tunnel(lab.path);
        tunnel.say("\xff\xff");
        CHECK(lab.hear(tunnel) == "eof");
        CHECK(lab.server->stats().protocol_errors == 1);
    }
    SECTION("an answer to nothing") {
        Tunnel tunnel(lab.path);
        lab.sync(tunnel);
        tunnel.ack();
        CHECK(lab.hear(tunnel) == "eof");
        CHECK(lab.server->stats().protocol_errors == 1);
    }
    SECTION("silence before the hello") {
        Tunnel tunnel(lab.path);
        CHECK(lab.hear(tunnel) == "eof");
        CHECK(lab.server->stats().timeouts == 1);
    }
    SECTION("silence after a request") {
        Tunnel tunnel(lab.path);
        tunnel.hello();
        CHECK(lab.hear(tunnel) == lab.added("1"));
        CHECK(lab.hear(tunnel) == "eof");
        CHECK(lab.server->stats().timeouts == 1);
    }
    SECTION("a cgroup that the agent cannot use") {
        lab.events.refuse = true;
        Tunnel tunnel(lab.path);
        tunnel.hello();
        CHECK(lab.hear(tunnel) == "eof");
    }
    SECTION("one tunnel too many") {
        Tunnel a(lab.path), b(lab.path), c(lab.path), d(lab.path);
        for (const Tunnel* t : {&a, &b, &c}) t->hello();
        CHECK(lab.hear(d) == "eof");
        CHECK(lab.server->stats().refused_peers == 1);
    }
}

TEST_CASE("zds server: the later agent owns the socket, and the earlier one leaves it alone") {
    Lab lab;
    auto second_loop = base::Loop::create().value();
    Recorder second_events;
    auto second = node::ZdsServer::start(*second_loop, {.path = lab.path}, second_events);
    REQUIRE(second);
    lab.server.reset();
    Tunnel tunnel(lab.path);  // the path is still there, and the second's
    tunnel.hello();
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (second_events.connected.empty() && std::chrono::steady_clock::now() < deadline) {
        REQUIRE(second_loop->run_once(std::chrono::steady_clock::now() + 10ms));
    }
    CHECK(second_events.connected.size() == 1);
    std::move(second).value().reset();
    CHECK_FALSE(std::filesystem::exists(lab.path));
}

TEST_CASE("zds server: version skew: a tunnel of another release is served with fields of its own, one of another protocol is not") {
    const std::string newer("\x98\x06\x01", 3);  // field 99, which no release has yet
    Lab lab;
    lab.add("a");
    {
        const Tunnel tunnel(lab.path);
        zds::ZdsHello hello;
        hello.set_version(zds::V1);
        tunnel.say(hello.SerializeAsString() + newer);
        zds::WorkloadResponse ack;
        ack.mutable_ack()->GetReflection()->MutableUnknownFields(ack.mutable_ack())->AddVarint(99, 1);
        CHECK(lab.hear(tunnel) == lab.added("a"));
        tunnel.say(ack.SerializeAsString() + newer);
        CHECK(lab.hear(tunnel) == "sent");
        tunnel.say(ack.SerializeAsString());
        CHECK(lab.until([&lab] { return lab.events.synced == 1 && lab.events.taken == std::vector<std::string>{"a"}; }));
    }
    const Tunnel tunnel(lab.path);
    zds::ZdsHello hello;
    hello.set_version(static_cast<zds::Version>(zds::V1 + 1));
    tunnel.say(hello.SerializeAsString());
    CHECK(lab.hear(tunnel) == "eof");
}

TEST_CASE("zds server: a tunnel older than the maps begins anew, once; a younger one hears of its pods first") {
    const uint64_t ours = node::process_start("/proc/self").value();
    {
        Lab lab(5s, ours + 1);
        lab.add("a");
        const Tunnel old(lab.path);
        old.hello();
        CHECK(lab.hear(old) == "sent");
        old.ack();
        CHECK(lab.hear(old) == lab.added("a"));
        old.ack();
        const Tunnel again(lab.path);
        again.hello();
        CHECK(lab.hear(again) == lab.added("a"));
    }
    Lab lab(5s, ours);
    lab.add("a");
    const Tunnel young(lab.path);
    young.hello();
    CHECK(lab.hear(young) == lab.added("a"));
    young.ack();
    CHECK(lab.hear(young) == "sent");
}

TEST_CASE("zds server: a tunnel that comes while no descriptor is left waits, and the loop does not spin") {
    Lab lab;
    const Tunnel tunnel(lab.path);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next = ::dup(0);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const auto start = std::chrono::steady_clock::now();
    const auto looked = [&, first = lab.loop->stats().events] { return lab.loop->stats().events - first; };
    bool turned = true;
    while (turned && looked() < 4 && std::chrono::steady_clock::now() - start < 20s) turned = lab.loop->run_once(start + 20s).has_value();
    const auto took = std::chrono::steady_clock::now() - start;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(turned);
    CHECK(looked() == 4);
    CHECK(took >= 290ms);
    CHECK(lab.server->stats().sessions == 0);
    CHECK(lab.until([&] { return lab.server->stats().sessions == 1; }));
}
