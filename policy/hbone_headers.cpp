// SPDX-License-Identifier: Apache-2.0
#include "policy/hbone_headers.h"

#include <algorithm>
#include <charconv>

namespace warren::policy {

namespace {

// What HTTP libraries accept as header text: visible ASCII, blank and tab.
bool is_text(std::string_view s) {
    return std::all_of(s.begin(), s.end(), [](char c) { return (c >= 0x20 && c <= 0x7e) || c == '\t'; });
}

std::string_view trim(std::string_view s) {
    const size_t begin = s.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return s.substr(begin, s.find_last_not_of(" \t") - begin + 1);
}

// Cuts the first piece off `rest`. nullopt when nothing is left.
std::optional<std::string_view> next_piece(std::optional<std::string_view>& rest, char separator) {
    if (!rest) return std::nullopt;
    const size_t end = rest->find(separator);
    const std::string_view piece = rest->substr(0, end);
    rest = end == std::string_view::npos ? std::nullopt : std::optional(rest->substr(end + 1));
    return piece;
}

std::optional<WorkloadType> type_of_key(std::string_view key) {
    for (const WorkloadType type : {WorkloadType::Deployment, WorkloadType::CronJob, WorkloadType::Pod, WorkloadType::Job})
        if (key.starts_with("k8s.") && key.ends_with(".name") && key.size() > 9 && key.substr(4, key.size() - 9) == to_string(type))
            return type;
    return std::nullopt;
}

void put(Baggage& baggage, std::string_view key, std::string_view value) {
    if (key == "k8s.cluster.name") {
        baggage.cluster = value;
    } else if (key == "k8s.namespace.name") {
        baggage.ns = value;
    } else if (key == "service.name") {
        baggage.service_name = value;
    } else if (key == "service.version") {
        baggage.service_version = value;
    } else if (key == "cloud.region") {
        baggage.region = value;
    } else if (key == "cloud.availability_zone") {
        baggage.zone = value;
    } else if (const auto type = type_of_key(key)) {
        baggage.workload_name = value;
        baggage.workload_type = value.empty() ? std::nullopt : type;
    }
}

// All of the field, not only as far as from_chars gets.
bool parse_hex(std::string_view digits, uint64_t& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
    return error == std::errc() && end == digits.data() + digits.size();
}

void append_hex(std::string& out, uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[value >> shift & 0xf];
}

}  // namespace

std::string_view to_string(WorkloadType type) {
    switch (type) {
        case WorkloadType::Deployment: return "deployment";
        case WorkloadType::CronJob: return "cronjob";
        case WorkloadType::Pod: return "pod";
        case WorkloadType::Job: return "job";
    }
    return "deployment";
}

std::string format_forwarded(const base::SockAddr& source, std::string_view service_hostname) {
    std::string out = "for=\"" + source.to_string() + '"';
    if (!service_hostname.empty() && is_text(service_hostname) && service_hostname.find_first_of("; \t\"") == std::string_view::npos)
        out.append(";host=").append(service_hostname);
    return out;
}

std::string_view parse_forwarded_host(std::string_view header) {
    if (!is_text(header)) return {};
    std::optional rest = header;
    while (const auto part = next_piece(rest, ';')) {
        std::string_view host = trim(*part);
        if (!host.starts_with("host=")) continue;
        host.remove_prefix(5);
        if (host.starts_with('"')) host.remove_prefix(1);
        if (host.ends_with('"')) host.remove_suffix(1);
        return host;
    }
    return {};
}

Baggage baggage_of(const Workload& w) {
    return {
        w.cluster_id.str(),      w.ns.str(),           w.workload_name.str(), w.type, w.canonical_name.str(), w.canonical_revision.str(),
        w.locality.region.str(), w.locality.zone.str()};
}

std::string format_baggage(const Baggage& b) {
    std::string out;
    auto add = [&](std::string_view key, std::string_view value) {
        if (value.empty() || !is_text(value) || value.find_first_of(",=") != std::string_view::npos) return;
        if (!out.empty()) out += ',';
        out.append(key).append("=").append(value);
    };
    add("k8s.cluster.name", b.cluster);
    add("k8s.namespace.name", b.ns);
    add("k8s." + std::string(to_string(b.workload_type.value_or(WorkloadType::Deployment))) + ".name", b.workload_name);
    add("service.name", b.service_name);
    add("service.version", b.service_version);
    add("cloud.region", b.region);
    add("cloud.availability_zone", b.zone);
    return out;
}

Baggage parse_baggage(std::span<const std::string_view> headers) {
    Baggage baggage;
    for (const std::string_view header : headers) {
        if (!is_text(header)) return {};
        std::optional rest = header;
        while (const auto item = next_piece(rest, ',')) {
            std::optional pieces = *item;
            const std::string_view key = *next_piece(pieces, '=');
            if (const auto value = next_piece(pieces, '=')) put(baggage, key, *value);
        }
    }
    return baggage;
}

TraceParent TraceParent::make(Random& random) {
    // An all-zero id is invalid to every tracing system; setting one bit of each costs nothing.
    return {random.next(), random.next() | 1, random.next() | 1};
}

std::optional<TraceParent> TraceParent::parse(std::string_view h) {
    if (h.size() != 55 || h[2] != '-' || h[35] != '-' || h[52] != '-') return std::nullopt;
    TraceParent out;
    uint64_t version = 0;
    uint64_t flags = 0;
    if (!parse_hex(h.substr(0, 2), version) || !parse_hex(h.substr(53), flags)) return std::nullopt;
    if (!parse_hex(h.substr(3, 16), out.trace_hi) || !parse_hex(h.substr(19, 16), out.trace_lo)) return std::nullopt;
    if (!parse_hex(h.substr(36, 16), out.span)) return std::nullopt;
    return out;
}

std::string TraceParent::to_string() const {
    std::string out = "00-";
    append_hex(out, trace_hi);
    append_hex(out, trace_lo);
    out += '-';
    append_hex(out, span);
    return out + "-00";
}

}  // namespace warren::policy
