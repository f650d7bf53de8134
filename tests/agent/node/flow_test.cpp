// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_collector.h"
#include "agent/node/flow_event.h"
#include "agent/node/flow_filter.h"
#include "agent/node/flow_json.h"
#include "agent/node/flow_log.h"
#include "agent/node/flow_names.h"
#include "tests/catch.h"

#include <nlohmann/json.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::node;
namespace v1 = flow::v1;

namespace {

wr_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) { return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}}; }

FlowDirectory directory() {
    FlowDirectory names;
    names.node = "n1";
    names.trust_domain = "cluster.local";
    names.pods[7] = std::make_shared<FlowPod>(FlowPod{"uid-7", "shop", "front-1", "front", {}});
    names.pods[8] = std::make_shared<FlowPod>(FlowPod{"uid-8", "shop", "cart-1", "cart", {}});
    names.policies =
        std::make_shared<std::unordered_map<uint32_t, std::string>>(std::unordered_map<uint32_t, std::string>{{3, "shop/cart-callers"}});
    return names;
}

wr_flow_event direct(uint8_t kind, uint64_t cookie = 42) {
    wr_flow_event e{};
    e.kind = kind;
    e.cookie = cookie;
    e.time_ns = 2'000'000'000;
    e.start_ns = 1'000'000'000;
    e.source = v4(10, 0, 0, 7);
    e.asked = v4(10, 96, 0, 1);
    e.chosen = v4(10, 0, 0, 8);
    e.source_port = 40000;
    e.asked_port = 80;
    e.chosen_port = 8080;
    e.source_id = 7;
    e.destination_id = 8;
    e.policy = 3;
    e.rule = 2;
    e.path = WR_PATH_DIRECT;
    e.verdict = WR_VERDICT_ALLOW;
    e.reason = static_cast<uint8_t>(policy::Reason::AllowedByPolicy);
    e.direction = WR_DIRECTION_OUTBOUND;
    e.connect_us = 55;
    e.srtt_us = 30;
    e.last_state = 4;  // FIN_WAIT1
    return e;
}

v1::Flow flow_of(uint8_t kind, uint64_t cookie = 42) { return to_flow(direct(kind, cookie), directory(), 0).value(); }

v1::Flow with_bytes(v1::Flow flow, uint64_t to, uint64_t from) {
    flow.set_bytes_to_destination(to);
    flow.set_bytes_to_source(from);
    return flow;
}

struct Folder {
    Folder() {
        char name[] = "/tmp/warren-flow-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
};

template <class Condition>
bool until(Condition met) {
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (!met() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(5ms);
    return met();
}

}  // namespace

TEST_CASE("flow event: a direct connection tells who, over what, and which rule let it") {
    const v1::Flow flow = flow_of(WR_EVENT_CLOSE);
    const auto json = nlohmann::json::parse(flow_json(flow));
    CHECK(json["path"] == "direct");
    CHECK(json["source"]["identity"] == "spiffe://cluster.local/ns/shop/sa/front");
    CHECK(json["source"]["proof"] == "kernel");
    CHECK(json["destination"]["name"] == "cart-1");
    CHECK(json["requested_address"] == "10.96.0.1:80");
    CHECK(json["destination_address"] == "10.0.0.8:8080");
    CHECK(json["decision"]["verdict"] == "allowed");
    CHECK(json["decision"]["policy"] == "shop/cart-callers");
    CHECK(json["decision"]["rule_index"] == 1);
    CHECK(json["start_time"] == "1970-01-01T00:00:01Z");
    CHECK(json["close_reason"] == "finished");
    CHECK(json["connect_latency_us"] == 55);
}

TEST_CASE("flow event: what a plaintext path proves is an address, never mutual TLS (trap 22)") {
    wr_flow_event event = direct(WR_EVENT_OPEN);
    event.path = WR_PATH_PASSTHROUGH;
    event.verdict = WR_VERDICT_NONE;
    event.destination_id = 0;
    const auto flow = to_flow(event, directory(), 0);
    REQUIRE(flow);
    CHECK(flow->path() == v1::PATH_PASSTHROUGH);
    CHECK(flow->destination().identity().empty());
    CHECK(flow->destination().proof() == v1::IDENTITY_PROOF_UNSPECIFIED);
    CHECK(flow->decision().verdict() == v1::VERDICT_NOT_JUDGED);
    CHECK(flow_json(*flow).find("certificate") == std::string::npos);
}

TEST_CASE("flow event: the tunnel's connections are the tunnel's to report, but for those that never got there") {
    wr_flow_event event = direct(WR_EVENT_CLOSE);
    event.path = WR_PATH_TUNNEL;
    CHECK_FALSE(to_flow(event, directory(), 0));
    event.connect_us = 0;
    event.error = ECONNREFUSED;
    event.last_state = 2;  // SYN_SENT
    const auto flow = to_flow(event, directory(), 0);
    REQUIRE(flow);
    CHECK(flow->close_reason() == v1::CLOSE_REASON_CONNECT_FAILED);
    CHECK(flow->path() == v1::PATH_TUNNEL);
}

TEST_CASE("flow event: how it ended") {
    struct Row {
        int error;
        uint8_t last_state;
        uint32_t connect_us;
        v1::CloseReason reason;
    };
    const Row row =
        GENERATE(Row{0, 4, 9, v1::CLOSE_REASON_FINISHED}, Row{0, 1, 9, v1::CLOSE_REASON_RESET_BY_SOURCE},
                 Row{ECONNRESET, 1, 9, v1::CLOSE_REASON_RESET_BY_DESTINATION}, Row{ECONNRESET, 2, 0, v1::CLOSE_REASON_CONNECT_FAILED},
                 Row{ETIMEDOUT, 1, 9, v1::CLOSE_REASON_TIMEOUT}, Row{ETIMEDOUT, 2, 0, v1::CLOSE_REASON_CONNECT_FAILED},
                 Row{EHOSTUNREACH, 2, 0, v1::CLOSE_REASON_CONNECT_FAILED}, Row{ECONNABORTED, 1, 9, v1::CLOSE_REASON_POLICY_CHANGED},
                 Row{EHOSTUNREACH, 1, 9, v1::CLOSE_REASON_TIMEOUT}, Row{ENETUNREACH, 1, 9, v1::CLOSE_REASON_TIMEOUT},
                 Row{ENETDOWN, 4, 9, v1::CLOSE_REASON_TIMEOUT}, Row{ECONNREFUSED, 1, 9, v1::CLOSE_REASON_RESET_BY_DESTINATION},
                 Row{ENOPROTOOPT, 1, 9, v1::CLOSE_REASON_ERROR}, Row{ENOPROTOOPT, 2, 0, v1::CLOSE_REASON_CONNECT_FAILED},
                 Row{0, 2, 0, v1::CLOSE_REASON_CONNECT_FAILED});
    wr_flow_event event = direct(WR_EVENT_CLOSE);
    event.error = row.error;
    event.last_state = row.last_state;
    event.connect_us = row.connect_us;
    CHECK(to_flow(event, directory(), 0)->close_reason() == row.reason);
}

TEST_CASE("flow table: bytes are told once, whatever order and repetition records come in") {
    FlowTable table({10, 10});
    CHECK(table.apply(flow_of(WR_EVENT_OPEN), FlowTable::kKernel).opened);
    const auto first = table.apply(with_bytes(flow_of(WR_EVENT_SAMPLE), 100, 7), FlowTable::kKernel);
    CHECK(first.to_destination == 100);
    CHECK_FALSE(first.opened);
    CHECK_FALSE(table.apply(with_bytes(flow_of(WR_EVENT_SAMPLE), 100, 7), FlowTable::kKernel).news);
    CHECK(table.apply(with_bytes(flow_of(WR_EVENT_SAMPLE), 90, 7), FlowTable::kKernel).to_destination == 0);
    const auto last = table.apply(with_bytes(flow_of(WR_EVENT_CLOSE), 5'368'709'120, 7), FlowTable::kKernel);  // beyond 32 bits (trap 21)
    CHECK(last.closed);
    CHECK(last.to_destination == 5'368'709'120 - 100);
    // Overtaken by its own end.
    CHECK_FALSE(table.apply(flow_of(WR_EVENT_OPEN), FlowTable::kKernel).news);
    CHECK(table.open_count() == 0);
    CHECK(table.stats().opened == 1);
    CHECK(table.stats().closed == 1);
}

TEST_CASE("flow table: a socket that was refused and connects again is a new connection, though its cookie is the old one") {
    FlowTable table({});
    const FlowDirectory names = directory();
    const auto apply = [&](uint8_t kind, uint64_t start_ns, uint64_t time_ns) {
        wr_flow_event e = direct(kind);
        e.start_ns = start_ns;
        e.time_ns = time_ns;
        return table.apply(*to_flow(e, names, 0), FlowTable::kKernel);
    };
    CHECK(apply(WR_EVENT_DENIED, 1'000, 2'000).closed);
    CHECK(apply(WR_EVENT_DENIED, 3'000, 4'000).closed);
    CHECK(apply(WR_EVENT_OPEN, 5'000, 6'000).opened);
    CHECK(apply(WR_EVENT_CLOSE, 5'000, 7'000).closed);
    CHECK_FALSE(apply(WR_EVENT_SAMPLE, 5'000, 6'500).news);
    CHECK(table.stats().opened == 3);
    CHECK(table.stats().closed == 3);
}

TEST_CASE("flow table: tracking entries whose end was lost are reconciled by what the kernel has (trap 24)") {
    FlowTable table({10, 10});
    (void)table.apply(flow_of(WR_EVENT_OPEN, 1), FlowTable::kKernel, 71);
    (void)table.apply(flow_of(WR_EVENT_OPEN, 2), FlowTable::kKernel, 71);
    (void)table.apply(flow_of(WR_EVENT_OPEN, 3), 9);                      // a tunnel's: no sweep of the kernel's sockets finds it
    CHECK(table.sweep({{71}, {1}, 500'000'000}, 5'000'000'000).empty());  // begun after the look began
    const auto ended = table.sweep({{71}, {1}, 3'000'000'000}, 5'000'000'000);
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].cookie() == 2);
    CHECK(ended[0].end_time().seconds() == 5);
    CHECK(table.stats().reconciled == 1);
    CHECK(table.reap(9, 6'000'000'000).size() == 1);
    CHECK(table.open_count() == 1);
}

TEST_CASE("flow table: a sweep says nothing of namespaces that it has not looked at") {
    FlowTable table({10, 10});
    (void)table.apply(flow_of(WR_EVENT_OPEN, 1), FlowTable::kKernel, 71);
    (void)table.apply(flow_of(WR_EVENT_OPEN, 2), FlowTable::kKernel, 72);  // of a pod that was captured a moment ago
    constexpr int64_t kBegun = 3'000'000'000, kNow = 5'000'000'000;
    CHECK(table.sweep({{71}, {1}, kBegun}, kNow).empty());
    CHECK(table.sweep({{71, 72}, {1, 2}, kBegun}, kNow).empty());
    // Its pod has left: nobody looks there any more.
    const auto ended = table.sweep({{71}, {1}, kBegun}, kNow);
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].cookie() == 2);
    // Never looked at, whyever: not for ever.
    (void)table.apply(flow_of(WR_EVENT_OPEN, 3), FlowTable::kKernel, 73);
    for (uint64_t i = 0; i < FlowTable::kUnseenLooks; ++i) CHECK(table.sweep({{71}, {1}, kBegun}, kNow).empty());
    CHECK(table.sweep({{71}, {1}, kBegun}, kNow).size() == 1);
    CHECK(table.open_count() == 1);
}

TEST_CASE("flow table: read in pieces, while flows come and go") {
    FlowTable table({100, 4});
    const auto cookies = [](const FlowTable::Piece& piece) {
        std::vector<uint64_t> all;
        for (const FlowTable::Bytes& bytes : piece.flows) {
            v1::Flow flow;
            REQUIRE(flow.ParseFromString(*bytes));
            all.push_back(flow.cookie());
        }
        return all;
    };
    using Cookies = std::vector<uint64_t>;
    for (uint64_t cookie = 1; cookie <= 5; ++cookie) (void)table.apply(flow_of(WR_EVENT_OPEN, cookie), FlowTable::kKernel);
    const auto first = table.open_from(0, 2);
    CHECK(cookies(first) == Cookies{1, 2});
    (void)table.apply(flow_of(WR_EVENT_CLOSE, 3), FlowTable::kKernel);  // where the next piece would have begun
    const auto rest = table.open_from(first.next.value(), 2);
    CHECK(cookies(rest) == Cookies{4, 5});
    CHECK_FALSE(rest.next);
    for (uint64_t cookie = 4; cookie <= 5; ++cookie) (void)table.apply(flow_of(WR_EVENT_CLOSE, cookie), FlowTable::kKernel);
    const auto latest = table.recent_from(FlowTable::kLatest, 2);
    CHECK(cookies(latest) == Cookies{5, 4});
    (void)table.apply(flow_of(WR_EVENT_DENIED, 6), FlowTable::kKernel);
    CHECK(cookies(table.recent_from(latest.next.value(), 2)) == Cookies{3});
    for (uint64_t cookie = 7; cookie <= 8; ++cookie) (void)table.apply(flow_of(WR_EVENT_DENIED, cookie), FlowTable::kKernel);
    CHECK(table.recent_from(latest.next.value(), 2).flows.empty());  // forgotten meanwhile
}

TEST_CASE("flow collector: who reads the history with a filter of its own holds up nobody") {
    FlowHub hub;
    base::metrics::Registry registry;
    FlowCollectorOptions options;
    options.sample_period = 20ms;
    options.sample = [](const FlowCollectorOptions::Each& each) -> base::Result<std::unordered_set<uint64_t>> {
        for (uint64_t cookie = 1; cookie <= 2000; ++cookie) each(direct(WR_EVENT_SAMPLE, cookie));
        return std::unordered_set<uint64_t>{0};
    };
    auto collector = FlowCollector::start(std::move(options), hub, registry).value();
    REQUIRE(until([&] { return collector->stats().open == 2000; }));
    std::future<FlowCollectorStats> meanwhile;
    bool answered = false;
    const auto none = [&](const v1::Flow& flow) {
        if (flow.cookie() == 700) {
            meanwhile = std::async(std::launch::async, [&] { return collector->stats(); });
            answered = meanwhile.wait_for(20s) == std::future_status::ready;
        }
        return flow.cookie() == 1999;
    };
    const auto found = collector->history(none, 10);
    CHECK(answered);
    REQUIRE(found.size() == 1);
    CHECK(found[0]->cookie() == 1999);
}

TEST_CASE("flow table: an idle connection stays in the snapshot, and both sides are bounded (trap 23)") {
    FlowTable table({2, 2});
    for (uint64_t cookie = 1; cookie <= 3; ++cookie) (void)table.apply(flow_of(WR_EVENT_OPEN, cookie), FlowTable::kKernel);
    CHECK(table.open_count() == 2);
    CHECK(table.stats().untracked == 1);
    CHECK(table.apply(flow_of(WR_EVENT_CLOSE, 3), FlowTable::kKernel).closed);
    for (uint64_t cookie = 1; cookie <= 2; ++cookie) (void)table.apply(flow_of(WR_EVENT_CLOSE, cookie), FlowTable::kKernel);
    CHECK(table.stats().opened == 3);
    const auto recent = table.recent_from(FlowTable::kLatest, 10).flows;
    REQUIRE(recent.size() == 2);
    CHECK(*recent[0] == flow_of(WR_EVENT_CLOSE, 2).SerializeAsString());
}

TEST_CASE("flow filter: all fields of a filter, any of the filters") {
    v1::StreamFlowsRequest request;
    const v1::Flow flow = flow_of(WR_EVENT_OPEN);
    CHECK(accepts(request.filters(), flow));
    v1::FlowFilter& f = *request.add_filters();
    f.add_namespaces("shop");
    f.add_workloads("shop/cart-1");
    f.add_destination_ports(80);
    CHECK(accepts(request.filters(), flow));
    f.add_verdicts(v1::VERDICT_DENIED);
    CHECK_FALSE(accepts(request.filters(), flow));
    request.add_filters()->add_paths(v1::PATH_DIRECT);
    CHECK(accepts(request.filters(), flow));
}

TEST_CASE("flow hub: a listener that does not keep up loses its own flows and knows how many") {
    FlowHub hub;
    const auto slow = hub.listen({}, 2);
    const auto picky = hub.listen([](const v1::Flow& flow) { return flow.cookie() == 3; }, 2);
    for (uint64_t cookie = 1; cookie <= 4; ++cookie) hub.publish(std::make_shared<v1::Flow>(flow_of(WR_EVENT_OPEN, cookie)));
    auto batch = slow->next(10, 0ms);
    CHECK(batch.flows.size() == 2);
    CHECK(batch.lost == 2);
    CHECK(hub.lost() == 2);
    batch = picky->next(10, 0ms);
    REQUIRE(batch.flows.size() == 1);
    CHECK(batch.flows[0]->cookie() == 3);
    CHECK(batch.lost == 0);
    hub.close();
    CHECK(slow->next(10, 5s).ended);
}

TEST_CASE("flow log: one line a flow, and a file that was moved away is made anew") {
    Folder folder;
    FlowHub hub;
    const std::string path = folder.path + "/flows.json";
    auto log = FlowLog::start(path, hub).value();
    const auto lines_of = [](const std::string& file) {
        std::ifstream in(file);
        std::vector<std::string> lines;
        for (std::string line; std::getline(in, line);) lines.push_back(line);
        return lines;
    };
    hub.publish(std::make_shared<v1::Flow>(flow_of(WR_EVENT_OPEN, 1)));
    REQUIRE(until([&] { return log->stats().lines == 1; }));
    std::filesystem::rename(path, path + ".1");
    hub.publish(std::make_shared<v1::Flow>(flow_of(WR_EVENT_CLOSE, 1)));
    REQUIRE(until([&] { return log->stats().lines == 2; }));
    REQUIRE(lines_of(path).size() == 1);
    CHECK(nlohmann::json::parse(lines_of(path)[0])["close_reason"] == "finished");
    CHECK(lines_of(path + ".1").size() == 1);
    hub.close();
}

TEST_CASE("flow log: a full disk costs lines, counted, and half a line never stays") {
    FlowHub hub;
    auto log = FlowLog::start("/dev/full", hub).value();
    hub.publish(std::make_shared<v1::Flow>(flow_of(WR_EVENT_OPEN, 1)));
    CHECK(until([&] { return log->stats().failed == 1; }));
    CHECK(log->stats().lines == 0);
    hub.close();
}

TEST_CASE("flow collector: a tunnel's feed and the kernel's samples become metrics and history, each connection once") {
    Folder folder;
    FlowHub hub;
    base::metrics::Registry registry;
    FlowCollectorOptions options;
    options.feed_path = folder.path + "/feed.sock";
    options.sample_period = 20ms;
    options.tunnel_grace = 20ms;
    std::atomic<bool> alive = true;
    options.sample = [&alive](const FlowCollectorOptions::Each& each) -> base::Result<std::unordered_set<uint64_t>> {
        wr_flow_event event = direct(WR_EVENT_SAMPLE);
        event.bytes_to_destination = 1000;
        if (alive) each(event);
        return std::unordered_set<uint64_t>{event.netns};
    };
    auto collector = FlowCollector::start(std::move(options), hub, registry).value();
    collector->publish(std::make_shared<FlowDirectory>(directory()));
    REQUIRE(until([&] { return collector->history({}, 10).size() == 1 && collector->stats().samples > 2; }));

    base::Fd tunnel(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (folder.path + "/feed.sock").c_str(), sizeof address.sun_path - 1);
    REQUIRE(::connect(tunnel.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    v1::FlowBatch batch;
    batch.set_sequence(1);
    *batch.add_flows() = with_bytes(flow_of(WR_EVENT_OPEN, 99), 5, 6);
    batch.mutable_flows(0)->set_path(v1::PATH_TUNNEL);
    // Of a newer release: what this one does not know is passed over.
    batch.GetReflection()->MutableUnknownFields(&batch)->AddVarint(99, 1);
    batch.flows(0).GetReflection()->MutableUnknownFields(batch.mutable_flows(0))->AddVarint(99, 1);
    const std::string bytes = batch.SerializeAsString();
    REQUIRE(::send(tunnel.get(), bytes.data(), bytes.size(), 0) > 0);
    REQUIRE(::send(tunnel.get(), "\xff\xff\xff", 3, 0) == 3);
    REQUIRE(until([&] { return collector->stats().feed.malformed == 1; }));
    CHECK(collector->stats().open == 2);
    tunnel.reset();
    REQUIRE(until([&] { return collector->stats().open == 1; }));  // the tunnel has gone, and its flows with it
    alive = false;
    REQUIRE(until([&] { return collector->stats().open == 0; }));
    const std::string page = registry.render(base::metrics::Exposition::OpenMetrics);
    CHECK(page.find("warren_flow_bytes_total{direction=\"outbound\",path=\"direct\",source_namespace=\"shop\",source_workload=\"unknown\","
                    "destination_namespace=\"shop\",destination_workload=\"unknown\",way=\"sent\"} 1000") != std::string::npos);
    CHECK(page.find("path=\"tunnel\"") != std::string::npos);
    CHECK(collector->stats().table.reconciled == 2);
}
