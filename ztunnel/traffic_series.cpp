// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/traffic_series.h"

#include <utility>

namespace warren::ztunnel {
namespace {

Counter& lazily(std::array<std::shared_ptr<Counter>, kResponseFlags>& made, const LabelFacts& facts, ResponseFlag flag,
                const base::metrics::Family<Counter>& family) {
    auto& series = made[static_cast<size_t>(flag) % kResponseFlags];
    if (!series) series = family.with(policy::TrafficLabelValues(labels_of(facts, flag)).values());
    return *series;
}

}  // namespace

base::Result<SeriesFamilies> SeriesFamilies::declare(base::metrics::Registry& registry, size_t limit) {
    const auto desc = [&](const char* name, const char* help) {
        return base::metrics::Desc{name, help, policy::traffic_label_names(), policy::locality_label_names(), limit};
    };
    return SeriesFamilies{TRY(registry.counter(desc("istio_tcp_connections_opened_total", "The total number of TCP connections opened."))),
                          TRY(registry.counter(desc("istio_tcp_connections_closed_total", "The total number of TCP connections closed."))),
                          TRY(registry.counter(desc("istio_tcp_sent_bytes_total",
                                                    "The size of total bytes sent during response in case of a TCP connection."))),
                          TRY(registry.counter(desc("istio_tcp_received_bytes_total",
                                                    "The size of total bytes received during request in case of a TCP connection."))),
                          TRY(registry.counter(desc("istio_tcp_connections_failed_total",
                                                    "The total number of TCP connections that failed to establish (unstable).")))};
}

void SeriesFamilies::make_room(size_t limit) const {
    for (const auto* family : {&opened, &closed, &sent, &received, &failed})
        if (family->size() > limit - limit / 10) family->remove_unused();
}

SeriesSet::SeriesSet(const TrafficFacts& f, const SeriesFamilies& families) : facts(f) {
    const policy::TrafficLabelValues values(labels_of(facts, ResponseFlag::None));
    opened = families.opened.with(values.values());
    sent = families.sent.with(values.values());
    received = families.received.with(values.values());
}

Counter& SeriesSet::closed_with(ResponseFlag flag, const SeriesFamilies& families) { return lazily(closed, facts, flag, families.closed); }
Counter& SeriesSet::failed_with(ResponseFlag flag, const SeriesFamilies& families) { return lazily(failed, facts, flag, families.failed); }

std::shared_ptr<SeriesSet> SeriesCache::find(const TrafficFacts& facts, const SeriesFamilies& families) {
    if (const auto at = young_.find(facts); at != young_.end()) {
        (*at)->facts.renew(facts);  // neither hash nor equality hang on the records themselves
        return *at;
    }
    if (young_.size() >= capacity_) {
        old_ = std::move(young_);
        young_.clear();
    }
    if (const auto at = old_.find(facts); at != old_.end()) {
        (*at)->facts.renew(facts);
        return *young_.insert(std::move(old_.extract(at).value())).first;
    }
    return *young_.insert(std::make_shared<SeriesSet>(facts, families)).first;
}

}  // namespace warren::ztunnel
