// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/condition.h"

#include "agent/kube/json_text.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace warren::kube {

using base::Result;
using nlohmann::json;

Result<std::optional<std::string>> condition_patch(std::string_view object, const Condition& condition, std::string_view now) {
    TRY(check_depth(object));
    try {
        const json root = json::parse(object);
        const json& meta = root.at("metadata");
        json conditions = root.value("status", json::object()).value("conditions", json::array());
        if (!conditions.is_array()) conditions = json::array();
        json wanted = {{"type", condition.type},
                       {"status", condition.status ? "True" : "False"},
                       {"reason", condition.reason},
                       {"message", condition.message},
                       {"lastTransitionTime", now}};
        if (meta.contains("generation")) wanted["observedGeneration"] = meta["generation"];
        if (condition.absent) {
            const auto gone = std::remove_if(conditions.begin(), conditions.end(), [&](const json& present) {
                return present.is_object() && present.value("type", "") == condition.type;
            });
            if (gone == conditions.end()) return std::optional<std::string>();
            conditions.erase(gone, conditions.end());
        }
        bool found = condition.absent;
        for (json& present : conditions) {
            if (condition.absent || !present.is_object() || present.value("type", "") != condition.type) continue;
            found = true;
            if (present.value("status", json()) == wanted["status"] && present.contains("lastTransitionTime"))
                wanted["lastTransitionTime"] = present["lastTransitionTime"];
            if (present == wanted) return std::optional<std::string>();
            present = wanted;
        }
        if (!found) conditions.push_back(wanted);
        const json patch = {{"metadata", {{"resourceVersion", meta.at("resourceVersion")}}}, {"status", {{"conditions", conditions}}}};
        return std::optional<std::string>(patch.dump(-1, ' ', false, json::error_handler_t::replace));
    } catch (const std::exception& e) {
        return base::invalid("not an object with a status: " + base::quoted(e.what()));
    }
}

Result<void> write_condition(Client& client, const Resource& resource, const std::string& ns, const std::string& name,
                             const Condition& condition) {
    base::Error last;
    for (int attempt = 0; attempt < 3; ++attempt) {
        const Request get{.path = object_path(resource, ns, name)};
        const Reply reply = TRY(client.exchange(get));
        if (reply.status == 404) return {};
        if (!reply.ok()) return error_of(get, reply);
        const auto patch = TRY(condition_patch(reply.body, condition, base::to_rfc3339(std::chrono::system_clock::now(), 0)));
        if (!patch) return {};
        auto written = client.merge(object_path(resource, ns, name, "status"), *patch);
        if (written || written.error().code == base::Errc::NotFound) return {};
        last = std::move(written).error();
        if (last.code != base::Errc::Exists) break;  // somebody else wrote in between: look again
    }
    return last;
}

}  // namespace warren::kube
