// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/flow_query.h"

#include "tools/warren/duration.h"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace warren::tools {
namespace {

template <class List, class Holds>
bool any(const List& wanted, Holds&& holds) {
    return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), holds);
}

bool is_workload(const FlowEnd& end, const std::string& named) {
    return !named.empty() && (named == end.pod() || named == end.ns + '/' + end.workload);
}

bool is_end(const FlowEnd& end, const std::optional<base::SockAddr>& address, const std::string& wanted) {
    if (is_workload(end, wanted) || (!wanted.empty() && (wanted == end.identity || wanted == end.uid))) return true;
    if (!address) return false;
    const auto prefix = base::Cidr::parse(wanted);
    return prefix && prefix->contains(address->ip);
}

}  // namespace

void FlowQuery::add_to(CLI::App& command) {
    command.add_option("-n,--namespace", namespaces, "of either end; may be repeated")->type_name("NAMESPACE")->allow_extra_args(false);
    command.add_option("--workload", workloads, "either end: NAMESPACE/NAME of a pod or of its workload; may be repeated")
        ->type_name("NAME")
        ->allow_extra_args(false);
    command.add_option("--from", from, "source: NAMESPACE/NAME, spiffe://IDENTITY, address or prefix; may be repeated")
        ->type_name("END")
        ->allow_extra_args(false);
    command.add_option("--to", to, "destination: the same, or a service as NAMESPACE/HOSTNAME; may be repeated")
        ->type_name("END")
        ->allow_extra_args(false);
    command.add_option("--port", ports, "destination port as asked for; may be repeated")->type_name("PORT")->allow_extra_args(false);
    command.add_option("--verdict", verdicts, "allowed, denied or not_judged; may be repeated")
        ->type_name("VERDICT")
        ->allow_extra_args(false)
        ->check(CLI::IsMember({"allowed", "denied", "not_judged"}));
    command.add_option("--path", paths, "direct, tunnel, passthrough or plaintext; may be repeated")
        ->type_name("PATH")
        ->allow_extra_args(false)
        ->check(CLI::IsMember({"direct", "tunnel", "passthrough", "plaintext"}));
    command.add_option("--reason", reasons, "reason code, see docs/policy.md; may be repeated")
        ->type_name("REASON")
        ->allow_extra_args(false);
    command.add_option("--since", since, "only flows open or ended within this time: 30s, 5m, 2h")
        ->type_name("TIME")
        ->check([](const std::string& given) {
            const auto span = parse_duration(given);
            return span ? std::string() : span.error().message();
        });
}

base::Result<std::optional<base::WallTime>> FlowQuery::earliest(base::WallTime now) const {
    if (since.empty()) return std::optional<base::WallTime>();
    auto span = parse_duration(since);
    if (!span) return std::move(span).error().with("--since");
    return std::optional<base::WallTime>(now - *span);
}

bool FlowQuery::accepts(const FlowRecord& f, std::optional<base::WallTime> earliest) const {
    if (earliest && f.end && *f.end < *earliest) return false;
    const auto& to_address = f.destination_address ? f.destination_address : f.requested_address;
    return any(namespaces, [&](const std::string& ns) { return ns == f.source.ns || ns == f.destination.ns; }) &&
           any(workloads, [&](const std::string& w) { return is_workload(f.source, w) || is_workload(f.destination, w); }) &&
           any(from, [&](const std::string& end) { return is_end(f.source, f.source_address, end); }) &&
           any(to,
               [&](const std::string& end) {
                   return is_end(f.destination, to_address, end) || is_end({}, f.requested_address, end) ||
                          (!end.empty() && end == f.destination_service);
               }) &&
           any(ports, [&](uint16_t port) { return port == f.port(); }) &&
           any(verdicts, [&](const std::string& v) { return v == f.decision.verdict; }) &&
           any(paths, [&](const std::string& p) { return p == f.path; }) &&
           any(reasons, [&](const std::string& r) { return r == f.decision.reason; });
}

}  // namespace warren::tools
