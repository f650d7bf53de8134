// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/access_log.h"

#include "ztunnel/traffic_labels.h"

#include <optional>
#include <string>

namespace warren::ztunnel {
namespace {

using base::log::Field;
using base::log::Level;
using base::log::Plain;

const base::log::Area kAccess("access");
const base::log::Area kPolicy("policy");

using OptionalText = std::optional<std::string_view>;

OptionalText some(std::string_view text) { return text.empty() ? OptionalText() : OptionalText(text); }

// One end: the pod's name from its record, else what the headers told.
struct End {
    OptionalText workload, ns, cluster;
};
End end_of(const policy::Workload* w, const policy::Baggage& b) {
    if (w != nullptr) return {some(w->name), some(w->ns), some(w->cluster_id)};
    return {some(b.workload_name), some(b.ns), some(b.cluster)};
}

// The fields that every line of a connection begins with. Borrows from the facts.
struct Head {
    explicit Head(const TrafficFacts& f)
        : src(f.src.to_string()),
          dst(f.dst.to_string()),
          from(end_of(f.src_workload.get(), f.src_baggage)),
          to(end_of(f.dst_workload.get(), f.dst_baggage)) {}
    std::string src, dst;
    End from, to;
};

OptionalText identity(const TrafficFacts& f, const std::string& uri) { return f.mutual_tls ? some(uri) : OptionalText(); }
std::optional<Plain> hbone_addr(const TrafficFacts& f) {
    return f.hbone_addr.empty() ? std::optional<Plain>() : std::optional<Plain>(Plain{f.hbone_addr});
}
OptionalText hostname(const TrafficFacts& f) { return f.dst_service ? some(f.dst_service->hostname) : OptionalText(); }

OptionalText key_of(const policy::Policy* policy) { return policy != nullptr ? some(policy->key()) : OptionalText(); }

struct Verdict {
    std::string_view word;
    std::string_view reason;
    const policy::Policy* policy;
};
std::optional<Verdict> dry_run_verdict(const policy::Decision& d) {
    using policy::DryRun, policy::Reason;
    switch (d.dry_run) {
        case DryRun::None: break;
        case DryRun::WouldDeny: return Verdict{"denied", policy::to_string(Reason::DeniedByPolicy), d.dry_run_policy};
        case DryRun::WouldAllow: return Verdict{"allowed", policy::to_string(Reason::AllowedByPolicy), d.dry_run_policy};
        case DryRun::WouldDenyNoMatch: return Verdict{"denied", policy::to_string(Reason::DeniedNoAllowMatched), d.dry_run_policy};
    }
    return std::nullopt;
}

// What a policy sees: the peer of the socket, and the pod's own address and port (contract 6.2).
void write_decision(const TrafficFacts& f, Level level, std::string_view message, const Verdict& v) {
    if (!kPolicy.enabled(level)) return;
    kPolicy.write(level, message,
                  {{"policy", key_of(v.policy)},
                   {"decision", v.word},
                   {"reason", v.reason},
                   {"src.addr", Plain{f.src.to_string()}},
                   {"src.identity", identity(f, f.src_identity)},
                   {"dst.addr", Plain{f.original_dst.to_string()}}});
}

}  // namespace

void log_decision(const TrafficFacts& f, const policy::Decision& d, Level level) {
    const Level own = d.reason == policy::Reason::AllowedNoAllowPolicy ? Level::Debug : level;
    write_decision(f, own, "policy decision", {d.allowed ? "allowed" : "denied", policy::to_string(d.reason), d.policy});
    if (const auto dry = dry_run_verdict(d)) write_decision(f, level, "dry-run policy decision", *dry);
}

// The keys stand twice: an initializer list cannot be taken over from elsewhere, and nothing else writes this line.
void log_opened(const TrafficFacts& f) {
    if (!kAccess.enabled(Level::Debug)) return;
    const Head h(f);
    kAccess.write(Level::Debug, "connection opened",
                  {{"src.addr", Plain{h.src}},
                   {"src.workload", h.from.workload},
                   {"src.namespace", h.from.ns},
                   {"src.identity", identity(f, f.src_identity)},
                   {"src.cluster", h.from.cluster},
                   {"dst.addr", Plain{h.dst}},
                   {"dst.hbone_addr", hbone_addr(f)},
                   {"dst.service", hostname(f)},
                   {"dst.workload", h.to.workload},
                   {"dst.namespace", h.to.ns},
                   {"dst.identity", identity(f, f.dst_identity)},
                   {"dst.cluster", h.to.cluster},
                   {"direction", to_string(f.direction)}});
}

void log_complete(const TrafficFacts& f, const ConnectionEnd& end) {
    const Level level = end.error.empty() ? Level::Info : Level::Error;
    if (!kAccess.enabled(level)) return;
    const Head h(f);
    const std::string duration = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(end.duration).count()) + "ms";
    kAccess.write(level, "connection complete",
                  {{"src.addr", Plain{h.src}},
                   {"src.workload", h.from.workload},
                   {"src.namespace", h.from.ns},
                   {"src.identity", identity(f, f.src_identity)},
                   {"src.cluster", h.from.cluster},
                   {"dst.addr", Plain{h.dst}},
                   {"dst.hbone_addr", hbone_addr(f)},
                   {"dst.service", hostname(f)},
                   {"dst.workload", h.to.workload},
                   {"dst.namespace", h.to.ns},
                   {"dst.identity", identity(f, f.dst_identity)},
                   {"dst.cluster", h.to.cluster},
                   {"direction", to_string(f.direction)},
                   {"bytes_sent", end.bytes_sent},
                   {"bytes_recv", end.bytes_received},
                   {"duration", duration},
                   {"error", some(end.error)},
                   {"policy", key_of(end.deciding)},
                   {"reason", some(end.reason)},
                   {"detail", some(end.detail)}});
}

void log_early_deny(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view error) {
    WARREN_LOG(kAccess, Level::Warn, "connection failed", {"src.addr", Plain{src.to_string()}}, {"dst.addr", Plain{dst.to_string()}},
               {"direction", to_string(direction)}, {"error", error});
}

}  // namespace warren::ztunnel
