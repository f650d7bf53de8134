// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/config_dump.h"

#include "base/clock.h"
#include "ztunnel/dump_mesh.h"
#include "ztunnel/dump_settings.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace warren::ztunnel {
namespace {

using nlohmann::json;

// Each record becomes text before the next is looked at: 100,000 workloads as one JSON value would take several times the memory.
class Pages {
  public:
    void value(std::string_view key, const json& j) {
        head(key);
        append(j, 2);
    }
    template <class Range, class Fn>
    void array(std::string_view key, const Range& range, Fn&& to_json) {
        head(key);
        const char* before = "[\n    ";
        for (const auto& item : range) {
            out_ += std::exchange(before, ",\n    ");
            append(to_json(item), 4);
        }
        out_ += range.empty() ? "[]" : "\n  ]";
    }
    std::string finish() && { return std::move(out_) + "\n}\n"; }

  private:
    void head(std::string_view key) {
        out_ += out_.empty() ? "{\n  \"" : ",\n  \"";
        out_.append(key).append("\": ");
    }
    // A JSON text has line feeds only between its tokens. Names of peers and of the control plane may be any bytes.
    void append(const json& j, size_t indent) {
        const std::string text = j.dump(2, ' ', false, json::error_handler_t::replace);
        for (size_t at = 0; at < text.size();) {
            const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
            out_.append(text, at, end - at);
            if (text[end - 1] == '\n') out_.append(indent, ' ');
            at = end;
        }
    }
    std::string out_;
};

std::string base64(std::string_view bytes) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t n = std::min<size_t>(3, bytes.size() - i);
        uint32_t group = 0;
        for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0u);
        for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

json certificates_json(const std::vector<CertificateInfo>& certificates) {
    json out = json::array();
    for (const CertificateInfo& c : certificates)
        out.push_back({{"pem", base64(c.pem)},
                       {"serialNumber", c.serial_decimal},
                       {"validFrom", base::to_rfc3339(c.not_before, 0)},
                       {"expirationTime", base::to_rfc3339(c.not_after, 0)}});
    return out;
}

json certificate_json(const CertState& state) {
    json out = {{"identity", state.identity.uri()}, {"state", state.state}, {"certChain", json::array()}, {"rootCerts", json::array()}};
    if (state.credential) {
        out["certChain"] = certificates_json(state.credential->chain());
        out["rootCerts"] = certificates_json(state.credential->roots());
    }
    return out;
}

json connection_json(const LiveConnection& c) {
    if (c.direction == Direction::Inbound)
        return {{"src", c.src.to_string()},
                {"originalDst", c.forwarded_host.empty() ? json() : json(c.forwarded_host)},
                {"actualDst", c.original_dst.to_string()},
                {"protocol", c.mutual_tls ? "HBONE" : "TCP"}};
    return {{"src", c.src.to_string()},
            {"originalDst", c.original_dst.to_string()},
            {"actualDst", c.dst.to_string()},
            {"protocol", c.kind == TunnelKind::Tcp     ? "TCP"
                         : c.kind == TunnelKind::Hbone ? "HBONE"
                                                       : "DOUBLEHBONE"}};
}

json pods_json(const DumpState& state) {
    std::map<std::pair<std::string_view, std::string_view>, std::vector<const LiveConnection*>> by_pod;
    for (const LiveConnection& c : state.connections)
        if (c.local) by_pod[{c.local->ns, c.local->name}].push_back(&c);
    json out = json::object();
    for (const PodState& p : state.pods) {
        const PodInfo& pod = *p.pod;
        json& to = out[pod.uid] = {{"state", p.up ? "Up" : "Pending"},
                                   {"info", {{"name", pod.name}, {"namespace", pod.ns}, {"serviceAccount", pod.service_account}}}};
        if (!p.up) continue;
        json& connections = to["connections"] = {{"inbound", json::array()}, {"outbound", json::array()}};
        const auto found = by_pod.find({pod.ns, pod.name});
        if (found == by_pod.end()) continue;
        for (const LiveConnection* c : found->second)
            connections[c->direction == Direction::Inbound ? "inbound" : "outbound"].push_back(connection_json(*c));
    }
    return out;
}

// Borrowed from the snapshot.
struct Mesh {
    std::vector<const policy::Workload*> workloads;
    std::vector<const policy::ServiceEntry*> services;
    std::vector<const policy::Policy*> policies;

    explicit Mesh(const policy::Snapshot* snapshot) {
        if (snapshot == nullptr) return;
        snapshot->each_workload([&](const policy::Workload& w) { workloads.push_back(&w); });
        snapshot->each_service([&](const policy::ServiceEntry& s) { services.push_back(&s); });
        snapshot->each_policy([&](const policy::Policy& p) { policies.push_back(&p); });
        std::sort(workloads.begin(), workloads.end(), [](const auto* a, const auto* b) { return a->uid < b->uid; });
        std::sort(services.begin(), services.end(), [](const auto* a, const auto* b) {
            return std::pair(a->service->hostname.view(), a->service->ns.view()) <
                   std::pair(b->service->hostname.view(), b->service->ns.view());
        });
        std::sort(policies.begin(), policies.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
    }
};

// As the local file has it: with the port mapping of each membership.
json static_workload_json(const policy::Workload& w) {
    json out = workload_json(w);
    json& services = out["services"] = json::object();
    for (const policy::WorkloadService& s : w.services) {
        json& ports = services[s.service.str()] = json::object();
        for (const policy::PortPair& p : s.ports) ports[std::to_string(p.service_port)] = p.target_port;
    }
    return out;
}

json static_json(const Mesh& mesh) {
    json out = {{"workloads", json::array()}, {"services", json::array()}, {"policies", json::array()}};
    for (const auto* w : mesh.workloads) out["workloads"].push_back(static_workload_json(*w));
    for (const auto* s : mesh.services) out["services"].push_back(service_json(*s));
    for (const auto* p : mesh.policies) out["policies"].push_back(policy_json(*p));
    return out;
}

json staged_json(const policy::Snapshot* snapshot) {
    json out = json::object();
    if (snapshot != nullptr)
        snapshot->each_staged([&](const policy::Text& key, const policy::ServiceEntry& e) { out[key.str()] = endpoints_json(e); });
    return out;
}

json version_json(const DumpState& state) {
    return {{"version", state.version},
            {"gitRevision", "unknown"},
            {"rustVersion", "none: " __VERSION__},
#ifdef NDEBUG
            {"buildProfile", "release"},
#else
            {"buildProfile", "debug"},
#endif
            {"buildStatus", "unknown"},
            {"istioVersion", state.settings != nullptr ? state.settings->istio_version : "unknown"},
            {"cryptoProvider", "openssl"}};
}

}  // namespace

std::string config_dump(const DumpState& state) {
    std::vector<const CertState*> certificates;
    for (const CertState& c : state.certificates) certificates.push_back(&c);
    std::sort(certificates.begin(), certificates.end(),
              [](const auto* a, const auto* b) { return a->identity.principal() < b->identity.principal(); });
    const Mesh mesh(state.mesh.get());
    Pages out;
    out.array("certificates", certificates, [](const CertState* c) { return certificate_json(*c); });
    if (state.settings != nullptr) out.value("config", settings_json(*state.settings));
    out.array("policies", mesh.policies, [](const policy::Policy* p) { return policy_json(*p); });
    out.array("services", mesh.services, [](const policy::ServiceEntry* s) { return service_json(*s); });
    out.value("stagedServices", staged_json(state.mesh.get()));
    out.value("staticConfig", static_json(Mesh(state.static_mesh.get())));
    out.value("version", version_json(state));
    if (state.settings == nullptr || state.settings->mode == ProxyMode::Shared) out.value("workloadState", pods_json(state));
    out.array("workloads", mesh.workloads, [](const policy::Workload* w) { return workload_json(*w); });
    return std::move(out).finish();
}

}  // namespace warren::ztunnel
