// SPDX-License-Identifier: Apache-2.0
// What is written into the status of objects, and when, against a scripted API server.
#include "agent/cluster/status_writer.h"

#include "tests/agent/kube/http_server.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

using namespace warren;
using namespace warren::cluster;
using namespace std::chrono_literals;
using kube::eventually;
using kube::HttpServer;
using nlohmann::json;

namespace {

// Services of namespace "a" by name, as an API server keeps them.
struct Server {
    std::mutex mutex;
    std::map<std::string, json> objects;
    std::vector<std::string> asked;  // "GET NAME", "PATCH NAME"
    int conflicts = 0;               // this many patches come after somebody else's
    bool refuse = false;             // every patch
    HttpServer http{[this](const HttpServer::Request& request, HttpServer::Connection& c) { answer(request, c); }};
    kube::Client client{endpoint()};

    std::shared_ptr<kube::Endpoint> endpoint() {
        kube::KubeConfig config;
        config.server = http.url();
        auto made = kube::Endpoint::create(config);
        REQUIRE(made);
        return *made;
    }
    void add(const std::string& name, const json& conditions = json::array()) {
        const std::lock_guard lock(mutex);
        objects[name] = {{"metadata", {{"name", name}, {"uid", "u-" + name}, {"resourceVersion", "1"}}},
                         {"status", {{"conditions", conditions}}}};
    }
    void answer(const HttpServer::Request& request, HttpServer::Connection& c) {
        const std::lock_guard lock(mutex);
        std::string name = request.target.substr(request.target.find("/services/") + 10);
        name = name.substr(0, name.find('/'));
        asked.push_back(request.method + ' ' + name);
        const auto at = objects.find(name);
        if (at == objects.end()) return static_cast<void>(c.answer(404, "{}"));
        json& meta = at->second["metadata"];
        const auto next = [&] { meta["resourceVersion"] = std::to_string(std::stoi(meta["resourceVersion"].get<std::string>()) + 1); };
        if (request.method == "GET") return static_cast<void>(c.answer(200, at->second.dump()));
        if (refuse) return static_cast<void>(c.answer(403, R"({"kind":"Status","message":"no"})"));
        if (conflicts > 0) --conflicts, at->second["status"]["conditions"].push_back({{"type", "Theirs"}}), next();
        const json patch = json::parse(request.body);
        if (patch["metadata"]["resourceVersion"] != meta["resourceVersion"]) return static_cast<void>(c.answer(409, "{}"));
        next();
        at->second["status"] = patch["status"];
        c.answer(200, at->second.dump());
    }
    json conditions(const std::string& name) {
        const std::lock_guard lock(mutex);
        return objects[name]["status"]["conditions"];
    }
    std::vector<std::string> questions() {
        const std::lock_guard lock(mutex);
        return asked;
    }
};

StatusChange change(const std::string& name, const std::string& reason) {
    StatusChange out{ObjectKind::Service, "a/" + name, "u-" + name, 0, {}, {}, 0, false};
    if (!reason.empty()) out.told.push_back({ConditionType::WaypointBound, true, reason, "m"});
    return out;
}

}  // namespace

TEST_CASE("status writer: who writes in between is not overwritten") {
    Server server;
    server.add("s");
    server.conflicts = 1;
    StatusWriter writer(server.client, [] { return true; });
    writer.start();
    writer.update({change("s", "R")});
    REQUIRE(eventually([&] { return writer.stats().writes == 1; }, 30s));
    CHECK(server.questions() == std::vector<std::string>{"GET s", "PATCH s", "GET s", "PATCH s"});
    REQUIRE(server.conditions("s").size() == 2);
    CHECK(server.conditions("s")[0]["type"] == "Theirs");
    CHECK(server.conditions("s")[1]["reason"] == "R");
    CHECK(writer.stats().errors == 0);
}

TEST_CASE("status writer: what fails waits and holds up nothing else") {
    Server server;
    for (const char* name : {"s", "t", "u"}) server.add(name);
    server.refuse = true;
    StatusWriter writer(server.client, [] { return true; });
    writer.start();
    const auto began = std::chrono::steady_clock::now();
    writer.update({change("s", "R")});
    REQUIRE(eventually([&] { return writer.stats().errors == 1; }, 30s));
    // Others' changes wake the writer, and are no reason to try it again.
    for (const std::string name : {"t", "u"}) {
        const uint64_t errors = writer.stats().errors;
        writer.update({change(name, "R")});
        REQUIRE(eventually([&] { return writer.stats().errors > errors; }, 30s));
    }
    const auto asked = server.questions();
    if (std::chrono::steady_clock::now() - began < 3s) CHECK(std::count(asked.begin(), asked.end(), "PATCH s") == 1);
    {
        const std::lock_guard lock(server.mutex);
        server.refuse = false;
    }
    CHECK(eventually([&] { return writer.stats().waiting == 0; }, 60s));
    CHECK(server.conditions("s").size() == 1);
}

TEST_CASE("status writer: what no longer applies goes, even when more is told before it went") {
    Server server;
    server.add("s", json::parse(R"([{"type":"istio.io/WaypointBound"},{"type":"Theirs"},{"type":"istio.io/WaypointMissing"}])"));
    std::atomic<bool> leads = false;
    StatusWriter writer(server.client, [&] { return leads.load(); });
    StatusChange gone = change("s", "");
    gone.gone = set_of(ConditionType::WaypointBound) | set_of(ConditionType::WaypointMissing);
    writer.update({gone});
    writer.update({change("s", "R")});
    leads = true;
    writer.start();
    REQUIRE(eventually([&] { return writer.stats().waiting == 0; }, 30s));
    REQUIRE(server.conditions("s").size() == 2);
    CHECK(server.conditions("s")[0]["reason"] == "R");
    CHECK(server.conditions("s")[1]["type"] == "Theirs");
}

TEST_CASE("status writer: an object that is gone or another one is left alone") {
    Server server;
    server.add("s");
    StatusWriter writer(server.client, [] { return true; });
    StatusChange other = change("s", "R");
    other.uid = "of before";
    StatusChange removed = change("t", "");
    removed.removed = true;
    writer.update({other, change("t", "R")});
    writer.update({removed});
    writer.update({change("u", "R")});
    writer.start();
    REQUIRE(eventually([&] { return writer.stats().waiting == 0; }, 30s));
    CHECK(server.questions() == std::vector<std::string>{"GET s", "GET u"});
    CHECK(writer.stats().writes == 0);
    CHECK(writer.stats().errors == 0);
}
