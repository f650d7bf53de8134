// SPDX-License-Identifier: Apache-2.0
// Ended connections leave connection tracking, and only those: in a namespace that translates a service's address as kube-proxy does.
#include "agent/node/conntrack.h"
#include "agent/node/conntrack_sweeper.h"
#include "tests/agent/node/kernel_lab.h"
#include "tests/catch.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

namespace {

constexpr const char* kService = "10.96.0.9";

base::IpAddr ip(const char* text) { return must(base::IpAddr::parse(text)); }

class Translating {
  public:
    Translating() : home_(must(base::Netns::current())), netns_(make_netns()), stay_(must(base::NetnsStay::enter(*netns_, home_))) {
        for (const char* address : {"10.1.0.1", "10.1.0.2", "10.1.0.3"}) ip_in(*netns_, std::string("addr add ") + address + "/32 dev lo");
        ip_in(*netns_, "route add 10.96.0.0/16 dev lo");
        REQUIRE(std::system("iptables -t nat -A OUTPUT -p tcp -d 10.96.0.9 --dport 80 -j DNAT --to-destination 10.1.0.1:8080") == 0);
        listener_ = base::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const sockaddr_in at = address("10.1.0.1", 8080);
        REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
        REQUIRE(::listen(listener_.get(), 16) == 0);
    }
    static sockaddr_in address(const char* text, uint16_t port) {
        sockaddr_in out{};
        out.sin_family = AF_INET;
        out.sin_port = htons(port);
        REQUIRE(::inet_pton(AF_INET, text, &out.sin_addr) == 1);
        return out;
    }
    // Both ends of a connection to the service.
    std::pair<base::Fd, base::Fd> connect(const char* from) {
        base::Fd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const sockaddr_in own = address(from, 0), service = address(kService, 80);
        REQUIRE(::bind(near.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
        REQUIRE(::connect(near.get(), reinterpret_cast<const sockaddr*>(&service), sizeof service) == 0);
        base::Fd far(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(far);
        return {std::move(near), std::move(far)};
    }
    // Of a connection straight to the endpoint: the source port that the endpoint sees.
    uint16_t seen_directly(const char* from, uint16_t port) {
        base::Fd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int yes = 1;
        REQUIRE(::setsockopt(near.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
        const sockaddr_in own = address(from, port), endpoint = address("10.1.0.1", 8080);
        REQUIRE(::bind(near.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
        REQUIRE(::connect(near.get(), reinterpret_cast<const sockaddr*>(&endpoint), sizeof endpoint) == 0);
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        const base::Fd far(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
        REQUIRE(far);
        return ntohs(peer.sin_port);
    }
    // The source port it had, which may be bound again at once.
    uint16_t end_one(const char* from) {
        auto [near, far] = connect(from);
        const int yes = 1;
        REQUIRE(::setsockopt(near.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
        sockaddr_in own{};
        socklen_t size = sizeof own;
        REQUIRE(::getsockname(near.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
        near.reset();
        char byte = 0;
        REQUIRE(::read(far.get(), &byte, 1) == 0);
        return ntohs(own.sin_port);
    }
    // Lines of the connections that the address opened; the state's name stands in them.
    static size_t count(const char* from, const char* state) {
        std::ifstream file("/proc/net/nf_conntrack");
        size_t found = 0;
        for (std::string line; std::getline(file, line);)
            found +=
                line.find(state) != std::string::npos && line.find(std::string("src=") + from + " dst=" + kService) != std::string::npos;
        return found;
    }

  private:
    base::Netns home_;
    std::shared_ptr<const base::Netns> netns_;
    base::NetnsStay stay_;
    base::Fd listener_;
};

}  // namespace

TEST_CASE("conntrack: what an address opened and has ended is forgotten, nothing else") {
    require_root();
    Translating lab;
    const auto open = lab.connect("10.1.0.2");
    for (int i = 0; i < 3; ++i) lab.end_one("10.1.0.2");
    lab.end_one("10.1.0.3");
    REQUIRE(Translating::count("10.1.0.2", "TIME_WAIT") == 3);
    const std::vector<base::IpAddr> sources = {ip("10.1.0.2"), ip("fd00::2")};
    const ConntrackCounts counts = must(forget_ended(sources));
    CHECK(counts.forgotten == 3);
    CHECK(counts.open == std::vector{ip("10.1.0.2")});
    CHECK(Translating::count("10.1.0.2", "TIME_WAIT") == 0);
    CHECK(Translating::count("10.1.0.2", "ESTABLISHED") == 1);
    CHECK(Translating::count("10.1.0.3", "TIME_WAIT") == 1);
    CHECK(must(forget_ended(sources)).forgotten == 0);
}

TEST_CASE("conntrack: few addresses are asked for one by one, many at once, and a look that is cut short says so") {
    require_root();
    Translating lab;
    const auto open = lab.connect("10.1.0.2");
    for (int i = 0; i < 3; ++i) lab.end_one("10.1.0.2");
    for (int i = 0; i < 5; ++i) lab.end_one("10.1.0.3");
    const std::vector<base::IpAddr> sources = {ip("10.1.0.2"), ip("fd00::2")};
    SECTION("one by one: the kernel tells of theirs alone") {
        const ConntrackCounts counts = must(forget_ended(sources));
        CHECK(counts.rows == 4);
        CHECK(counts.forgotten == 3);
        CHECK_FALSE(counts.cut);
    }
    SECTION("at once: of all TCP") {
        const ConntrackCounts counts = must(forget_ended(sources, {.rows = 100, .one_by_one = 1}));
        CHECK(counts.rows >= 9);
        CHECK(counts.forgotten == 3);
        CHECK(counts.open == std::vector{ip("10.1.0.2")});
        CHECK(Translating::count("10.1.0.3", "TIME_WAIT") == 5);
    }
    SECTION("cut short: what was read is done, and the rest in further looks") {
        size_t forgotten = 0;
        ConntrackCounts counts = must(forget_ended(sources, {.rows = 2}));
        CHECK(counts.cut);
        CHECK(counts.rows == 2);
        forgotten += counts.forgotten;
        CHECK(forgotten >= 1);
        for (int i = 0; i < 3; ++i) forgotten += must(forget_ended(sources, {.rows = 2})).forgotten;
        CHECK(forgotten == 3);
        counts = must(forget_ended(sources, {.rows = 2}));
        CHECK(counts.open == std::vector{ip("10.1.0.2")});
        CHECK_FALSE(counts.cut);
    }
}

TEST_CASE("conntrack: a direct connection keeps the source port of one that has ended, once that is forgotten") {
    require_root();
    Translating lab;
    const uint16_t before = lab.end_one("10.1.0.2"), after = lab.end_one("10.1.0.2");
    CHECK(lab.seen_directly("10.1.0.2", before) != before);  // what is to be mended
    const std::vector<base::IpAddr> sources = {ip("10.1.0.2")};
    CHECK(must(forget_ended(sources)).forgotten >= 1);
    CHECK(lab.seen_directly("10.1.0.2", after) == after);
}

TEST_CASE("conntrack: a captured pod's connections are forgotten as they end, and then it is looked at no more") {
    require_root();
    Translating lab;
    auto [near, far] = lab.connect("10.1.0.2");
    lab.end_one("10.1.0.2");
    ConntrackSweeper sweeper;  // its thread begins in the namespace of this one
    sweeper.captured({ip("10.1.0.2")});
    const auto until = [](auto&& condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
        return condition();
    };
    CHECK(until([&] { return sweeper.status().forgotten == 1; }));
    CHECK(sweeper.status().watched == 1);
    near.reset(), far.reset();
    CHECK(until([&] { return sweeper.status().watched == 0; }));
    CHECK(sweeper.status().forgotten == 2);
    CHECK(sweeper.status().failures == 0);
    // The same pod again, changed: nothing new to look for.
    const uint64_t looks = sweeper.status().looks;
    sweeper.captured({ip("10.1.0.2")});
    CHECK(sweeper.status().watched == 0);
    sweeper.left({ip("10.1.0.2")});
    sweeper.captured({ip("10.1.0.2")});
    CHECK(sweeper.status().watched == 1);
    CHECK(until([&] { return sweeper.status().looks > looks; }));
}

TEST_CASE("conntrack: where it may not be asked that is said, and nobody is watched") {
    require_root();
    std::unique_ptr<ConntrackSweeper> sweeper;
    // A thread without CAP_NET_ADMIN, and so the one that it makes.
    std::thread([&sweeper] {
        __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
        REQUIRE(::syscall(SYS_capget, &head, sets.data()) == 0);
        sets[0].effective &= ~(1u << CAP_NET_ADMIN);
        sets[0].permitted &= ~(1u << CAP_NET_ADMIN);
        REQUIRE(::syscall(SYS_capset, &head, sets.data()) == 0);
        sweeper = std::make_unique<ConntrackSweeper>();
    }).join();
    sweeper->captured({ip("10.1.0.2")});
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!sweeper->status().unavailable && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    const ConntrackSweeper::Status status = sweeper->status();
    CHECK(status.unavailable);
    CHECK(status.failures == 1);
    CHECK_FALSE(status.error.empty());
    sweeper->captured({ip("10.1.0.3")});
    CHECK(sweeper->status().watched == 0);
}

TEST_CASE("conntrack: a sweeper whose looks are cut short keeps looking") {
    require_root();
    Translating lab;
    for (int i = 0; i < 3; ++i) lab.end_one("10.1.0.2");
    ConntrackSweeper sweeper({.rows = 1});
    sweeper.captured({ip("10.1.0.2")});
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (sweeper.status().watched != 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    const ConntrackSweeper::Status status = sweeper.status();
    CHECK(status.watched == 0);
    CHECK(status.forgotten == 3);
    CHECK(status.cut == 2);
    CHECK(status.rows == 3);
    CHECK_FALSE(status.unavailable);
}
