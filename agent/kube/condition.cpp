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

namespace {

// True: the list is another one now.
bool put(json& list, const Condition& condition, int64_t generation, std::string_view now) {
    const auto of_type = [&](const json& present) {
        const auto type = present.is_object() ? present.find("type") : present.end();
        return present.is_object() && type != present.end() && *type == condition.type;
    };
    const auto at = std::find_if(list.begin(), list.end(), of_type);
    if (condition.absent) {
        if (at == list.end()) return false;
        list.erase(std::remove_if(at, list.end(), of_type), list.end());
        return true;
    }
    json wanted = {{"type", condition.type},
                   {"status", condition.status ? "True" : "False"},
                   {"reason", condition.reason},
                   {"message", condition.message},
                   {"lastTransitionTime", now}};
    if (generation != 0) wanted["observedGeneration"] = generation;
    if (at == list.end()) {
        list.push_back(std::move(wanted));
        return true;
    }
    if (at->value("status", json()) == wanted["status"] && at->contains("lastTransitionTime"))
        wanted["lastTransitionTime"] = (*at)["lastTransitionTime"];
    if (*at == wanted) return false;
    *at = std::move(wanted);
    return true;
}

}  // namespace

Result<std::optional<std::string>> condition_patch(std::string_view object, const Subject& subject, std::span<const Condition> conditions,
                                                   std::string_view now) {
    TRY(check_depth(object));
    try {
        const json root = json::parse(object);
        const json& meta = root.at("metadata");
        if (!subject.uid.empty() && meta.value("uid", "") != subject.uid) return std::optional<std::string>();
        json list = root.value("status", json::object()).value("conditions", json::array());
        if (!list.is_array()) list = json::array();
        bool changed = false;
        for (const Condition& condition : conditions) changed = put(list, condition, subject.generation, now) || changed;
        if (!changed) return std::optional<std::string>();
        const json patch = {{"metadata", {{"resourceVersion", meta.at("resourceVersion")}}}, {"status", {{"conditions", list}}}};
        return std::optional<std::string>(patch.dump(-1, ' ', false, json::error_handler_t::replace));
    } catch (const std::exception& e) {
        return base::invalid("not an object with a status: " + base::quoted(e.what()));
    }
}

Result<bool> write_conditions(Client& client, const Resource& resource, const Subject& subject, std::span<const Condition> conditions) {
    base::Error last;
    for (int attempt = 0; attempt < 3; ++attempt) {
        const Request get{.path = object_path(resource, subject.ns, subject.name)};
        const Reply reply = TRY(client.exchange(get));
        if (reply.status == 404) return false;
        if (!reply.ok()) return error_of(get, reply);
        const auto patch = TRY(condition_patch(reply.body, subject, conditions, base::to_rfc3339(std::chrono::system_clock::now(), 0)));
        if (!patch) return false;
        auto written = client.merge(object_path(resource, subject.ns, subject.name, "status"), *patch);
        if (written) return true;
        last = std::move(written).error();
        if (last.code == base::Errc::NotFound) return false;
        if (last.code != base::Errc::Exists) break;  // somebody else wrote in between: look again
    }
    return last;
}

}  // namespace warren::kube
