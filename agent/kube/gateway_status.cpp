// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/gateway_status.h"

#include "agent/kube/condition_json.h"
#include "agent/kube/json_text.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <algorithm>

namespace warren::kube {

using base::Result;
using nlohmann::json;

namespace {

constexpr std::string_view kManager = "warren-controller";

const Resource& gateways() {
    static const Resource out{"gateway.networking.k8s.io", {"v1"}, "gateways", "Gateway"};
    return out;
}

struct Stamp {
    int64_t generation;
    std::string_view now;
};

json conditions_of(const std::vector<Condition>& conditions, const json& live, const Stamp& stamp) {
    json out = json::array();
    for (const Condition& condition : conditions) {
        const auto at = find_named(live, "type", condition.type);
        out.push_back(condition_json(condition, at == live.end() ? json() : *at, stamp.generation, stamp.now));
    }
    return out;
}

json listeners_of(const GatewayStatus& status, const json& live, const Stamp& stamp) {
    json out = json::array();
    for (const GatewayStatus::Listener& listener : status.listeners) {
        const auto at = find_named(live, "name", listener.name);
        const json before = at == live.end() ? json::array() : array_at(*at, "conditions");
        out.push_back({{"name", listener.name},
                       {"attachedRoutes", 0},
                       {"supportedKinds", json::array()},
                       {"conditions", conditions_of(listener.conditions, before, stamp)}});
    }
    return out;
}

// Each of ours stands in the list as it is; others may stand there too.
bool holds(const json& live, const json& ours, const char* key) {
    return std::all_of(ours.begin(), ours.end(), [&](const json& one) {
        const auto at = find_named(live, key, one.at(key).get<std::string>());
        if (at == live.end()) return false;
        json rest = *at, wanted = one;
        if (std::string_view(key) == "name") {
            if (!holds(array_at(*at, "conditions"), one.at("conditions"), "type")) return false;
            rest.erase("conditions"), wanted.erase("conditions");
        }
        return rest == wanted;
    });
}

}  // namespace

Result<std::optional<std::string>> gateway_patch(std::string_view object, const Subject& subject, const GatewayStatus& status,
                                                 std::string_view now) {
    TRY(check_depth(object));
    try {
        const json root = json::parse(object);
        if (!subject.uid.empty() && root.at("metadata").value("uid", "") != subject.uid) return std::optional<std::string>();
        json live = root.value("status", json::object());
        if (!live.is_object()) live = json::object();
        const json conditions = array_at(live, "conditions"), listeners = array_at(live, "listeners");
        const Stamp stamp{subject.generation, now};
        json wanted = json::object();
        if (!status.conditions.empty()) {
            json addresses = json::array();
            for (const auto& [type, value] : status.addresses) addresses.push_back({{"type", type}, {"value", value}});
            wanted = {{"conditions", conditions_of(status.conditions, conditions, stamp)},
                      {"listeners", listeners_of(status, listeners, stamp)},
                      {"addresses", std::move(addresses)}};
            if (holds(conditions, wanted["conditions"], "type") && holds(listeners, wanted["listeners"], "name") &&
                listeners.size() == status.listeners.size() && array_at(live, "addresses") == wanted["addresses"])
                return std::optional<std::string>();
        }
        const json patch = {{"apiVersion", api_version(gateways(), "v1")},
                            {"kind", gateways().kind},
                            {"metadata", {{"namespace", subject.ns}, {"name", subject.name}}},
                            {"status", wanted}};
        return std::optional<std::string>(patch.dump(-1, ' ', false, json::error_handler_t::replace));
    } catch (const std::exception& e) {
        return base::invalid("not a Gateway: " + base::quoted(e.what()));
    }
}

Result<Applied> write_gateway_status(Client& client, const Subject& subject, const GatewayStatus& status) {
    const Request get{.path = object_path(gateways(), subject.ns, subject.name)};
    const Reply reply = TRY(client.exchange(get));
    if (reply.status == 404) return Applied::Unchanged;
    if (!reply.ok()) return error_of(get, reply);
    const auto patch = TRY(gateway_patch(reply.body, subject, status, base::to_rfc3339(std::chrono::system_clock::now(), 0)));
    if (!patch) return Applied::Unchanged;
    auto written = client.apply(object_path(gateways(), subject.ns, subject.name, "status"), *patch, kManager, Client::Force::No);
    if (written) return Applied::Written;
    if (written.error().code == base::Errc::NotFound) return Applied::Unchanged;
    if (written.error().code == base::Errc::Exists) return Applied::Left;
    return std::move(written).error();
}

}  // namespace warren::kube
