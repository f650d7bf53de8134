// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/process_metrics.h"

#include "base/log.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <map>
#include <utility>

namespace warren::ztunnel {
namespace {

using base::metrics::Collection;

// Since Linux 6.2 the directory's size is the count; before, it is 0 and the entries are counted.
double open_descriptors() {
    struct stat dir{};
    if (::stat("/proc/self/fd", &dir) == 0 && dir.st_size > 0) return static_cast<double>(dir.st_size);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir("/proc/self/fd"), &::closedir);
    if (!entries) return 0;
    double count = -3;  // "." and "..", and the directory itself
    while (::readdir(entries.get()) != nullptr) ++count;
    return count;
}

void collect_process(Collection& to, const std::string& version) {
    rlimit limit{};
    to.gauge("process_open_fds", "Number of open file descriptors", {}, open_descriptors());
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
        to.gauge("process_max_fds", "Maximum number of file descriptors", {}, static_cast<double>(limit.rlim_cur));
    to.gauge("istio_build", "Istio component build info.", {{"component", "ztunnel"}, {"tag", version}}, 1);
    const base::log::Stats log = base::log::stats();
    const char* const help = "Log lines by what became of them (unstable).";
    to.counter("warren_log_lines_total", help, {{"outcome", "written"}}, static_cast<double>(log.written));
    to.counter("warren_log_lines_total", help, {{"outcome", "dropped"}}, static_cast<double>(log.dropped));
    to.counter("warren_log_lines_total", help, {{"outcome", "failed"}}, static_cast<double>(log.failed));
}

void collect_pods(Collection& to, const PodGauges& pods) {
    to.gauge("workload_manager_active_proxy_count", "The total number current workloads with active proxies (unstable).", {},
             static_cast<double>(pods.active));
    to.gauge("workload_manager_pending_proxy_count", "The total number current workloads with pending proxies (unstable).", {},
             static_cast<double>(pods.pending));
    to.counter("workload_manager_proxies_started_total", "The total number of proxies that were started (unstable).", {},
               static_cast<double>(pods.started));
    to.counter("workload_manager_proxies_stopped_total", "The total number of proxies that were stopped (unstable).", {},
               static_cast<double>(pods.stopped));
}

void collect_flows(Collection& to, const FlowGauges& flows) {
    to.counter("warren_flow_feed_flows_total", "Flows for the node agent by what became of them (unstable).", {{"outcome", "sent"}},
               static_cast<double>(flows.sent));
    to.counter("warren_flow_feed_flows_total", "Flows for the node agent by what became of them (unstable).", {{"outcome", "lost"}},
               static_cast<double>(flows.lost));
    to.counter("warren_flow_feed_sessions_total", "Connections to the node agent's flow socket (unstable).", {},
               static_cast<double>(flows.sessions));
    to.gauge("warren_flow_feed_connected", "Whether the node agent takes flows (unstable).", {}, flows.connected ? 1 : 0);
}

void collect_workers(Collection& to, const std::vector<WorkerGauges>& workers, std::map<std::string, uint64_t>& refusals) {
    uint64_t tunnels = 0;
    PodCounts pods;
    for (size_t i = 0; i < workers.size(); ++i) {
        const WorkerGauges& w = workers[i];
        const std::string name = std::to_string(i);
        to.counter("warren_worker_busy_seconds_total", "Time that a worker thread was busy (unstable).", {{"worker", name}},
                   static_cast<double>(w.busy_ns) / 1e9);
        to.gauge("warren_worker_connections", "Open connections of a worker thread (unstable).", {{"worker", name}},
                 static_cast<double>(w.connections));
        to.gauge("warren_buffer_chunks", "Buffers in use by a worker thread, 264 KiB each (unstable).", {{"worker", name}},
                 static_cast<double>(w.chunks_out));
        to.gauge("warren_worker_streams", "Open streams of inbound tunnels of a worker thread (unstable).", {{"worker", name}},
                 static_cast<double>(w.streams));
        to.gauge("warren_worker_descriptors", "Sockets that pods hold on a worker thread (unstable).", {{"worker", name}},
                 static_cast<double>(w.descriptors));
        to.gauge("warren_buffered_bytes", "Bytes that wait for applications of a worker thread's pods to read (unstable).",
                 {{"worker", name}}, static_cast<double>(w.buffered_bytes));
        tunnels += w.pooled_tunnels;
        pods.add(w.pods);
        constexpr std::array<const char*, kPodLimits> kNames{"connections_per_pod", "streams_per_pod", "descriptors_per_pod",
                                                             "handshakes_per_pod"};
        for (size_t k = 0; k < kPodLimits; ++k) refusals[kNames[k]] += w.pods.refused[k];
        refusals["buffer_chunks"] += w.chunks_refused;
        refusals["worker_tasks"] += w.tasks_refused;
        refusals["handshakes_per_worker"] += w.handshakes_refused;
    }
    to.counter("warren_accept_pauses_total", "Times a listener waited because the process had no descriptor left (unstable).", {},
               static_cast<double>(pods.accept_pauses));
    to.counter("warren_credit_held_total", "Times a peer's credit was held back for applications that do not read (unstable).", {},
               static_cast<double>(pods.credit_held));
    to.counter("warren_pool_dials_total", "Outbound tunnels dialled (unstable).", {}, static_cast<double>(pods.tunnel_dials));
    to.counter("warren_sources_without_record_total",
               "Connections and DNS queries of new pods that went on before their pod's record had come (unstable).", {},
               static_cast<double>(pods.stand_ins));
    to.gauge("warren_pool_tunnels", "Outbound tunnels that are open (unstable).", {}, static_cast<double>(tunnels));
}

}  // namespace

std::unique_ptr<base::metrics::Registry::Subscription> publish_process_metrics(base::metrics::Registry& registry, ProcessSources sources) {
    return registry.collect([s = std::move(sources)](Collection& to) {
        collect_process(to, s.istio_version);
        if (s.pods) collect_pods(to, s.pods());
        if (s.flows) collect_flows(to, s.flows());
        std::map<std::string, uint64_t> refusals;
        if (s.workers) collect_workers(to, s.workers(), refusals);
        if (s.refusals)
            for (const auto& [limit, n] : s.refusals()) refusals[limit] += n;
        for (const auto& other : s.others) other(to);
        for (const auto& [limit, n] : refusals)
            to.counter("warren_limit_refusals_total", "What a limit refused (unstable).", {{"limit", limit}}, static_cast<double>(n));
    });
}

}  // namespace warren::ztunnel
