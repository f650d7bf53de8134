// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace warren::base::metrics {

namespace detail {

enum Kind : int { kCounter, kDoubleCounter, kGauge, kDoubleGauge, kHistogram };
constexpr std::string_view kDropped = "warren_metrics_series_dropped_total";

Type type_of(int kind) {
    if (kind == kHistogram) return Type::Histogram;
    return kind == kCounter || kind == kDoubleCounter ? Type::Counter : Type::Gauge;
}

// One family, whatever its type: the maps and locks are compiled once. Series are shared_ptr<void> of the type that kind names.
class FamilyCore {
  public:
    using Values = std::span<const std::string_view>;

    FamilyCore(Desc desc, int kind, std::vector<double> bounds, FamilyCore* dropped)
        : desc_(std::move(desc)), kind_(kind), bounds_(std::make_shared<const std::vector<double>>(std::move(bounds))), dropped_(dropped) {}

    [[nodiscard]] const Desc& desc() const { return desc_; }
    [[nodiscard]] bool same(const Desc& d, int kind, const std::vector<double>& bounds) const {
        return kind == kind_ && d.labels == desc_.labels && d.optional_labels == desc_.optional_labels && bounds == *bounds_;
    }

    std::shared_ptr<void> find_or_make(Values values) {
        const bool fits = values.size() == desc_.labels.size() || values.size() == desc_.labels.size() + desc_.optional_labels.size();
        const std::string key = fits ? key_of(values) : std::string();
        const std::scoped_lock lock(mutex_);
        if (fits) {
            if (const auto at = nodes_.find(key); at != nodes_.end()) {
                at->second.unused_scrapes = 0;
                return at->second.series;
            }
            if (nodes_.size() < desc_.limit) return nodes_.emplace(key, Node{labels_of(values), make(), 0}).first->second.series;
        }
        if (!dropped_count_ && dropped_) dropped_count_ = std::static_pointer_cast<Counter>(dropped_->find_or_make(Values(&name_, 1)));
        if (dropped_count_) dropped_count_->add();
        if (!overflow_.series) {
            const std::vector<std::string_view> all(desc_.labels.size(), "overflow");
            overflow_ = Node{labels_of(all), make(), 0};
        }
        return overflow_.series;
    }

    bool remove(Values values) {
        const std::scoped_lock lock(mutex_);
        const auto at = nodes_.find(key_of(values));
        // Only the map holds it, and only find_or_make under this lock could hand it out again.
        if (at == nodes_.end() || at->second.series.use_count() > 1) return false;
        nodes_.erase(at);
        return true;
    }

    size_t remove_unused(unsigned scrapes) {
        const std::scoped_lock lock(mutex_);
        return std::erase_if(nodes_, [&](const auto& n) { return n.second.series.use_count() == 1 && n.second.unused_scrapes >= scrapes; });
    }

    size_t size() {
        const std::scoped_lock lock(mutex_);
        return nodes_.size() + (overflow_.series ? 1 : 0);
    }

    // Nothing when there are no series.
    void render(std::string& out, Exposition exposition) {
        std::vector<Node> nodes;
        {
            const std::scoped_lock lock(mutex_);
            nodes.reserve(nodes_.size() + 1);
            for (auto& [key, node] : nodes_) {
                node.unused_scrapes = node.series.use_count() == 1 ? node.unused_scrapes + 1 : 0;
                nodes.push_back(node);
            }
            if (overflow_.series) nodes.push_back(overflow_);
        }
        if (nodes.empty()) return;
        std::sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) { return a.labels < b.labels; });
        append_head(out, exposition, type_of(kind_), desc_.name, desc_.help);
        for (const Node& node : nodes) render(out, exposition, node);
    }

  private:
    struct Node {
        std::string labels;  // rendered
        std::shared_ptr<void> series;
        unsigned unused_scrapes = 0;
    };

    static std::string key_of(Values values) {
        std::string key;
        for (const std::string_view v : values) {
            const auto length = static_cast<uint32_t>(v.size());  // in front, so that no two lists have one key
            key.append(reinterpret_cast<const char*>(&length), sizeof length);
            key.append(v);
        }
        return key;
    }

    std::string labels_of(Values values) const {
        std::vector<Label> labels;
        for (size_t i = 0; i < values.size(); ++i)
            labels.emplace_back(i < desc_.labels.size() ? desc_.labels[i] : desc_.optional_labels[i - desc_.labels.size()], values[i]);
        std::string out;
        append_labels(out, labels);
        return out;
    }

    [[nodiscard]] std::shared_ptr<void> make() const {
        switch (kind_) {
            case kCounter: return std::make_shared<Counter>();
            case kDoubleCounter: return std::make_shared<DoubleCounter>();
            case kGauge: return std::make_shared<Gauge>();
            case kDoubleGauge: return std::make_shared<DoubleGauge>();
            default: return std::make_shared<Histogram>(bounds_);
        }
    }

    void render(std::string& out, Exposition exposition, const Node& node) const {
        const std::string& name = desc_.name;
        const void* series = node.series.get();
        switch (kind_) {
            case kCounter: return append_sample(out, name, node.labels, static_cast<const Counter*>(series)->value());
            case kDoubleCounter: return append_sample(out, name, node.labels, static_cast<const DoubleCounter*>(series)->value());
            case kGauge: return append_sample(out, name, node.labels, static_cast<const Gauge*>(series)->value());
            case kDoubleGauge: return append_sample(out, name, node.labels, static_cast<const DoubleGauge*>(series)->value());
            default: break;
        }
        const auto& h = *static_cast<const Histogram*>(series);
        uint64_t count = 0;  // the buckets as read, so that count and +Inf agree while others observe
        for (size_t i = 0; i <= bounds_->size(); ++i) {
            count += h.bucket(i);
            append_bucket(out, exposition, name, node.labels, i < bounds_->size() ? (*bounds_)[i] : INFINITY, count);
        }
        append_sample(out, name + "_sum", node.labels, h.sum());
        append_sample(out, name + "_count", node.labels, count);
    }

    const Desc desc_;
    const std::string_view name_ = desc_.name;
    const int kind_;
    const std::shared_ptr<const std::vector<double>> bounds_;
    FamilyCore* const dropped_;  // the registry's; null in that family itself

    std::mutex mutex_;  // before dropped_'s
    std::unordered_map<std::string, Node> nodes_;
    Node overflow_;
    std::shared_ptr<Counter> dropped_count_;
};

}  // namespace detail

Histogram::Histogram(std::shared_ptr<const std::vector<double>> bounds)
    : bounds_(std::move(bounds)), buckets_(std::make_unique<std::atomic<uint64_t>[]>(bounds_->size() + 1)) {}

void Histogram::observe(double value) noexcept {
    size_t i = 0;
    while (i < bounds_->size() && !(value <= (*bounds_)[i])) ++i;  // a handful of bounds; NaN lands in +Inf
    buckets_[i].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
}

template <class T>
std::shared_ptr<T> Family<T>::with(std::span<const std::string_view> values) const {
    return std::static_pointer_cast<T>(core_->find_or_make(values));
}
template <class T>
bool Family<T>::remove(std::initializer_list<std::string_view> values) const {
    return core_->remove({values.begin(), values.size()});
}
template <class T>
size_t Family<T>::remove_unused(unsigned scrapes) const {
    return core_->remove_unused(scrapes);
}
template <class T>
size_t Family<T>::size() const {
    return core_->size();
}
template class Family<Counter>;
template class Family<DoubleCounter>;
template class Family<Gauge>;
template class Family<DoubleGauge>;
template class Family<Histogram>;

void Collection::add(Type type, std::string_view name, std::string_view help, std::span<const Label> labels, double value) {
    const bool fits = valid_metric_name(name) && type != Type::Histogram && (type == Type::Counter) == name.ends_with("_total") &&
                      std::all_of(labels.begin(), labels.end(), [](const Label& l) { return valid_label_name(l.first); });
    auto at = groups_.find(name);
    if (fits && at == groups_.end()) at = groups_.emplace(name, Group{type, std::string(help), {}}).first;
    std::string text;
    append_labels(text, labels);
    if (fits && at->second.type == type && at->second.samples.size() < kMaxSeries &&
        at->second.samples.emplace(std::move(text), value).second)
        return;
    ++dropped_[std::string(name)];
}

Registry::Registry() {
    Desc desc{.name = std::string(detail::kDropped), .help = "Lookups and samples that found no series.", .labels = {"family"}};
    families_.emplace(desc.name, std::make_unique<detail::FamilyCore>(desc, detail::kCounter, std::vector<double>(), nullptr));
}
Registry::~Registry() = default;

Result<detail::FamilyCore*> Registry::family(Desc desc, int kind, std::vector<double> bounds) {
    if (!valid_metric_name(desc.name)) return invalid(fmt::format("metric \"{}\": not a metric name", desc.name));
    const bool counter = detail::type_of(kind) == Type::Counter;
    if (counter != desc.name.ends_with("_total"))
        return invalid(fmt::format("metric {}: {} \"_total\"", desc.name, counter ? "a counter ends in" : "only a counter ends in"));
    std::vector<std::string> names = desc.labels;
    names.insert(names.end(), desc.optional_labels.begin(), desc.optional_labels.end());
    std::sort(names.begin(), names.end());
    for (size_t i = 0; i < names.size(); ++i) {
        if (!valid_label_name(names[i]) || (kind == detail::kHistogram && names[i] == "le"))
            return invalid(fmt::format("metric {}: \"{}\" is not a label name", desc.name, names[i]));
        if (i > 0 && names[i] == names[i - 1]) return invalid(fmt::format("metric {}: label {} twice", desc.name, names[i]));
    }
    const bool ascends = std::adjacent_find(bounds.begin(), bounds.end(), [](double a, double b) { return !(a < b); }) == bounds.end();
    if (!ascends || !std::all_of(bounds.begin(), bounds.end(), [](double b) { return std::isfinite(b); }))
        return invalid(fmt::format("metric {}: bucket bounds must ascend and be finite", desc.name));

    const std::scoped_lock lock(mutex_);
    if (const auto at = families_.find(desc.name); at != families_.end()) {
        if (at->second->same(desc, kind, bounds)) return at->second.get();
        return Error{Errc::Exists, 0, "", fmt::format("metric {}: registered with another type, labels or bounds", desc.name)};
    }
    detail::FamilyCore* dropped = families_.find(std::string(detail::kDropped))->second.get();
    auto core = std::make_unique<detail::FamilyCore>(std::move(desc), kind, std::move(bounds), dropped);
    detail::FamilyCore* raw = core.get();
    families_.emplace(raw->desc().name, std::move(core));
    return raw;
}

Result<Family<Counter>> Registry::counter(Desc desc) { return Family<Counter>(*TRY(family(std::move(desc), detail::kCounter, {}))); }
Result<Family<DoubleCounter>> Registry::double_counter(Desc desc) {
    return Family<DoubleCounter>(*TRY(family(std::move(desc), detail::kDoubleCounter, {})));
}
Result<Family<Gauge>> Registry::gauge(Desc desc) { return Family<Gauge>(*TRY(family(std::move(desc), detail::kGauge, {}))); }
Result<Family<DoubleGauge>> Registry::double_gauge(Desc desc) {
    return Family<DoubleGauge>(*TRY(family(std::move(desc), detail::kDoubleGauge, {})));
}
Result<Family<Histogram>> Registry::histogram(Desc desc, std::vector<double> bounds) {
    return Family<Histogram>(*TRY(family(std::move(desc), detail::kHistogram, std::move(bounds))));
}

std::unique_ptr<Registry::Subscription> Registry::collect(Collector collector) {
    const std::scoped_lock lock(scrape_mutex_);
    const uint64_t id = next_collector_++;
    collectors_.emplace(id, std::move(collector));
    return std::make_unique<Subscription>(*this, id);
}

Registry::Subscription::~Subscription() {
    const std::scoped_lock lock(registry_.scrape_mutex_);
    registry_.collectors_.erase(id_);
}

void Registry::count_dropped(std::string_view family, uint64_t n) {
    const std::scoped_lock lock(mutex_);
    detail::FamilyCore& core = *families_.find(std::string(detail::kDropped))->second;
    std::static_pointer_cast<Counter>(core.find_or_make({&family, 1}))->add(n);
}

std::string Registry::render(Exposition exposition) {
    const std::scoped_lock scrape(scrape_mutex_);
    Collection collected;
    for (const auto& [id, collector] : collectors_) collector(collected);
    for (const auto& [name, n] : collected.dropped_) count_dropped(name, n);

    std::map<std::string_view, std::string> page;  // families in the order of their names
    std::vector<detail::FamilyCore*> cores;
    {
        const std::scoped_lock lock(mutex_);
        for (const auto& [name, core] : families_) cores.push_back(core.get());
    }
    for (detail::FamilyCore* core : cores) {
        const std::string_view name = core->desc().name;
        if (const auto at = collected.groups_.find(name); at != collected.groups_.end()) {
            count_dropped(name, at->second.samples.size());
            collected.groups_.erase(at);
        }
    }
    for (detail::FamilyCore* core : cores) core->render(page[core->desc().name], exposition);
    for (const auto& [name, group] : collected.groups_) {
        std::string& out = page[name];
        append_head(out, exposition, group.type, name, group.help);
        for (const auto& [labels, value] : group.samples) append_sample(out, name, labels, value);
    }
    std::string out;
    for (const auto& [name, text] : page) out += text;
    if (exposition == Exposition::OpenMetrics) out += "# EOF\n";
    return out;
}

bool accepts_openmetrics(std::string_view accept) noexcept { return accept.find("application/openmetrics-text") != std::string_view::npos; }

std::string_view content_type(bool openmetrics) noexcept {
    return openmetrics ? "application/openmetrics-text;charset=utf-8;version=1.0.0" : "text/plain; charset=utf-8";
}

}  // namespace warren::base::metrics
