// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/condition.h"

#include "agent/kube/condition_json.h"
#include "agent/kube/json_text.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <algorithm>

namespace warren::kube {

using base::Result;
using nlohmann::json;

json array_at(const json& object, const char* key) {
    const json out = object.is_object() ? object.value(key, json::array()) : json::array();
    return out.is_array() ? out : json::array();
}

json::const_iterator find_named(const json& list, const char* field, const std::string& name) {
    return std::find_if(list.begin(), list.end(), [&](const json& one) {
        const auto at = one.is_object() ? one.find(field) : one.end();
        return one.is_object() && at != one.end() && *at == name;
    });
}

json condition_json(const Condition& condition, const json& before, int64_t generation, std::string_view now) {
    json out = {{"type", condition.type},
                {"status", condition.status ? "True" : "False"},
                {"reason", condition.reason},
                {"message", condition.message},
                {"lastTransitionTime", now}};
    if (generation != 0) out["observedGeneration"] = generation;
    if (before.is_object() && before.value("status", json()) == out["status"] && before.contains("lastTransitionTime"))
        out["lastTransitionTime"] = before["lastTransitionTime"];
    return out;
}

namespace {

// True: the list is another one now.
bool put(json& list, const Condition& condition, int64_t generation, std::string_view now) {
    const auto index = static_cast<size_t>(find_named(list, "type", condition.type) - list.cbegin());
    const bool there = index < list.size();
    if (condition.absent) {
        if (there) list.erase(index);
        return there;
    }
    json wanted = condition_json(condition, there ? list[index] : json(), generation, now);
    if (there && list[index] == wanted) return false;
    if (there)
        list[index] = std::move(wanted);
    else
        list.push_back(std::move(wanted));
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
        json list = array_at(root.value("status", json::object()), "conditions");
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
