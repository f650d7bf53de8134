// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_metrics.h"

#include "agent/node/flow_names.h"
#include "policy/traffic_labels.h"

#include <array>
#include <utility>
#include <vector>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

// As many kinds of traffic as the families hold; beyond it the registry's own "overflow" series take the rest.
constexpr size_t kMaxKinds = 5'000;

const std::vector<double> kConnectBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5};
const std::vector<double> kDurationBounds = {0.001, 0.01, 0.1, 1, 10, 60, 600, 3600};

std::string workload_of(const v1::Endpoint& end) { return end.workload().empty() ? "unknown" : end.workload(); }
std::string namespace_of(const v1::Endpoint& end) { return end.namespace_().empty() ? "unknown" : end.namespace_(); }

}  // namespace

base::Result<FlowMetrics> FlowMetrics::create(base::metrics::Registry& registry) {
    const std::vector<std::string> ends = {"direction",           "path", "source_namespace", "source_workload", "destination_namespace",
                                           "destination_workload"};
    auto with = [&ends](std::initializer_list<const char*> more) {
        std::vector<std::string> labels = ends;
        labels.insert(labels.end(), more.begin(), more.end());
        return labels;
    };
    auto istio = [](const char* name, const char* help) {
        return base::metrics::Desc{name, help, policy::traffic_label_names(), policy::locality_label_names()};
    };
    Families families{
        TRY(registry.counter({"warren_flows_opened_total", "Connections opened, by who talks to whom and over which path", ends})),
        TRY(registry.counter({"warren_flows_closed_total", "Connections ended, by what ended them", with({"reason"})})),
        TRY(registry.counter({"warren_flow_bytes_total", "Application bytes, sent: towards the destination", with({"way"})})),
        TRY(registry.counter({"warren_flow_retransmits_total", "TCP segments sent again on the socket towards the destination", ends})),
        TRY(registry.counter({"warren_flows_denied_total", "Connections refused or ended by policy", with({"policy", "reason"})})),
        TRY(registry.histogram({"warren_flow_connect_seconds", "Time from SYN to established, native paths", {"path"}}, kConnectBounds)),
        TRY(registry.histogram({"warren_flow_duration_seconds", "Age of connections at their end", {"path"}}, kDurationBounds)),
        TRY(registry.counter(istio("istio_tcp_connections_opened_total", "The total number of TCP connections opened."))),
        TRY(registry.counter(istio("istio_tcp_connections_closed_total", "The total number of TCP connections closed."))),
        TRY(registry.counter(
            istio("istio_tcp_sent_bytes_total", "The size of total bytes sent during response in case of a TCP connection."))),
        TRY(registry.counter(
            istio("istio_tcp_received_bytes_total", "The size of total bytes received during request in case of a TCP connection.")))};
    return FlowMetrics(std::move(families));
}

void FlowMetrics::report_direct(Kind& kind, const v1::Flow& flow, const policy::Snapshot* mesh) const {
    const policy::Baggage none;
    for (const char* reporter : {"source", "destination"}) {
        policy::TrafficLabels labels{.reporter = reporter,
                                     .source_baggage = none,
                                     .destination_baggage = none,
                                     .source_principal = flow.source().identity(),
                                     .destination_principal = flow.destination().identity(),
                                     .security = "attested"};
        if (mesh != nullptr) {
            labels.source = mesh->workload(flow.source().uid());
            labels.destination = mesh->workload(flow.destination().uid());
            if (const auto* entry = mesh->service(flow.destination_service()); entry != nullptr) labels.service = entry->service.get();
        }
        const policy::TrafficLabelValues values(labels);
        kind.direct.push_back({families_.tcp_opened.with(values.values()), families_.tcp_closed.with(values.values()),
                               families_.tcp_sent.with(values.values()), families_.tcp_received.with(values.values())});
    }
}

FlowMetrics::Kind FlowMetrics::make_kind(const v1::Flow& flow, const policy::Snapshot* mesh) const {
    const std::string from_ns = namespace_of(flow.source()), from = workload_of(flow.source());
    const std::string to_ns = namespace_of(flow.destination()), to = workload_of(flow.destination());
    const std::string_view direction = name_of(flow.direction()), path = name_of(flow.path());
    const std::array<std::string_view, 6> ends = {direction, path, from_ns, from, to_ns, to};
    auto with = [&ends](std::string_view more) {
        return std::array<std::string_view, 7>{ends[0], ends[1], ends[2], ends[3], ends[4], ends[5], more};
    };
    Kind kind;
    kind.opened = families_.opened.with(ends);
    kind.sent = families_.bytes.with(with("sent"));
    kind.received = families_.bytes.with(with("received"));
    kind.retransmits = families_.retransmits.with(ends);
    kind.connect_seconds = families_.connect_seconds.with({path});
    kind.duration_seconds = families_.duration_seconds.with({path});
    if (flow.has_end_time()) kind.closed = families_.closed.with(with(name_of(flow.close_reason())));
    if (flow.decision().verdict() == v1::VERDICT_DENIED || flow.close_reason() == v1::CLOSE_REASON_POLICY_CHANGED) {
        const std::string& policy = flow.decision().policy();
        const std::array<std::string_view, 8> labels = {ends[0],
                                                        ends[1],
                                                        ends[2],
                                                        ends[3],
                                                        ends[4],
                                                        ends[5],
                                                        policy.empty() ? std::string_view("none") : policy,
                                                        flow.decision().reason()};
        kind.denied = families_.denied.with(labels);
    }
    // One that was refused at connect was never a connection.
    if (flow.path() == v1::PATH_DIRECT && flow.close_reason() != v1::CLOSE_REASON_POLICY_DENIED) report_direct(kind, flow, mesh);
    return kind;
}

FlowMetrics::Kind& FlowMetrics::kind_of(const v1::Flow& flow, const policy::Snapshot* mesh) {
    std::string key;
    // The labels of istio_tcp_* are those of the records.
    if (flow.path() == v1::PATH_DIRECT)
        key = flow.source().uid() + '\n' + flow.destination().uid() + '\n' + flow.destination_service() + '\n';
    for (const v1::Endpoint* end : {&flow.source(), &flow.destination()}) {
        key += end->namespace_() + '\n' + end->workload() + '\n';
    }
    key += flow.decision().policy() + '\n' + flow.decision().reason() + '\n';
    key += {static_cast<char>(flow.direction()), static_cast<char>(flow.path()), static_cast<char>(flow.close_reason()),
            static_cast<char>(flow.decision().verdict()), flow.has_end_time() ? '1' : '0'};
    if (const auto found = kinds_.find(key); found != kinds_.end()) return found->second;
    if (kinds_.size() >= kMaxKinds) kinds_.clear();  // the series stay with the registry; only the shortcut is made again
    return kinds_.emplace(std::move(key), make_kind(flow, mesh)).first->second;
}

void FlowMetrics::count(const v1::Flow& flow, const FlowTable::Change& change, const policy::Snapshot* mesh) {
    if (!change.news) return;
    Kind& kind = kind_of(flow, mesh);
    for (const Reported& side : kind.direct) {
        if (change.opened) side.opened->add();
        if (change.closed) side.closed->add();
        // As the reference counts: sent is what the destination's application sent, received what it got (contract 9.2).
        if (change.to_source != 0) side.sent->add(change.to_source);
        if (change.to_destination != 0) side.received->add(change.to_destination);
    }
    if (change.opened) kind.opened->add();
    if (change.to_destination != 0) kind.sent->add(change.to_destination);
    if (change.to_source != 0) kind.received->add(change.to_source);
    if (!change.closed) return;
    if (kind.closed) kind.closed->add();
    if (kind.denied) kind.denied->add();
    if (flow.retransmits() != 0) kind.retransmits->add(flow.retransmits());
    if (flow.has_connect_latency_us()) kind.connect_seconds->observe(flow.connect_latency_us() / 1e6);
    kind.duration_seconds->observe(static_cast<double>(time_ns(flow.end_time()) - time_ns(flow.start_time())) / 1e9);
}

}  // namespace warren::node
