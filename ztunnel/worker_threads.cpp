// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/worker_threads.h"

#include <algorithm>
#include <charconv>

namespace warren::ztunnel {
namespace {

constexpr uint32_t kMostCpus = 100'000;

std::optional<uint32_t> decimal(std::string_view text, uint32_t most) {
    uint32_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
    return value;
}

uint32_t share(uint32_t cpus, uint32_t percent) {
    return static_cast<uint32_t>((uint64_t{cpus} * percent + 99) / 100);  // rounded up
}

uint32_t wanted(const CpuFacts& f) {
    if (f.asked) {
        if (f.asked->percent) return share(f.cpus, f.asked->number);
        return f.asked->number == 0 ? f.cpus : f.asked->number;
    }
    if (f.concurrency) return *f.concurrency == 0 ? f.cpus : *f.concurrency;
    const uint32_t request = f.request.value_or(0);
    if (f.limit) return std::max(*f.limit, request);
    return std::max({share(f.cpus, 25), request, 2u});
}

}  // namespace

base::Result<WorkerCount> WorkerCount::parse(std::string_view text) {
    const bool percent = text.ends_with('%');
    if (percent) text.remove_suffix(1);
    const auto value = decimal(text, percent ? 100 : kMostWorkers);
    if (!value || (percent && *value == 0)) return base::invalid("");
    return WorkerCount{*value, percent};
}

uint32_t worker_threads(const CpuFacts& facts) { return std::clamp(wanted(facts), 1u, kMostWorkers); }

base::Result<uint32_t> parse_cpu_quantity(std::string_view text) {
    const bool milli = text.ends_with('m');
    if (milli) text.remove_suffix(1);
    const size_t point = text.find('.');
    const std::string_view rest = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
    const bool digits = std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; });
    if ((point != std::string_view::npos && (milli || rest.empty())) || !digits) return base::invalid("");
    const auto whole = decimal(text.substr(0, point), milli ? kMostCpus * 1000 : kMostCpus);
    if (!whole) return base::invalid("");
    if (milli) return (*whole + 999) / 1000;
    const bool more = std::any_of(rest.begin(), rest.end(), [](char c) { return c != '0'; });
    return *whole + (more ? 1 : 0);
}

}  // namespace warren::ztunnel
