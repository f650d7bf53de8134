// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/flow_feed.h"

#include "base/metrics.h"
#include "proto/flow.pb.h"
#include "tests/ztunnel/observe_fixture.h"
#include "tests/ztunnel/temp_dir.h"
#include "ztunnel/traffic_recorder.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <vector>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;
namespace pb = warren::flow::v1;

namespace {

constexpr int kPatienceMs = 5'000;

// The node agent's end.
struct Agent {
    std::string path;
    base::Fd listener, peer;
    explicit Agent(std::string at) : path(std::move(at)) {
        listener = base::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        REQUIRE(path.size() < sizeof address.sun_path);
        std::memcpy(address.sun_path, path.data(), path.size());
        ::unlink(path.c_str());
        REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(listener.get(), 4) == 0);
    }
    [[nodiscard]] static bool readable(int fd, int ms) {
        pollfd one{fd, POLLIN, 0};
        return ::poll(&one, 1, ms) > 0;
    }
    void accept() {
        REQUIRE(readable(listener.get(), kPatienceMs));
        peer = base::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(peer.valid());
    }
    pb::FlowBatch receive() {
        REQUIRE(readable(peer.get(), kPatienceMs));
        std::vector<char> bytes(kFlowMessageBytes + 1);
        const ssize_t n = ::recv(peer.get(), bytes.data(), bytes.size(), 0);
        REQUIRE(n > 0);
        REQUIRE(n <= static_cast<ssize_t>(kFlowMessageBytes));
        pb::FlowBatch batch;
        REQUIRE(batch.ParseFromArray(bytes.data(), static_cast<int>(n)));
        return batch;
    }
    std::vector<pb::Flow> flows(size_t count) {
        std::vector<pb::Flow> out;
        while (out.size() < count) {
            const pb::FlowBatch batch = receive();
            out.insert(out.end(), batch.flows().begin(), batch.flows().end());
        }
        return out;
    }
};

struct Lab {
    LogCapture log;  // a line for each flow would hide the verdicts
    TempDir dir;
    base::metrics::Registry registry;
    std::unique_ptr<TrafficRecorder> traffic = make_traffic(registry).value();
    std::unique_ptr<FlowFeed> feed;
    std::string path = dir.file("flows.sock");

    void start(FlowFeed::Options options = {}) {
        options.path = path;
        options.node = "node-1";
        options.first_wait = std::chrono::milliseconds(1);
        options.longest_wait = std::chrono::milliseconds(20);
        feed = FlowFeed::start(options, *traffic).value();
        traffic->send_flows_to(feed.get());
    }
    std::unique_ptr<TrafficRecord> open(uint16_t port = 1000) const {
        TrafficFacts f;
        f.direction = Direction::Outbound;
        f.kind = TunnelKind::Hbone;
        f.src = base::SockAddr::parse("10.0.0.1:" + std::to_string(port)).value();
        f.dst = base::SockAddr::parse("10.0.0.2:15008").value();
        f.original_dst = base::SockAddr::parse("10.9.9.9:80").value();
        f.hbone_addr = "10.0.0.2:8080";
        f.src_identity = "spiffe://cluster.local/ns/a/sa/b";
        f.mutual_tls = true;
        return traffic->open(std::move(f));
    }
    template <class Done>
    void eventually(const Done& done) const {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
        while (!done()) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            ::poll(nullptr, 0, 1);
        }
    }
};

std::string ip_of(const pb::SocketAddress& address) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(address.address().data());
    return base::SockAddr{base::IpAddr::from_bytes({bytes, address.address().size()}).value(), static_cast<uint16_t>(address.port())}
        .to_string();
}

}  // namespace

TEST_CASE("flow feed: a connection is told when it starts and when it ends, with the totals of its record") {
    Lab lab;
    Agent agent(lab.path);
    lab.start();
    agent.accept();
    auto sockets = base::make_socket_pair(SOCK_STREAM).value();
    auto record = lab.open();
    record->started(sockets.first.get());
    const auto opened = agent.flows(1).at(0);
    CHECK(opened.node() == "node-1");
    CHECK(opened.cookie() == socket_cookie(sockets.first.get()));
    CHECK(opened.cookie() != 0);
    CHECK(opened.direction() == pb::DIRECTION_OUTBOUND);
    CHECK(opened.path() == pb::PATH_TUNNEL);
    CHECK(ip_of(opened.source_address()) == "10.0.0.1:1000");
    CHECK(ip_of(opened.requested_address()) == "10.9.9.9:80");
    CHECK(ip_of(opened.destination_address()) == "10.0.0.2:8080");
    CHECK(opened.source().identity() == "spiffe://cluster.local/ns/a/sa/b");
    CHECK(opened.decision().verdict() == pb::VERDICT_NOT_JUDGED);
    CHECK(opened.decision().reason() == "ok");
    CHECK_FALSE(opened.has_end_time());
    record->add(10, 20);
    record->close(ResponseFlag::None, "");
    const auto closed = agent.flows(1).at(0);
    CHECK(closed.cookie() == opened.cookie());
    CHECK(closed.start_time().nanos() == opened.start_time().nanos());
    CHECK(closed.has_end_time());
    CHECK(closed.close_reason() == pb::CLOSE_REASON_FINISHED);
    CHECK(closed.bytes_to_destination() == 10);
    CHECK(closed.bytes_to_source() == 20);
    lab.eventually([&] { return lab.feed->stats().sent == 2; });
}

TEST_CASE("flow feed: an open connection that carries bytes is told again, one that is silent is not") {
    Lab lab;
    Agent agent(lab.path);
    FlowFeed::Options options;
    options.progress = std::chrono::milliseconds(20);
    lab.start(options);
    agent.accept();
    auto sockets = base::make_socket_pair(SOCK_STREAM).value();
    auto talks = lab.open(1), falls_silent = lab.open(2);
    talks->started(sockets.first.get());
    falls_silent->started(sockets.second.get());
    CHECK(agent.flows(2).size() == 2);
    falls_silent->add(4, 5);
    const auto once = agent.flows(1).at(0);
    CHECK(once.cookie() == socket_cookie(sockets.second.get()));
    CHECK(once.bytes_to_destination() == 4);
    CHECK(once.bytes_to_source() == 5);
    CHECK_FALSE(once.has_end_time());
    for (uint64_t total = 1; total <= 3; ++total) {
        talks->add(1, 0);
        const auto again = agent.flows(1).at(0);
        CHECK(again.cookie() == socket_cookie(sockets.first.get()));
        CHECK(again.bytes_to_destination() == total);
    }
    falls_silent->close(ResponseFlag::None, "");
    const auto end = agent.flows(1).at(0);
    CHECK(end.has_end_time());
    CHECK(end.bytes_to_destination() == 4);
    talks->close(ResponseFlag::None, "");
}

TEST_CASE("flow feed: what a policy decided, and why a connection ended") {
    struct Case {
        bool allowed, started;
        ResponseFlag flag;
        const char* error;
        EndedBy by;
        pb::CloseReason want;
    };
    const Case cases[] = {
        {false, false, ResponseFlag::Deny, "denied", EndedBy::Unknown, pb::CLOSE_REASON_POLICY_DENIED},
        {false, true, ResponseFlag::Deny, "policy changed", EndedBy::Unknown, pb::CLOSE_REASON_POLICY_CHANGED},
        {true, true, ResponseFlag::Connect, "reset", EndedBy::Source, pb::CLOSE_REASON_RESET_BY_SOURCE},
        {true, true, ResponseFlag::Connect, "reset", EndedBy::Destination, pb::CLOSE_REASON_RESET_BY_DESTINATION},
        {true, true, ResponseFlag::Connect, "idle", EndedBy::Timeout, pb::CLOSE_REASON_TIMEOUT},
        {true, true, ResponseFlag::Connect, "refused", EndedBy::Unknown, pb::CLOSE_REASON_CONNECT_FAILED},
        {true, true, ResponseFlag::IdentityError, "certificate", EndedBy::Unknown, pb::CLOSE_REASON_TLS_FAILED},
        {true, true, ResponseFlag::CertRevoked, "revoked", EndedBy::Unknown, pb::CLOSE_REASON_CERTIFICATE_REVOKED},
        {true, true, ResponseFlag::None, "drained", EndedBy::Unknown, pb::CLOSE_REASON_DRAINED},
        {true, true, ResponseFlag::None, "proxy stopped", EndedBy::Unknown, pb::CLOSE_REASON_WORKLOAD_GONE},
    };
    Lab lab;
    Agent agent(lab.path);
    lab.start();
    agent.accept();
    for (const Case& c : cases) {
        auto record = lab.open();
        policy::Decision decision;
        decision.allowed = c.allowed;
        decision.reason = c.allowed ? policy::Reason::AllowedNoAllowPolicy : policy::Reason::DeniedNoAllowMatched;
        decision.dry_run = policy::DryRun::WouldDenyNoMatch;
        record->judged(decision);
        if (c.started) record->started(-1);
        record->close(c.flag, c.error, nullptr, c.by);
        const pb::Flow last = agent.flows(c.started ? 2 : 1).back();
        INFO(c.error);
        CHECK(last.close_reason() == c.want);
        CHECK(last.close_detail() == c.error);
        CHECK(last.decision().verdict() == (c.allowed ? pb::VERDICT_ALLOWED : pb::VERDICT_DENIED));
        CHECK(last.decision().reason() == std::string(policy::to_string(decision.reason)));
        CHECK(last.dry_run().verdict() == pb::VERDICT_DENIED);
        CHECK_FALSE(last.decision().has_rule_index());
    }
    lab.traffic->early_deny(Direction::Inbound, {}, {}, "handshake_failed", "no certificate");
    const auto early = agent.flows(1).at(0);
    CHECK(early.close_reason() == pb::CLOSE_REASON_TLS_FAILED);
    CHECK(early.decision().reason() == "handshake_failed");
    // Each connection has a number of its own, those without a socket too.
    lab.traffic->early_deny(Direction::Inbound, {}, {}, "handshake_failed", "no certificate");
    CHECK(early.cookie() >> 62 == 1);
    CHECK(agent.flows(1).at(0).cookie() != early.cookie());
}

TEST_CASE("flow feed: an attempt that another record goes on with is no flow of its own") {
    Lab lab;
    Agent agent(lab.path);
    lab.start();
    agent.accept();
    // Once one has come, the session is past its beginning, where what is open is told as a whole.
    lab.open()->close(ResponseFlag::None, "");
    (void)agent.flows(1);
    auto sockets = base::make_socket_pair(SOCK_STREAM).value();
    auto first = lab.open(1), second = lab.open(2);
    first->started(sockets.first.get());
    first->handed_on();
    first->close(ResponseFlag::Connect, "no answer; trying another endpoint");
    second->started(sockets.first.get());
    second->close(ResponseFlag::None, "");
    const auto flows = agent.flows(3);
    CHECK_FALSE(flows.at(0).has_end_time());
    CHECK_FALSE(flows.at(1).has_end_time());
    CHECK(flows.at(2).has_end_time());
    CHECK(flows.at(2).source_address().port() == 2);
    CHECK(flows.at(2).cookie() == flows.at(0).cookie());
}

TEST_CASE("flow feed: an agent that comes back is told what is open and what ended meanwhile") {
    Lab lab;
    auto agent = std::make_unique<Agent>(lab.path);
    lab.start();
    agent->accept();
    std::vector<std::unique_ptr<TrafficRecord>> open;
    for (uint16_t i = 0; i < 300; ++i) {
        open.push_back(lab.open(static_cast<uint16_t>(1000 + i)));
        open.back()->started(-1);
    }
    CHECK(agent->flows(300).size() == 300);
    agent.reset();
    lab.eventually([&] { return !lab.feed->stats().connected; });
    open[0]->close(ResponseFlag::None, "");
    open[1]->add(7, 0);
    agent = std::make_unique<Agent>(lab.path);
    agent->accept();
    const auto first = agent->receive();
    CHECK(first.sequence() == 1);
    std::vector<pb::Flow> all(first.flows().begin(), first.flows().end());
    for (const pb::Flow& flow : agent->flows(300 - all.size())) all.push_back(flow);
    size_t ended = 0;
    for (const pb::Flow& flow : all) {
        if (flow.has_end_time()) {
            ++ended;
            CHECK(flow.source_address().port() == 1000);
        }
        if (flow.source_address().port() == 1001) CHECK(flow.bytes_to_destination() == 7);
    }
    CHECK(ended == 1);
    CHECK(all.size() == 300);
    CHECK(lab.feed->stats().lost == 0);
}

TEST_CASE("flow feed: ends that a reader left in its socket's way are told to the next") {
    constexpr size_t kEnds = 4000;  // far more than a socket holds, no more than a queue
    Lab lab;
    auto agent = std::make_unique<Agent>(lab.path);
    lab.start();
    agent->accept();
    for (size_t i = 0; i < kEnds; ++i) lab.open()->close(ResponseFlag::None, "");
    lab.eventually([&] { return lab.feed->stats().sent > 0; });
    agent.reset();
    lab.eventually([&] { return !lab.feed->stats().connected; });
    const size_t before = lab.feed->stats().sent;
    CHECK(before < kEnds);
    agent = std::make_unique<Agent>(lab.path);
    agent->accept();
    CHECK(agent->flows(kEnds - before).size() == kEnds - before);
    lab.eventually([&] { return lab.feed->stats().sent == kEnds; });
    CHECK(lab.feed->stats().lost == 0);
}

TEST_CASE("flow feed: an agent that does not read loses flows, and is told how many") {
    Lab lab;
    Agent agent(lab.path);
    FlowFeed::Options small;
    small.queue = 64;
    lab.start(small);
    agent.accept();
    size_t offered = 0;
    lab.eventually([&] {
        for (int i = 0; i < 200; ++i, ++offered) lab.open()->close(ResponseFlag::None, "");
        return lab.feed->stats().lost > 0;
    });
    size_t got = 0;
    uint64_t lost = 0, sequence = 0;
    while (got + lost < offered) {
        const auto batch = agent.receive();
        CHECK(batch.sequence() == ++sequence);
        got += static_cast<size_t>(batch.flows_size());
        lost = batch.lost();
    }
    CHECK(got + lost == offered);
    CHECK(lab.feed->stats().lost == lost);
}

TEST_CASE("flow feed: the last flows of a process are sent before it ends") {
    Lab lab;
    Agent agent(lab.path);
    lab.start();
    agent.accept();
    for (int i = 0; i < 50; ++i) lab.open()->close(ResponseFlag::None, "");
    lab.traffic->send_flows_to(nullptr);
    lab.feed.reset();
    CHECK(agent.flows(50).size() == 50);
}

TEST_CASE("flow feed: a reader that runs as somebody else gets nothing") {
    if (::geteuid() != 0) return;
    Lab lab;
    REQUIRE(::chmod(lab.dir.path().c_str(), 0777) == 0);
    REQUIRE(::seteuid(65534) == 0);
    Agent agent(lab.path);
    REQUIRE(::seteuid(0) == 0);
    lab.start();
    REQUIRE(Agent::readable(agent.listener.get(), kPatienceMs));
    lab.open()->close(ResponseFlag::None, "");
    agent.accept();
    char byte = 0;
    REQUIRE(Agent::readable(agent.peer.get(), kPatienceMs));
    CHECK(::recv(agent.peer.get(), &byte, 1, 0) == 0);
    CHECK(lab.feed->stats().sessions == 0);
}
