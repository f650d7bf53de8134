// SPDX-License-Identifier: Apache-2.0
// Metrics: counters, gauges and histograms with labels, and the page a scraper reads (data-plane contract section 9.1; OpenMetrics 1.0,
// Prometheus text 0.0.4). A series is looked up once (a lock, an allocation) and kept; after that an update is one relaxed atomic
// operation on a cache line of its own. Any thread may look up and update; render() belongs to the admin thread.
//
// Bounds: a family holds at most Desc::limit series. Lookups beyond that share one series whose label values are all "overflow" and are
// counted in warren_metrics_series_dropped_total{family}. A series that somebody holds is never removed.
//
// prometheus-cpp is not underneath: its counters are doubles behind a compare-and-swap, its lookups hash a label map, and its serializer
// has neither "# EOF" nor the "_total" rule nor omits empty families.
#pragma once

#include "base/metrics_text.h"
#include "base/result.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::base::metrics {

// Writers of one series share its line on purpose; neighbours must not.
inline constexpr size_t kLineBytes = 64;

template <class N>
class alignas(kLineBytes) BasicCounter {
  public:
    void add(N n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
    [[nodiscard]] N value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<N> value_{0};
};
using Counter = BasicCounter<uint64_t>;
using DoubleCounter = BasicCounter<double>;  // seconds; never add a negative number

template <class N>
class alignas(kLineBytes) BasicGauge {
  public:
    void set(N n) noexcept { value_.store(n, std::memory_order_relaxed); }
    void add(N n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
    void sub(N n = 1) noexcept { value_.fetch_sub(n, std::memory_order_relaxed); }
    [[nodiscard]] N value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<N> value_{0};
};
using Gauge = BasicGauge<int64_t>;
using DoubleGauge = BasicGauge<double>;

class alignas(kLineBytes) Histogram {
  public:
    explicit Histogram(std::shared_ptr<const std::vector<double>> bounds);
    void observe(double value) noexcept;
    [[nodiscard]] double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
    [[nodiscard]] const std::vector<double>& bounds() const noexcept { return *bounds_; }
    // Observations at most bounds()[i] and above the bound before; i == bounds().size() holds the rest.
    [[nodiscard]] uint64_t bucket(size_t i) const noexcept { return buckets_[i].load(std::memory_order_relaxed); }

  private:
    std::shared_ptr<const std::vector<double>> bounds_;
    std::unique_ptr<std::atomic<uint64_t>[]> buckets_;
    std::atomic<double> sum_{0};
};

struct Desc {
    std::string name;  // a counter's ends in _total, nothing else's does
    std::string help;
    std::vector<std::string> labels = {};
    std::vector<std::string> optional_labels = {};  // after labels; a series has all of them or none
    size_t limit = 10'000;                          // series
};

namespace detail {
class FamilyCore;
}

// A family's series by label values, in the order of Desc::labels. A handle copied freely; the registry outlives it.
template <class T>
class Family {
  public:
    explicit Family(detail::FamilyCore& core) : core_(&core) {}

    // Never null. A wrong number of values is a bug of the caller and gets the overflow series.
    std::shared_ptr<T> with(std::span<const std::string_view> values = {}) const;
    std::shared_ptr<T> with(std::initializer_list<std::string_view> values) const {
        return with(std::span<const std::string_view>(values.begin(), values.size()));
    }
    // Forgets a series that nobody holds; false when it is held or unknown.
    bool remove(std::initializer_list<std::string_view> values) const;
    // Forgets the series that nobody has held during the last `scrapes` pages (or longer): a scraper saw their last values.
    size_t remove_unused(unsigned scrapes = 2) const;
    [[nodiscard]] size_t size() const;

  private:
    detail::FamilyCore* core_;
};

// What a collector fills at each scrape. A name, label or type that cannot stand on the page is left out and counted as dropped.
class Collection {
  public:
    static constexpr size_t kMaxSeries = 10'000;  // per family

    void counter(std::string_view name, std::string_view help, std::initializer_list<Label> labels, double value) {
        add(Type::Counter, name, help, {labels.begin(), labels.size()}, value);
    }
    void gauge(std::string_view name, std::string_view help, std::initializer_list<Label> labels, double value) {
        add(Type::Gauge, name, help, {labels.begin(), labels.size()}, value);
    }
    void add(Type type, std::string_view name, std::string_view help, std::span<const Label> labels, double value);

  private:
    friend class Registry;
    struct Group {
        Type type;
        std::string help;
        std::map<std::string, double> samples;  // by rendered labels
    };
    std::map<std::string, Group, std::less<>> groups_;
    std::map<std::string, uint64_t> dropped_;
};

class Registry {
  public:
    Registry();
    ~Registry();
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // The same description again gives the same family; a different one of the same name is refused, as is a bad name.
    Result<Family<Counter>> counter(Desc desc);
    Result<Family<DoubleCounter>> double_counter(Desc desc);
    Result<Family<Gauge>> gauge(Desc desc);
    Result<Family<DoubleGauge>> double_gauge(Desc desc);
    // bounds ascend and are finite; +Inf is implied.
    Result<Family<Histogram>> histogram(Desc desc, std::vector<double> bounds);

    // Called on the scraping thread at each render, never concurrently. It may not render or end a subscription. The token ends it:
    // destroying the token waits for a running call. The registry outlives the token.
    using Collector = std::function<void(Collection&)>;
    class Subscription;
    [[nodiscard]] std::unique_ptr<Subscription> collect(Collector collector);

    [[nodiscard]] std::string render(Exposition exposition);

  private:
    Result<detail::FamilyCore*> family(Desc desc, int kind, std::vector<double> bounds);
    void count_dropped(std::string_view family, uint64_t n);

    std::mutex scrape_mutex_;  // before mutex_
    std::map<uint64_t, Collector> collectors_;
    uint64_t next_collector_ = 0;
    std::mutex mutex_;
    std::map<std::string, std::unique_ptr<detail::FamilyCore>> families_;
};

class Registry::Subscription {
  public:
    Subscription(Registry& registry, uint64_t id) : registry_(registry), id_(id) {}
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

  private:
    Registry& registry_;
    uint64_t id_;
};

// Does an Accept header name OpenMetrics? The content type to answer with; the contract's body is OpenMetrics text either way.
[[nodiscard]] bool accepts_openmetrics(std::string_view accept) noexcept;
[[nodiscard]] std::string_view content_type(bool openmetrics) noexcept;

}  // namespace warren::base::metrics
