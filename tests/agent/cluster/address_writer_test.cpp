// SPDX-License-Identifier: Apache-2.0
// Addresses for hosts of ServiceEntries, written into their status, against a scripted API server.
#include "agent/cluster/address_writer.h"

#include "agent/cluster/object_store.h"
#include "tests/agent/kube/http_server.h"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace warren;
using namespace warren::cluster;
using namespace std::chrono_literals;
using kube::eventually;
using kube::HttpServer;
using nlohmann::json;

namespace {

struct Server {
    std::mutex mutex;
    std::vector<std::pair<std::string, json>> patches;  // of which entry, what
    std::string refused;                                // entry whose patches fail
    int missing = 0;                                    // the status of the answer, when not 0
    HttpServer http{[this](const HttpServer::Request& request, HttpServer::Connection& c) { answer(request, c); }};
    kube::Client client{endpoint()};

    std::shared_ptr<kube::Endpoint> endpoint() {
        kube::KubeConfig config;
        config.server = http.url();
        auto made = kube::Endpoint::create(config);
        REQUIRE(made);
        return *made;
    }
    void answer(const HttpServer::Request& request, HttpServer::Connection& c) {
        const std::lock_guard lock(mutex);
        const std::string_view before = "/apis/networking.istio.io/v1/namespaces/a/serviceentries/", after = "/status";
        std::string name = request.target.substr(std::min(before.size(), request.target.size()));
        name = name.substr(0, name.find('/'));
        if (request.method != "PATCH" || request.target != std::string(before) + name + std::string(after) ||
            request.head.find("application/merge-patch+json") == std::string::npos)
            return static_cast<void>(c.answer(400, "{}"));
        patches.emplace_back(name, json::parse(request.body));
        if (missing != 0) return static_cast<void>(c.answer(missing, "{}"));
        if (name == refused) return static_cast<void>(c.answer(403, R"({"kind":"Status","message":"no"})"));
        c.answer(200, "{}");
    }
    size_t count(const std::string& name) {
        const std::lock_guard lock(mutex);
        return static_cast<size_t>(std::count_if(patches.begin(), patches.end(), [&](const auto& p) { return p.first == name; }));
    }
};

ServiceEntry entry(const std::string& name) {
    ServiceEntry out;
    out.meta.ns = "a";
    out.meta.name = name;
    out.meta.uid = "u-" + name;
    out.hosts = {name + ".example"};
    out.resolution = Resolution::Dns;
    return out;
}

Objects objects(std::vector<ServiceEntry> entries) {
    Objects out;
    out.service_entries = std::move(entries);
    return out;
}

const std::vector<Change> kAll;

}  // namespace

TEST_CASE("address writer: the leader writes addresses into the status, and nobody else") {
    Server server;
    std::atomic<bool> leads = false;
    std::atomic<int> asked = 0;
    AddressWriter writer(server.client, [&] { return ++asked, leads.load(); }, {}, "default");
    writer.start();
    ServiceEntry theirs = entry("theirs");
    theirs.meta.labels.emplace("istio.io/rev", "canary");
    Objects all = objects({entry("one"), theirs});
    writer.update(all, kAll);
    REQUIRE(eventually([&] { return asked > 1; }, 30s));
    CHECK(server.count("one") == 0);
    CHECK(writer.stats().waiting == 1);
    leads = true;
    REQUIRE(eventually([&] { return writer.stats().waiting == 0; }, 30s));
    CHECK(writer.stats().writes == 1);
    CHECK(server.count("theirs") == 0);
    REQUIRE(server.patches.size() == 1);
    const json patch = server.patches[0].second;
    CHECK(patch["metadata"] == json{{"uid", "u-one"}});
    REQUIRE(patch["status"]["addresses"].size() == 2);
    for (const json& address : patch["status"]["addresses"]) {
        CHECK(address["host"] == "one.example");
        const auto ip = base::IpAddr::parse(address["value"].get<std::string>());
        REQUIRE(ip);
        all.service_entries[0].allocated.emplace_back("one.example", *ip);
    }
    // The watch brings it back, and there is nothing left to do; then somebody empties it.
    writer.update(all, std::vector<Change>{{ObjectKind::ServiceEntry, "a/one", false, 0}});
    CHECK(writer.stats().waiting == 0);
    all.service_entries[0].allocated.clear();
    writer.update(all, std::vector<Change>{{ObjectKind::ServiceEntry, "a/one", false, 0}});
    REQUIRE(eventually([&] { return writer.stats().writes == 2; }, 30s));
    CHECK(server.patches[1].second == patch);
    writer.update(all, std::vector<Change>{{ObjectKind::ServiceEntry, "a/one", true, 0}});
    CHECK(writer.stats().taken == 0);
}

TEST_CASE("address writer: what fails waits and holds up nothing else") {
    Server server;
    server.refused = "bad";
    AddressWriter writer(server.client, [] { return true; }, {}, "default");
    writer.start();
    writer.update(objects({entry("bad"), entry("good")}), kAll);
    REQUIRE(eventually([&] { return writer.stats().errors >= 1 && writer.stats().writes == 1; }, 30s));
    CHECK(writer.stats().waiting == 1);
    CHECK(writer.stats().last_error.find("403") != std::string::npos);
    {
        const std::lock_guard lock(server.mutex);
        server.refused.clear();
    }
    CHECK(eventually([&] { return writer.stats().waiting == 0; }, 60s));
    CHECK(server.count("good") == 1);
}

TEST_CASE("address writer: an entry that is gone or another one is left alone") {
    for (const int answer : {404, 409}) {
        Server server;
        server.missing = answer;
        AddressWriter writer(server.client, [] { return true; }, {}, "default");
        writer.start();
        writer.update(objects({entry("e")}), kAll);
        REQUIRE(eventually([&] { return writer.stats().waiting == 0; }, 30s));
        CHECK(writer.stats().writes == 0);
        CHECK(writer.stats().errors == 0);
        CHECK(server.count("e") == 1);
    }
}
