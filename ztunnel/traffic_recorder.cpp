// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/traffic_recorder.h"

#include "base/link.h"
#include "ztunnel/access_log.h"
#include "ztunnel/traffic_series.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace warren::ztunnel {
namespace {

using base::metrics::Gauge;

// Workers are a few; threads beyond share a shard, which is slower and not wrong.
constexpr size_t kShards = 16;
// A dump holds a shard's lock for so many connections, some ten microseconds.
constexpr size_t kDumpBatch = 100;
// The labels that describe the source stand behind the reporter.
constexpr ptrdiff_t kSourceLabels = 8;

class Recorder;

// The lists are walked by a dump on another thread, so facts change only under the shard's lock.
class Record final : public TrafficRecord, public base::Link<Record> {
  public:
    Record(Recorder& recorder, size_t shard, TrafficFacts facts)
        : recorder_(recorder),
          facts_(std::make_shared<const TrafficFacts>(std::move(facts))),
          opened_at_(std::chrono::steady_clock::now()),
          shard_(shard) {}
    ~Record() override {
        if (!closed_) close(ResponseFlag::None, kDrained, nullptr, EndedBy::Unknown);
    }

    void add(uint64_t sent_by_app, uint64_t received_by_app) override;
    void learn_destination(policy::Baggage baggage, std::string identity) override;
    void judged(const policy::Decision& decision) override;
    void started(int pod_socket) override;
    void handed_on() override;
    void note(std::string_view detail) override { note_ = detail; }
    void close(ResponseFlag flag, std::string_view error, const policy::Policy* deciding, EndedBy by) override;

  private:
    friend class Recorder;
    void count_opened();
    [[nodiscard]] FlowEvent flow_event() const;

    Recorder& recorder_;
    std::shared_ptr<const TrafficFacts> facts_;  // shared with the flows that tell of it
    std::unique_ptr<FlowState> flow_;            // null: nobody listens to flows
    std::shared_ptr<SeriesSet> series_;          // null: not counted as opened yet
    std::chrono::steady_clock::time_point opened_at_;
    // Written by the record's thread alone, read by a resend of flows: plain loads and stores.
    std::atomic<uint64_t> sent_ = 0, received_ = 0;
    std::string_view note_;
    std::optional<policy::Reason> denied_;  // why policies ended it
    uint64_t dumped_ = 0;                   // the last dump or resend that saw it
    uint64_t told_ = 0;                     // bytes both ways when its open flow was given out, by a resend
    size_t shard_;
    bool closed_ = false;
};

struct alignas(64) Shard {
    explicit Shard(size_t cached_sets) : cache(cached_sets) {}
    std::mutex mutex;
    SeriesCache cache;
    base::LinkList<Record> open;
};

class Recorder final : public TrafficRecorder {
  public:
    struct Families {
        SeriesFamilies series;
        base::metrics::Family<Counter> denies, crl_rejections, on_demand_dns;
        base::metrics::Family<Gauge> sockets;
    };
    Recorder(const Families& families, const TrafficOptions& options)
        : families_(families.series),
          denies_(families.denies),
          crl_rejections_(families.crl_rejections),
          on_demand_dns_(families.on_demand_dns),
          decision_level_(options.decisions_at_info ? base::log::Level::Info : base::log::Level::Debug),
          sockets_{families.sockets.with({"source"}), families.sockets.with({"destination"})} {
        for (auto& shard : shards_) shard = std::make_unique<Shard>(options.cached_sets);
    }

    // Until then no scrape makes room.
    void watch(base::metrics::Registry& registry, size_t limit) {
        room_ = registry.collect([this, limit](base::metrics::Collection&) {
            families_.make_room(limit);
            if (on_demand_dns_.size() > limit - limit / 10) on_demand_dns_.remove_unused();
        });
    }

    std::unique_ptr<TrafficRecord> open(TrafficFacts facts) override {
        const size_t shard = own_shard();
        // Behind a double tunnel it is counted once the attempt has told who is there (contract 9.2).
        const bool wait = facts.kind == TunnelKind::DoubleHbone;
        auto record = std::make_unique<Record>(*this, shard, std::move(facts));
        if (flows_ != nullptr) record->flow_ = std::make_unique<FlowState>();
        {
            const std::scoped_lock lock(shards_[shard]->mutex);
            if (!wait) record->series_ = shards_[shard]->cache.find(*record->facts_, families_);
            shards_[shard]->open.push_back(*record);
        }
        if (!wait) record->count_opened();
        return record;
    }

    void early_deny(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view reason_code,
                    std::string_view error) override {
        denies_.with({to_string(direction), reason_code})->add();
        log_early_deny(direction, src, dst, error);
        if (flows_ != nullptr) flows_->offer(early_flow(direction, src, dst, reason_code, error));
    }

    void socket_opened(Direction direction) override { sockets_[static_cast<size_t>(direction)]->add(); }
    void socket_closed(Direction direction) override { sockets_[static_cast<size_t>(direction)]->sub(); }
    void on_demand_dns(const policy::WorkloadRef& source, std::string_view hostname) override {
        const policy::Baggage none;
        const policy::TrafficLabelValues all({.reporter = {},
                                              .source = source.get(),
                                              .source_baggage = none,
                                              .destination_baggage = none,
                                              .source_principal = {},  // never from a record alone (contract 9.2)
                                              .destination_principal = {}});
        std::vector<std::string_view> values(all.values().begin() + 1, all.values().begin() + 1 + kSourceLabels);
        values.push_back(hostname);
        on_demand_dns_.with(values)->add();
    }
    void crl_rejection(Direction direction) override {
        crl_rejections_.with({direction == Direction::Outbound ? "source" : "destination"})->add();
    }

    void send_flows_to(FlowSink* sink) override { flows_ = sink; }
    [[nodiscard]] FlowSink* flows() const { return flows_; }
    [[nodiscard]] base::log::Level decision_level() const { return decision_level_; }

    [[nodiscard]] std::vector<LiveConnection> live() const override {
        std::vector<LiveConnection> out;
        walk_all([&out](const Record& r) { out.push_back(live_of(r)); });
        return out;
    }

    [[nodiscard]] std::vector<FlowEvent> open_flows() const override {
        return flows_if([](uint64_t, uint64_t) { return true; });
    }
    [[nodiscard]] std::vector<FlowEvent> moved_flows() const override {
        return flows_if([](uint64_t told, uint64_t now) { return told != now; });
    }

    [[nodiscard]] Shard& shard(size_t i) const { return *shards_[i]; }
    [[nodiscard]] const SeriesFamilies& families() const { return families_; }

  private:
    static size_t own_shard() {
        static std::atomic<size_t> next{0};
        thread_local const size_t own = next.fetch_add(1, std::memory_order_relaxed) % kShards;
        return own;
    }

    static LiveConnection live_of(const Record& record) {
        const TrafficFacts& f = *record.facts_;
        return {f.direction, f.kind,         f.mutual_tls,     f.src,
                f.dst,       f.original_dst, f.forwarded_host, f.direction == Direction::Outbound ? f.src_workload : f.dst_workload};
    }

    template <class Visit>
    void walk_all(const Visit& visit) const {
        const std::scoped_lock one_at_a_time(dump_mutex_);
        const uint64_t dump = ++dumps_;
        for (const auto& shard : shards_)
            while (walk(*shard, dump, visit)) {
            }
    }

    // wanted(bytes when it was given out the last time, bytes now).
    template <class Wanted>
    std::vector<FlowEvent> flows_if(const Wanted& wanted) const {
        std::vector<FlowEvent> out;
        walk_all([&](Record& r) {
            if (!r.flow_ || !r.flow_->started) return;
            FlowEvent event = r.flow_event();
            const uint64_t now = event.to_destination + event.to_source;
            if (!wanted(std::exchange(r.told_, now), now)) return;
            out.push_back(std::move(event));
        });
        return out;
    }

    // What was seen goes to the back, so the first that this walk has seen already ends it. False: done.
    template <class Visit>
    static bool walk(Shard& shard, uint64_t dump, const Visit& visit) {
        const std::scoped_lock lock(shard.mutex);
        for (size_t i = 0; i < kDumpBatch; ++i) {
            Record* record = shard.open.pop_front();
            if (record == nullptr) return false;
            shard.open.push_back(*record);
            if (record->dumped_ == dump) return false;
            record->dumped_ = dump;
            visit(*record);
        }
        return true;
    }

    const SeriesFamilies families_;
    const base::metrics::Family<Counter> denies_;
    const base::metrics::Family<Counter> crl_rejections_;
    const base::metrics::Family<Counter> on_demand_dns_;
    const base::log::Level decision_level_;
    const std::array<std::shared_ptr<Gauge>, 2> sockets_;
    std::array<std::unique_ptr<Shard>, kShards> shards_;
    mutable std::mutex dump_mutex_;
    mutable uint64_t dumps_ = 0;
    FlowSink* flows_ = nullptr;
    std::unique_ptr<base::metrics::Registry::Subscription> room_;  // last: ends before what it uses
};

void Record::count_opened() {
    series_->opened->add();
    log_opened(*facts_);
}

void Record::add(uint64_t sent_by_app, uint64_t received_by_app) {
    sent_.store(sent_.load(std::memory_order_relaxed) + sent_by_app, std::memory_order_relaxed);
    received_.store(received_.load(std::memory_order_relaxed) + received_by_app, std::memory_order_relaxed);
    if (!series_) return;  // made good when it is counted as opened
    // For both reporters "received" is the way of the requests, from the client to the server (quirk A11).
    const bool out = facts_->direction == Direction::Outbound;
    series_->received->add(out ? sent_by_app : received_by_app);
    series_->sent->add(out ? received_by_app : sent_by_app);
}

void Record::learn_destination(policy::Baggage baggage, std::string identity) {
    // Later, or of a single tunnel, it would move the end of the connection to other series than its beginning.
    if (series_ || closed_ || facts_->kind != TunnelKind::DoubleHbone) return;
    auto facts = std::make_shared<TrafficFacts>(*facts_);
    facts->dst_workload = nullptr;  // that was the gateway
    facts->dst_baggage = std::move(baggage);
    facts->dst_identity = std::move(identity);
    Shard& shard = recorder_.shard(shard_);
    {
        const std::scoped_lock lock(shard.mutex);
        facts_ = std::move(facts);
        series_ = shard.cache.find(*facts_, recorder_.families());
    }
    count_opened();
    add(sent_.exchange(0, std::memory_order_relaxed), received_.exchange(0, std::memory_order_relaxed));
}

void Record::judged(const policy::Decision& decision) {
    log_decision(*facts_, decision, recorder_.decision_level());
    denied_ = decision.allowed ? std::optional<policy::Reason>() : decision.reason;
    if (!flow_) return;
    const std::scoped_lock lock(recorder_.shard(shard_).mutex);  // a resend reads it
    flow_->decision = FlowDecision::of(decision);
}

void Record::started(int pod_socket) {
    if (!flow_ || closed_) return;
    const uint64_t cookie = socket_cookie(pod_socket);
    {
        const std::scoped_lock lock(recorder_.shard(shard_).mutex);
        flow_->cookie = cookie;
        flow_->started = true;
    }
    recorder_.flows()->offer(flow_event());
}

void Record::handed_on() {
    const std::scoped_lock lock(recorder_.shard(shard_).mutex);  // a resend reads it
    flow_.reset();
}

FlowEvent Record::flow_event() const {
    FlowEvent event;
    event.facts = facts_;
    event.state = *flow_;
    const bool out = facts_->direction == Direction::Outbound;
    const uint64_t sent = sent_.load(std::memory_order_relaxed), received = received_.load(std::memory_order_relaxed);
    event.to_destination = out ? sent : received;
    event.to_source = out ? received : sent;
    return event;
}

void Record::close(ResponseFlag flag, std::string_view error, const policy::Policy* deciding, EndedBy by) {
    if (std::exchange(closed_, true)) return;
    // A failure says so in the log too.
    if (error.empty() && flag != ResponseFlag::None) error = to_string(flag);
    Shard& shard = recorder_.shard(shard_);
    const bool opened_before = series_ != nullptr;
    {
        const std::scoped_lock lock(shard.mutex);
        base::LinkList<Record>::remove(*this);
        if (!opened_before) series_ = shard.cache.find(*facts_, recorder_.families());
        series_->closed_with(flag, recorder_.families()).add();
        if (flag != ResponseFlag::None) series_->failed_with(flag, recorder_.families()).add();
    }
    if (!opened_before) {
        count_opened();
        add(sent_.exchange(0, std::memory_order_relaxed), received_.exchange(0, std::memory_order_relaxed));
    }
    const uint64_t sent = sent_.load(std::memory_order_relaxed), received = received_.load(std::memory_order_relaxed);
    const std::string_view reason = denied_ ? policy::to_string(*denied_) : std::string_view();
    log_complete(*facts_, {sent, received, std::chrono::steady_clock::now() - opened_at_, error, deciding, reason, note_});
    if (!flow_) return;
    FlowEvent event = flow_event();
    event.end(flag, error, by);
    recorder_.flows()->offer(std::move(event));
}

}  // namespace

base::Result<std::unique_ptr<TrafficRecorder>> make_traffic(base::metrics::Registry& registry, const TrafficOptions& options) {
    const SeriesFamilies families = TRY(SeriesFamilies::declare(registry, options.series));
    const auto denies = TRY(registry.counter({.name = "warren_early_denies_total",
                                              .help = "Connections refused before their context existed, by reason (unstable).",
                                              .labels = {"direction", "reason"}}));
    const auto sockets = TRY(registry.gauge(
        {.name = "istio_tcp_sockets_open", .help = "The current number of open TCP sockets (unstable).", .labels = {"reporter"}}));
    const auto crl_rejections = TRY(registry.counter({.name = "istio_crl_policy_rejections_total",
                                                      .help = "The total number of handshakes refused by a revocation list (unstable).",
                                                      .labels = {"reporter"}}));
    const std::vector<std::string> all = policy::traffic_label_names();
    std::vector<std::string> labels(all.begin() + 1, all.begin() + 1 + kSourceLabels);
    labels.emplace_back("hostname");
    const auto on_demand_dns = TRY(registry.counter({.name = "istio_on_demand_dns_total",
                                                     .help = "The total number of requests that used on-demand DNS (unstable).",
                                                     .labels = std::move(labels),
                                                     .limit = options.series}));
    auto recorder = std::make_unique<Recorder>(Recorder::Families{families, denies, crl_rejections, on_demand_dns, sockets}, options);
    recorder->watch(registry, options.series);
    return std::unique_ptr<TrafficRecorder>(std::move(recorder));
}

}  // namespace warren::ztunnel
