// SPDX-License-Identifier: Apache-2.0
#include "agent/node/departure.h"

#include "agent/kube/resource.h"

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

namespace warren::node {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr auto kAskAgain = 500ms;

const kube::Resource kDaemonSets = {"apps", {"v1"}, "daemonsets", "DaemonSet"};
const kube::Resource kPods = {"", {"v1"}, "pods", "Pod"};

base::MonoTime now() { return std::chrono::steady_clock::now(); }

// deletionTimestamp of an object, by its text.
base::Result<bool> is_going(const std::string& body) {
    const json object = json::parse(body, nullptr, false);
    if (!object.is_object() || !object.contains("metadata") || !object["metadata"].is_object())
        return base::Error{base::Errc::Protocol, 0, "", "the answer is no object"};
    const auto& meta = object["metadata"];
    return meta.contains("deletionTimestamp") && !meta["deletionTimestamp"].is_null();
}

// Names of the pods, with commas; empty: none.
base::Result<std::string> pods_left(kube::Client& client, const DaemonSetName& set, std::string_view selector) {
    const std::string path =
        kube::collection_path(kPods, kPods.versions.front(), set.ns) + "?labelSelector=" + kube::percent_encoded(selector);
    const json list = json::parse(TRY(client.get(path)), nullptr, false);
    if (!list.is_object() || !list.contains("items") || !list["items"].is_array())
        return base::Error{base::Errc::Protocol, 0, "", "the answer is no list of pods"};
    std::string names;
    for (const json& pod : list["items"]) {
        const json* meta = pod.is_object() && pod.contains("metadata") ? &pod["metadata"] : nullptr;
        const std::string name = meta != nullptr && meta->is_object() && meta->contains("name") && (*meta)["name"].is_string()
                                     ? (*meta)["name"].get<std::string>()
                                     : std::string("?");
        names += (names.empty() ? "" : ", ") + name;
    }
    return names;
}

}  // namespace

base::Result<DaemonSetName> DaemonSetName::parse(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size() || text.find('/', slash + 1) != std::string_view::npos)
        return base::invalid("'" + std::string(text) + "' is not NAMESPACE/NAME");
    return DaemonSetName{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

base::Result<Departure> departure_of(kube::Client& client, const DaemonSetName& self, base::MonoTime deadline) {
    const kube::Request request{.path = kube::object_path(kDaemonSets, self.ns, self.name)};
    for (;;) {
        std::optional<base::Error> why;
        const auto reply = client.exchange(request);
        if (!reply) {
            why = reply.error();
        } else if (reply->status == 404 || reply->status == 401) {
            return Departure::Removed;
        } else if (reply->ok()) {
            auto going = is_going(reply->body);
            if (going) return *going ? Departure::Removed : Departure::Replaced;
            why = std::move(going).error();
        } else {
            why = kube::error_of(request, *reply);
        }
        if (now() + kAskAgain >= deadline) return std::move(*why).with("DaemonSet " + self.ns + "/" + self.name);
        std::this_thread::sleep_for(kAskAgain);
    }
}

base::Result<void> retire(kube::Client& client, const DaemonSetName& set, std::string_view selector, base::MonoTime deadline) {
    // In the foreground: until the last pod has gone it is there, with a deletion time that the pods' agents see.
    const kube::Request remove{.method = kube::Method::Delete,
                               .path = kube::object_path(kDaemonSets, set.ns, set.name),
                               .body = R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"})"};
    for (bool asked = false;;) {
        std::string left;
        if (!asked) {
            const auto reply = client.exchange(remove);
            asked = reply && (reply->ok() || reply->status == 404);
            if (!asked) left = reply ? kube::error_of(remove, *reply).message() : reply.error().message();
        }
        if (asked) {
            auto pods = pods_left(client, set, selector);
            left = pods ? *pods : pods.error().message();
            if (pods && left.empty()) return {};
        }
        if (now() + kAskAgain >= deadline)
            return base::Error{base::Errc::Timeout, 0, "retire", "DaemonSet " + set.ns + "/" + set.name + " still has: " + left};
        std::this_thread::sleep_for(kAskAgain);
    }
}

}  // namespace warren::node
