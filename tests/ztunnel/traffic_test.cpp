// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/traffic_recorder.h"

#include "policy/random.h"
#include "tests/ztunnel/observe_fixture.h"
#include "ztunnel/traffic_labels.h"
#include "ztunnel/traffic_series.h"

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;
using base::metrics::Exposition;
using base::metrics::Registry;

namespace {

std::set<std::string> page_lines(Registry& registry) {
    const auto lines = lines_of(registry.render(Exposition::OpenMetrics));
    return {lines.begin(), lines.end()};
}

// name{labels} -> value of every sample whose name begins so.
std::map<std::string, uint64_t> samples(const std::string& page, const std::string& name) {
    std::map<std::string, uint64_t> out;
    for (const std::string& line : lines_of(page))
        if (line.starts_with(name)) out[line.substr(0, line.rfind(' '))] = std::stoull(line.substr(line.rfind(' ') + 1));
    return out;
}

uint64_t total(const std::string& page, const std::string& name, const std::string& having = "") {
    uint64_t sum = 0;
    for (const auto& [labels, value] : samples(page, name))
        if (labels.find(having) != std::string::npos) sum += value;
    return sum;
}
uint64_t total(Registry& registry, const std::string& name, const std::string& having = "") {
    return total(registry.render(Exposition::OpenMetrics), name, having);
}

struct Make {
    Registry registry;
    std::unique_ptr<TrafficRecorder> traffic;
    explicit Make(const TrafficOptions& options = {}) : traffic(make_traffic(registry, options).value()) {}
};

void one(Traffic& traffic, TrafficFacts f, uint64_t sent, uint64_t received, ResponseFlag flag = ResponseFlag::None,
         std::string_view error = {}) {
    auto record = traffic.open(std::move(f));
    record->add(sent, received);
    record->close(flag, error);
}

}  // namespace

TEST_CASE("traffic: test_on_demand_dns_request: counted by source and hostname, and bounded") {
    const SampleEnds e;
    Make m({.series = 10});
    for (int i = 0; i < 2; ++i) m.traffic->on_demand_dns(e.p1, "web.example");
    m.traffic->on_demand_dns(nullptr, "web.example");
    const std::string page = m.registry.render(Exposition::OpenMetrics);
    CHECK(page.find("istio_on_demand_dns_total{source_workload=\"p1\",source_canonical_service=\"client\","
                    "source_canonical_revision=\"latest\",source_workload_namespace=\"default\",source_principal=\"unknown\","
                    "source_app=\"client\",source_version=\"latest\",source_cluster=\"Kubernetes\",hostname=\"web.example\"} 2\n") !=
          std::string::npos);
    CHECK(total(page, "istio_on_demand_dns_total", "source_workload=\"unknown\"") == 1);
    for (int i = 0; i < 50; ++i) m.traffic->on_demand_dns(e.p1, "host" + std::to_string(i) + ".example");
    CHECK(samples(m.registry.render(Exposition::OpenMetrics), "istio_on_demand_dns_total").size() <= 11);
}

TEST_CASE("traffic: test_tcp_connections_metrics, test_tcp_bytes_metrics: names, label order and values of the sample page") {
    LogCapture capture(base::log::Format::Text, "off");
    const SampleEnds e;
    Make m;
    constexpr auto kOut = Direction::Outbound, kIn = Direction::Inbound;
    // The first page: one of p1's connections without a service was still open.
    auto open = m.traffic->open(SampleEnds::facts(kOut, e.p1, e.p2));
    open->close(ResponseFlag::Connect, "http status: 401 Unauthorized");
    one(*m.traffic, SampleEnds::facts(kOut, e.p1, e.p2), 455233, 455232);
    one(*m.traffic, SampleEnds::facts(kIn, e.p1, e.p1b, e.server), 540032, 540033);
    one(*m.traffic, SampleEnds::facts(kOut, e.p1, e.p1b), 540033, 540032);
    one(*m.traffic, SampleEnds::facts(kOut, e.p1, e.p2, e.server), 261121, 261120);
    one(*m.traffic, SampleEnds::facts(kOut, e.p1, e.p2, e.server), 260417, 260416);
    m.traffic->socket_opened(kIn);
    m.traffic->socket_opened(kOut);
    m.traffic->socket_closed(kOut);
    // The second one, of the other node.
    one(*m.traffic, SampleEnds::facts(kIn, e.p1, e.p2, e.server), 455232, 455233);
    one(*m.traffic, SampleEnds::facts(kIn, e.p1, e.p2, e.server), 260416, 260417);
    one(*m.traffic, SampleEnds::facts(kIn, e.p1, e.p2, e.server), 261120, 261121);
    one(*m.traffic, SampleEnds::facts(kIn, e.p2b, e.p2, e.server), 0, 0, ResponseFlag::Deny, "x");
    one(*m.traffic, SampleEnds::facts(kOut, e.p2b, e.p2), 0, 0, ResponseFlag::Connect, "x");
    one(*m.traffic, SampleEnds::facts(kIn, e.p1, e.p2), 0, 0, ResponseFlag::Deny, "x");
    TrafficFacts plain;
    plain.direction = kIn;
    plain.dst_workload = e.p2;
    plain.dst_service = e.server;
    one(*m.traffic, plain, 0, 0, ResponseFlag::Deny, "x");

    const auto page = page_lines(m.registry);
    for (const std::string& line : lines_of(golden("metrics.txt"))) {
        if (line.starts_with("istio_tcp_sockets_open{reporter=\"destination\"} 2")) continue;  // the second page's
        INFO(line);
        CHECK(page.count(line) == 1);
    }
    CHECK(m.registry.render(Exposition::OpenMetrics).ends_with("# EOF\n"));
}

TEST_CASE("traffic: labels of a peer known by baggage, of nobody, and behind a double tunnel") {
    LogCapture capture(base::log::Format::Text, "off");
    const SampleEnds e;
    Make m;
    TrafficFacts f;
    f.direction = Direction::Inbound;
    f.kind = TunnelKind::Hbone;
    f.mutual_tls = true;
    f.src_identity = "spiffe://td/ns/far/sa/web";
    f.src_baggage = {.cluster = "c2",
                     .ns = "far",
                     .workload_name = "web-1",
                     .service_name = "web",
                     .service_version = "v7",
                     .region = "r9",
                     .zone = "z9"};
    f.dst_workload = e.p2;
    one(*m.traffic, f, 1, 2);
    const std::string opened = "istio_tcp_connections_opened_total";
    CHECK(
        total(
            m.registry, opened,
            "source_workload=\"web-1\",source_canonical_service=\"web\",source_canonical_revision=\"v7\",source_workload_namespace=\"far\","
            "source_principal=\"spiffe://td/ns/far/sa/web\",source_app=\"web-1\",source_version=\"v7\",source_cluster=\"c2\"") == 1);
    CHECK(total(m.registry, opened, "source_region=\"r9\",source_zone=\"z9\",destination_region=\"r1\",destination_zone=\"z2\"") == 1);

    one(*m.traffic, {}, 0, 0);  // nobody is known: no locality group at all
    uint64_t without = 0;
    for (const auto& [labels, n] : samples(m.registry.render(Exposition::OpenMetrics), opened))
        if (labels.ends_with("connection_security_policy=\"unknown\"}")) without += n;
    CHECK(without == 1);

    TrafficFacts twice = SampleEnds::facts(Direction::Outbound, e.p1, e.p1b, e.server);
    twice.kind = TunnelKind::DoubleHbone;
    auto record = m.traffic->open(twice);
    CHECK(total(m.registry, opened) == 2);  // after the attempt only
    record->add(5, 0);
    record->learn_destination({.cluster = "c3", .ns = "x", .workload_name = "inner"}, "spiffe://td3/ns/x/sa/inner");
    record->add(5, 3);
    record->close(ResponseFlag::None, {});
    const std::string inner = "destination_workload=\"inner\"";
    CHECK(total(m.registry, opened, inner) == 1);
    CHECK(total(m.registry, opened, "destination_principal=\"spiffe://td3/ns/x/sa/inner\"") == 1);
    CHECK(total(m.registry, "istio_tcp_received_bytes_total", inner) == 10);
    CHECK(total(m.registry, "istio_tcp_sent_bytes_total", inner) == 3);
    twice.src = SampleEnds::addr("1.2.3.4:5");
    m.traffic->open(twice)->close(ResponseFlag::Connect, "no route");  // nothing was learned: the gateway is the destination
    CHECK(total(m.registry, opened, "destination_workload=\"p1b\"") == 1);
    CHECK(total(m.registry, "istio_tcp_connections_failed_total", "destination_workload=\"p1b\"") == 1);
}

TEST_CASE("traffic: a record that is not closed ends as drained, and closing twice counts once") {
    LogCapture capture;
    const SampleEnds e;
    Make m;
    {
        const auto lost = m.traffic->open(SampleEnds::facts(Direction::Outbound, e.p1, e.p2));
    }
    auto twice = m.traffic->open(SampleEnds::facts(Direction::Outbound, e.p1, e.p2));
    twice->close(ResponseFlag::Deny, {});
    twice->close(ResponseFlag::None, {});
    twice.reset();
    CHECK(total(m.registry, "istio_tcp_connections_closed_total") == 2);
    CHECK(total(m.registry, "istio_tcp_connections_closed_total", "response_flags=\"-\"") == 1);
    CHECK(total(m.registry, "istio_tcp_connections_failed_total") == 1);
    const auto lines = capture.lines();
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].find("error\taccess\t") != std::string::npos);
    CHECK(lines[0].ends_with("error=\"drained\""));
    CHECK(lines[1].ends_with("error=\"DENY\""));  // a failure is never told as complete
    CHECK(m.traffic->live().empty());
}

TEST_CASE("traffic: a record that is replaced without a change of its labels costs no series set, and is let go") {
    Registry registry;
    const SeriesFamilies families = SeriesFamilies::declare(registry, 1000).value();
    SeriesCache cache(8);
    const SampleEnds e;
    const auto shown = {
        &policy::Workload::workload_name, &policy::Workload::canonical_name, &policy::Workload::canonical_revision, &policy::Workload::ns,
        &policy::Workload::cluster_id,    &policy::Workload::trust_domain,   &policy::Workload::service_account};
    const auto replaced = [&] {
        const auto w = policy::make_ref<policy::Workload>();
        for (const auto member : shown) (*w).*member = (*e.p2).*member;
        w->locality = e.p2->locality;
        w->authorization_policies = {policy::Text("default/another")};  // no label shows it
        return w;
    };
    TrafficFacts f = SampleEnds::facts(Direction::Inbound, e.p1, e.p2, e.server);
    const std::shared_ptr<SeriesSet> first = cache.find(f, families);
    f.dst_workload = replaced();
    CHECK(cache.find(f, families) == first);
    CHECK(cache.size() == 1);
    CHECK(first->facts.dst_workload == f.dst_workload);

    for (const auto member : shown) {
        const auto changed = replaced();
        (*changed).*member = policy::Text("changed");
        f.dst_workload = changed;
        CHECK(cache.find(f, families) != first);
    }
}

TEST_CASE("traffic: early denies are counted by reason and touch no other counter") {
    LogCapture capture;
    Make m;
    for (int i = 0; i < 3; ++i) m.traffic->early_deny(Direction::Outbound, {}, {}, "unknown_source", "not known");
    m.traffic->early_deny(Direction::Inbound, {}, {}, "handshake_failed", "no");
    CHECK(total(m.registry, "warren_early_denies_total", "direction=\"outbound\",reason=\"unknown_source\"") == 3);
    CHECK(total(m.registry, "warren_early_denies_total") == 4);
    CHECK(total(m.registry, "istio_tcp_connections") == 0);
    CHECK(capture.lines().size() == 4);
}

TEST_CASE("traffic: the sum of the log is the counters, whatever happened and however small the bounds") {
    LogCapture capture;
    Make m({.series = 50, .cached_sets = 4});
    std::vector<policy::WorkloadRef> peers;
    for (int i = 0; i < 30; ++i) {
        WorkloadSpec spec{.uid = "w" + std::to_string(i), .addresses = {"10.0.0." + std::to_string(i + 1)}};
        peers.push_back(workload(spec));
    }
    constexpr size_t kRecords = 6000, kThreads = 3;
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            policy::Random random(77 + t);
            for (size_t i = 0; i < kRecords / kThreads; ++i) {
                TrafficFacts f;
                f.direction = random.below(2) == 0 ? Direction::Outbound : Direction::Inbound;
                f.kind = static_cast<TunnelKind>(random.below(3));
                f.mutual_tls = f.kind != TunnelKind::Tcp;
                if (random.below(4) != 0) f.src_workload = peers[random.below(30)];
                if (random.below(4) != 0) f.dst_workload = peers[random.below(30)];
                if (random.below(5) == 0) f.src_baggage.workload_name = "b" + std::to_string(random.below(5));
                auto record = m.traffic->open(std::move(f));
                for (uint64_t n = random.below(4); n > 0; --n) record->add(random.below(1000), random.below(1000));
                if (random.below(3) == 0) record->learn_destination({.workload_name = "far"}, "spiffe://a/ns/b/sa/c");
                const auto flag = static_cast<ResponseFlag>(random.below(kResponseFlags));
                if (random.below(10) != 0) record->close(flag, flag == ResponseFlag::None ? "" : "why");
            }
        });
    for (std::thread& t : threads) t.join();

    uint64_t up = 0, down = 0, failed = 0, drained = 0, count = 0;
    for (const std::string& line : capture.lines()) {
        const auto number = [&](const std::string& key) { return std::stoull(line.substr(line.find(key) + key.size())); };
        const bool out = line.find("direction=\"outbound\"") != std::string::npos;
        const uint64_t sent = number("bytes_sent="), received = number("bytes_recv=");
        up += out ? sent : received;
        down += out ? received : sent;
        failed += line.find("error=\"why\"") != std::string::npos ? 1 : 0;
        drained += line.find("error=\"drained\"") != std::string::npos ? 1 : 0;
        ++count;
    }
    CHECK(count == kRecords);
    CHECK(drained > 0);
    const std::string page = m.registry.render(Exposition::OpenMetrics);  // one: the next ones make room
    CHECK(total(page, "istio_tcp_connections_opened_total") == kRecords);
    CHECK(total(page, "istio_tcp_connections_closed_total") == kRecords);
    CHECK(total(page, "istio_tcp_connections_failed_total") == failed);
    CHECK(total(page, "istio_tcp_received_bytes_total") == up);
    CHECK(total(page, "istio_tcp_sent_bytes_total") == down);
    CHECK(total(page, "istio_tcp_connections_opened_total", "source_workload=\"overflow\"") > 0);
    for (int scrape = 0; scrape < 4; ++scrape) (void)m.registry.render(Exposition::OpenMetrics);
    CHECK(samples(m.registry.render(Exposition::OpenMetrics), "istio_tcp_connections_failed_total").size() < 50);
}

TEST_CASE("traffic: the table of live connections is whole while others come and go") {
    LogCapture capture(base::log::Format::Text, "off");
    const SampleEnds e;
    Make m;
    std::vector<std::unique_ptr<TrafficRecord>> held;
    for (uint16_t i = 0; i < 1000; ++i) {
        TrafficFacts f = SampleEnds::facts(Direction::Outbound, e.p1, e.p2);
        f.src = {ip("10.0.0.1"), static_cast<uint16_t>(i + 1)};
        held.push_back(m.traffic->open(std::move(f)));
    }
    std::atomic<bool> stop = false;
    std::thread churn([&] {
        while (!stop) m.traffic->open(SampleEnds::facts(Direction::Inbound, e.p1, e.p2))->close(ResponseFlag::None, {});
    });
    for (int round = 0; round < 20; ++round) {
        std::multiset<uint16_t> ports;
        for (const LiveConnection& c : m.traffic->live())
            if (c.direction == Direction::Outbound) ports.insert(c.src.port);
        CHECK(ports.size() == 1000);
        CHECK(std::set<uint16_t>(ports.begin(), ports.end()).size() == 1000);
    }
    stop = true;
    churn.join();
    held.clear();
    CHECK(m.traffic->live().empty());
}

// Run by name; prints nanoseconds.
TEST_CASE("traffic: what a record costs", "[.bench]") {
    LogCapture capture(base::log::Format::Text, "info");
    base::log::stop();
    base::log::Options options;
    const base::Fd sink(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    options.fd = sink.get();
    REQUIRE(base::log::start(options));
    const SampleEnds e;
    Make m;
    const auto f = SampleEnds::between(SampleEnds::facts(Direction::Outbound, e.p1, e.p2, e.server), "10.77.1.2:57464", "10.77.2.2:15008",
                                       "10.77.2.2:7000");
    constexpr size_t kRounds = 200, kBatch = 500;
    std::array<double, 3> ns{};
    const auto timed = [&](size_t which, auto&& step) {
        timespec from{}, to{};  // of this thread: the machine has other users
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        step();
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        ns[which] += static_cast<double>(to.tv_sec - from.tv_sec) * 1e9 + static_cast<double>(to.tv_nsec - from.tv_nsec);
    };
    for (size_t round = 0; round < kRounds; ++round) {
        std::vector<TrafficFacts> facts(kBatch, f);
        std::vector<std::unique_ptr<TrafficRecord>> records(kBatch);
        timed(0, [&] {
            for (size_t i = 0; i < kBatch; ++i) records[i] = m.traffic->open(std::move(facts[i]));
        });
        timed(1, [&] {
            for (auto& r : records) r->add(100, 100);
        });
        timed(2, [&] {
            for (auto& r : records) r->close(ResponseFlag::None, {});
        });
    }
    std::printf("open %.0f ns, add %.1f ns, close %.0f ns\n", ns[0] / (kRounds * kBatch), ns[1] / (kRounds * kBatch),
                ns[2] / (kRounds * kBatch));
}
