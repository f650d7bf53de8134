// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_collector.h"

#include "agent/node/flow_event.h"
#include "agent/node/flow_metrics.h"
#include "agent/node/flow_ring.h"
#include "base/log.h"
#include "base/loop.h"

#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

const base::log::Area kFlows("flows");

// Flows that a reader takes under the lock at once: some tens of microseconds.
constexpr size_t kPiece = 512;

int64_t wall_now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

class Collector final : public FlowCollector, private FlowFeedEvents {
  public:
    Collector(FlowCollectorOptions options, FlowHub& hub, FlowMetrics metrics, std::unique_ptr<base::Loop> loop)
        : options_(std::move(options)),
          hub_(hub),
          metrics_(std::move(metrics)),
          loop_(std::move(loop)),
          table_(options_.limits),
          names_(std::make_shared<FlowDirectory>()),
          sample_timer_(base::Timer::of<&Collector::on_sample>(*this)),
          reap_timer_(base::Timer::of<&Collector::on_reap>(*this)) {}
    ~Collector() override {
        loop_->stop();
        if (thread_.joinable()) thread_.join();
        if (ring_) ring_->drain();
        feed_.reset();
    }
    base::Result<void> run() {
        if (options_.ring_fd >= 0) {
            ring_ = TRY(FlowRing::start(*loop_, options_.ring_fd, options_.ring_period, [this](const wr_flow_event& e) { record(e); }));
        }
        if (!options_.feed_path.empty()) feed_ = TRY(FlowFeedServer::start(*loop_, options_.feed_path, *this));
        if (options_.sample) loop_->arm(sample_timer_, options_.sample_period);
        thread_ = std::thread([this] {
            if (auto ran = loop_->run(); !ran) {
                WARREN_LOG(kFlows, base::log::Level::Error, "the flow thread ended", {"error", ran.error().message()});
            }
        });
        return {};
    }

    void publish(std::shared_ptr<const FlowDirectory> names) override {
        const std::lock_guard lock(mutex_);
        names_ = std::move(names);
    }
    std::vector<FlowRef> history(const FlowHub::Filter& filter, size_t most) const override {
        std::vector<FlowRef> found;
        std::set<std::pair<uint64_t, int64_t>> known;  // cookie and start: one that ended after it was found open is told once
        const auto take = [&](const FlowTable::Piece& piece) {
            for (const FlowTable::Bytes& bytes : piece.flows) {
                if (found.size() >= most) return;
                auto flow = std::make_shared<v1::Flow>();
                if (!flow->ParseFromString(*bytes) || (filter && !filter(*flow))) continue;
                if (known.emplace(flow->cookie(), time_ns(flow->start_time())).second) found.push_back(std::move(flow));
            }
        };
        const auto walk = [&](auto piece_from, uint64_t from) {
            for (std::optional<uint64_t> next = from; next && found.size() < most;) {
                FlowTable::Piece piece;
                {
                    const std::lock_guard lock(mutex_);
                    piece = (table_.*piece_from)(*next, kPiece);
                }
                take(piece);
                next = piece.next;
            }
        };
        walk(&FlowTable::open_from, 0);
        walk(&FlowTable::recent_from, FlowTable::kLatest);
        return found;
    }
    FlowCollectorStats stats() const override {
        const std::lock_guard lock(mutex_);
        FlowCollectorStats s;
        s.table = table_.stats();
        s.open = table_.open_count();
        if (feed_) s.feed = feed_->stats();
        if (ring_) {
            s.records = ring_->records();
            s.malformed = ring_->malformed();
        }
        s.kernel_lost = kernel_lost_;
        s.samples = samples_;
        s.failed_samples = failed_samples_;
        return s;
    }

  private:
    void record(const wr_flow_event& event) {
        const std::lock_guard lock(mutex_);
        if (auto flow = to_flow(event, *names_, wall_offset_ns())) take(*flow, FlowTable::kKernel, event.netns);
    }
    // With mutex_ held.
    void take(const v1::Flow& flow, FlowTable::Origin origin, uint64_t netns = 0) {
        const FlowTable::Change change = table_.apply(flow, origin, netns);
        metrics_.count(flow, change, names_->mesh.get());
        if (change.news) hub_.publish(std::make_shared<v1::Flow>(flow));
    }
    void tell_ended(const std::vector<v1::Flow>& ended) {
        FlowTable::Change change;
        change.closed = change.news = true;
        for (const v1::Flow& flow : ended) {
            metrics_.count(flow, change, names_->mesh.get());
            hub_.publish(std::make_shared<v1::Flow>(flow));
        }
    }

    void feed_flow(uint64_t feed, const v1::Flow& flow) override {
        const std::lock_guard lock(mutex_);
        take(flow, feed);
    }
    void feed_lost(uint64_t flows) override { hub_.add_lost(flows); }
    void feed_ended(uint64_t feed) override {
        gone_[feed] = loop_->now() + options_.tunnel_grace;
        if (!reap_timer_.armed()) loop_->arm(reap_timer_, options_.tunnel_grace);
    }
    void on_reap() {
        const std::lock_guard lock(mutex_);
        std::erase_if(gone_, [this](const auto& entry) {
            if (entry.second > loop_->now()) return false;
            tell_ended(table_.reap(entry.first, wall_now_ns()));
            return true;
        });
        if (!gone_.empty()) loop_->arm(reap_timer_, std::chrono::seconds(1));
    }

    void on_sample() {
        loop_->arm(sample_timer_, options_.sample_period);
        if (ring_) ring_->drain();  // ends that are on their way are not lost
        FlowTable::Look look;
        look.begun_ns = wall_now_ns();
        auto sampled = options_.sample([this, &look](const wr_flow_event& event) {
            look.alive.insert(event.cookie);
            record(event);
        });
        if (ring_) ring_->drain();
        const uint64_t lost = options_.kernel_lost ? options_.kernel_lost() : 0;
        const std::lock_guard lock(mutex_);
        if (lost > kernel_lost_) hub_.add_lost(lost - std::exchange(kernel_lost_, lost));
        if (!sampled) {
            ++failed_samples_;
            WARREN_LOG(kFlows, base::log::Level::Warn, "open connections could not be read", {"error", sampled.error().message()});
            return;
        }
        ++samples_;
        look.namespaces = *std::move(sampled);
        tell_ended(table_.sweep(std::move(look), wall_now_ns()));
    }

    const FlowCollectorOptions options_;
    FlowHub& hub_;
    FlowMetrics metrics_;
    std::unique_ptr<base::Loop> loop_;
    mutable std::mutex mutex_;  // of what other threads ask for: table, names, counts
    FlowTable table_;
    std::shared_ptr<const FlowDirectory> names_;
    uint64_t kernel_lost_ = 0, samples_ = 0, failed_samples_ = 0;
    std::map<uint64_t, base::MonoTime> gone_;  // feeds that ended, and when their flows do
    base::Timer sample_timer_, reap_timer_;
    std::unique_ptr<FlowRing> ring_;
    std::unique_ptr<FlowFeedServer> feed_;
    std::thread thread_;
};

}  // namespace

base::Result<std::unique_ptr<FlowCollector>> FlowCollector::start(FlowCollectorOptions options, FlowHub& hub,
                                                                  base::metrics::Registry& registry) {
    auto loop = TRY(base::Loop::create());
    auto collector = std::make_unique<Collector>(std::move(options), hub, TRY(FlowMetrics::create(registry)), std::move(loop));
    TRY(collector->run());
    return std::unique_ptr<FlowCollector>(std::move(collector));
}

}  // namespace warren::node
