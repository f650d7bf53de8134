// SPDX-License-Identifier: Apache-2.0
// The status page: one JSON object.
#include "agent/cluster/controller.h"
#include "agent/cluster/controller_http.h"

#include <nlohmann/json.hpp>

namespace warren::cluster {

namespace {

using Json = nlohmann::ordered_json;

std::string time_text(base::WallTime time) { return time == base::WallTime{} ? std::string() : base::to_rfc3339(time, 0); }

double seconds(std::chrono::nanoseconds value) { return std::chrono::duration<double>(value).count(); }

Json source_json(const SourceStatus& s) {
    Json out = {{"synced", s.synced}, {"deliveries", s.deliveries}, {"errorCount", s.error_count}, {"errors", s.errors}};
    out["objects"] = s.objects;
    out["counters"] = s.counters;
    return out;
}

Json mesh_json(const Publisher::Status& s) {
    return {{"workloads", s.workloads},
            {"services", s.services},
            {"policies", s.policies},
            {"bytes", s.bytes},
            {"publications", s.publications},
            {"publishedAt", time_text(s.published_at)},
            {"tookSeconds", seconds(s.took)},
            {"errorCount", s.error_count},
            {"errors", s.errors},
            {"warningCount", s.warning_count},
            {"warnings", s.warnings}};
}

Json client_json(const xds::ClientStatus& c) {
    Json types = Json::array();
    for (const xds::TypeStatus& t : c.types)
        types.push_back({{"type", t.type_url},
                         {"wildcard", t.wildcard},
                         {"names", t.names},
                         {"resources", t.held},
                         {"sent", t.sent_generation},
                         {"acked", t.acked_generation},
                         {"pending", t.pending},
                         {"pushes", t.pushes},
                         {"bytes", t.bytes},
                         {"acks", t.acks},
                         {"nacks", t.nacks},
                         {"lastNack", t.last_nack}});
    return {{"id", c.id},
            {"node", c.node_id},
            {"role", c.role},
            {"peer", c.peer},
            {"identity", c.identity},
            {"connectedSince", time_text(c.connected_since)},
            {"types", std::move(types)}};
}

Json certificates_json(const ControllerReport& r) {
    const IssuanceStats& s = *r.certificates;
    return {{"requests", s.requests.load()},
            {"issued", s.issued.load()},
            {"refused",
             {{"unauthenticated", s.unauthenticated.load()},
              {"notAllowed", s.not_allowed.load()},
              {"badRequest", s.bad_requests.load()},
              {"limited", s.limited.load()},
              {"overloaded", r.certificate_queue.overloaded},
              {"oversize", r.certificate_queue.oversize},
              {"failed", s.failed.load()},
              {"notAudited", s.unaudited.load()}}},
            {"waiting", r.certificate_queue.waiting},
            {"auditLines", {{"written", r.audit.written}, {"dropped", r.audit.dropped}, {"failed", r.audit.failed}}}};
}

Json authority_json(const ControllerReport& r) {
    constexpr const char* kPhases[] = {"steady", "overlap", "retiring"};
    return {{"phase", kPhases[static_cast<size_t>(r.rotation.phase)]},
            {"nextStep", time_text(r.rotation.next_step)},
            {"rootExpires", time_text(r.rotation.root_expires)},
            {"issuerExpires", time_text(r.rotation.issuer_expires)},
            {"trustVersion", r.trust_version},
            {"tokens", r.tokens},
            {"error", r.authority_error}};
}

}  // namespace

std::string status_json(const ControllerReport& r) {
    Json clients = Json::array();
    for (const xds::ClientStatus& client : r.clients) clients.push_back(client_json(client));
    Json out = {{"version", WARREN_VERSION},
                {"ready", r.pending.empty()},
                {"waitingFor", r.pending},
                {"source", source_json(r.source)},
                {"mesh", mesh_json(r.mesh)},
                {"clients", std::move(clients)},
                {"streams",
                 {{"open", r.xds.clients},
                  {"total", r.xds.streams},
                  {"admitted", r.gate->admitted.load()},
                  {"refused", r.gate->refused.load()},
                  {"limited", r.xds.refused},
                  {"denied", r.xds.denied},
                  {"timedOut", r.xds.timed_out},
                  {"acks", r.xds.acks},
                  {"nacks", r.xds.nacks},
                  {"lastConvergenceSeconds", seconds(r.xds.last_convergence)}}},
                {"certificates", certificates_json(r)},
                {"authority", authority_json(r)}};
    if (r.leader) out["leader"] = {{"leading", r.leader->leading}, {"holder", r.leader->holder}, {"error", r.leader->last_error}};
    if (r.addresses)
        out["serviceEntryAddresses"] = {
            {"taken", r.addresses->taken}, {"waiting", r.addresses->waiting}, {"error", r.addresses->last_error}};
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace warren::cluster
