// SPDX-License-Identifier: Apache-2.0
// The counters of the traffic metrics and the cache that finds a connection's in a fraction of a microsecond. A SeriesCache belongs to
// one shard of traffic_recorder.cpp and is called under its lock; SeriesFamilies and the counters may be used by any thread.
#pragma once

#include "base/metrics.h"
#include "base/result.h"
#include "ztunnel/traffic_labels.h"

#include <array>
#include <cstddef>
#include <memory>
#include <unordered_set>

namespace warren::ztunnel {

using base::metrics::Counter;

struct SeriesFamilies {
    base::metrics::Family<Counter> opened, closed, sent, received, failed;
    static base::Result<SeriesFamilies> declare(base::metrics::Registry& registry, size_t limit);
    // Near the limit, series that nobody holds make room; a scraper has seen their last values.
    void make_room(size_t limit) const;
};

// The series of one set of label facts. opened, sent and received always carry the flag "-".
struct SeriesSet {
    LabelFacts facts;
    std::shared_ptr<Counter> opened, sent, received;
    // Made when they are first needed.
    std::array<std::shared_ptr<Counter>, kResponseFlags> closed, failed;
    SeriesSet(const TrafficFacts& f, const SeriesFamilies& families);
    Counter& closed_with(ResponseFlag flag, const SeriesFamilies& families);
    Counter& failed_with(ResponseFlag flag, const SeriesFamilies& families);
};

// Two generations: when the young one is full it becomes the old one, and what is found there moves up. What has not been asked for
// during a whole generation goes.
class SeriesCache {
  public:
    explicit SeriesCache(size_t capacity) : capacity_(capacity) {}
    std::shared_ptr<SeriesSet> find(const TrafficFacts& facts, const SeriesFamilies& families);
    [[nodiscard]] size_t size() const { return young_.size() + old_.size(); }

  private:
    using Entry = std::shared_ptr<SeriesSet>;
    struct Hash {
        using is_transparent = void;
        size_t operator()(const TrafficFacts& f) const noexcept { return hash_of(f); }
        size_t operator()(const Entry& e) const noexcept { return hash_of(e->facts); }
    };
    struct Equal {
        using is_transparent = void;
        bool operator()(const Entry& a, const Entry& b) const { return a == b; }
        bool operator()(const TrafficFacts& f, const Entry& e) const { return e->facts.same(f); }
        bool operator()(const Entry& e, const TrafficFacts& f) const { return e->facts.same(f); }
    };
    using Generation = std::unordered_set<Entry, Hash, Equal>;

    size_t capacity_;
    Generation young_, old_;
};

}  // namespace warren::ztunnel
