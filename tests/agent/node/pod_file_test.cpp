// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_file_source.h"

#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

namespace {

constexpr const char* kTwo = R"(
pods:
- name: web
  namespace: prod
  serviceAccount: shop
  uid: u-1
  netns: /run/netns/web
  addresses: [10.1.0.7, "fd00::7"]
  labels: {app: web}
  annotations: {a: b}
  dnsCapture: false
  ingressCapture: false
  direct: false
- {name: db, namespace: prod, pid: 4711, enrolment: observed}
)";

struct Events final : PodEvents {
    std::mutex mutex;
    std::condition_variable heard;
    std::map<std::string, PodPtr> pods;
    std::vector<std::string> told;
    int synced = 0;

    void pod_changed(PodPtr pod) override {
        note("+" + pod->uid, [&] { pods[pod->uid] = pod; });
    }
    void pod_removed(std::string uid) override {
        note("-" + uid, [&] { pods.erase(uid); });
    }
    void pods_synced() override {
        note("synced", [&] { ++synced; });
    }
    template <class F>
    void note(std::string what, F change) {
        const std::lock_guard lock(mutex);
        told.push_back(std::move(what));
        change();
        heard.notify_all();
    }
    bool wait(const std::function<bool()>& condition) {
        std::unique_lock lock(mutex);
        return heard.wait_for(lock, std::chrono::seconds(5), condition);
    }
};

bool wait_for(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

std::string refusal(const std::string& text) {
    const auto pods = pods_from_yaml(text, "pods.yaml");
    return pods ? "accepted" : pods.error().message();
}

}  // namespace

TEST_CASE("pod file: every field is read") {
    const auto pods = pods_from_yaml(kTwo, "pods.yaml");
    INFO((pods ? "" : pods.error().message()));
    REQUIRE(pods);
    REQUIRE(pods->size() == 2);
    const Pod& web = *(*pods)[0];
    CHECK(web.uid == "u-1");
    CHECK(web.service_account == "shop");
    CHECK(web.netns.path == "/run/netns/web");
    REQUIRE(web.addresses.size() == 2);
    CHECK(web.addresses[1].to_string() == "fd00::7");
    CHECK(web.labels.at("app") == "web");
    CHECK(web.annotations.at("a") == "b");
    CHECK_FALSE(web.dns_capture);
    CHECK_FALSE(web.ingress_capture);
    CHECK_FALSE(web.direct);
    const Pod& db = *(*pods)[1];
    CHECK(db.uid == "file:prod/db");
    CHECK(db.service_account == "default");
    CHECK(db.netns.pid == 4711);
    CHECK(db.membership == Membership::Observed);
    CHECK(db.dns_capture);
    CHECK(pods_from_yaml("pods: []", "x")->empty());
}

TEST_CASE("pod file: the node's dns_capture holds for pods that do not say") {
    const char* text = "pods:\n- {name: a, namespace: b, pid: 1}\n- {name: c, namespace: b, pid: 2, dnsCapture: true}";
    const auto pods = pods_from_yaml(text, "pods.yaml", false);
    REQUIRE(pods);
    CHECK_FALSE((*pods)[0]->dns_capture);
    CHECK((*pods)[1]->dns_capture);

    TempDir dir;
    Events events;
    PodFileSource source(dir.write("pods.yaml", "pods:\n- {name: a, namespace: b, pid: 1}\n"), false);
    REQUIRE(source.start(events));
    CHECK_FALSE(events.pods.at("file:b/a")->dns_capture);
}

TEST_CASE("pod file: what is wrong is refused with file, line, field and fix") {
    CHECK(refusal("pods:\n- {name: a, namespace: b}").find("pods.yaml:2: pods[0]: it has neither netns") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 1, netns: /x}").find("pods[0].pid: netns is given too") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, netns: x}").find("absolute path") != std::string::npos);
    CHECK(refusal("pods:\n- {namespace: b, pid: 1}").find("name") != std::string::npos);
    CHECK(refusal("pods:\n- name: a\n  namespace: b\n  pid: 1\n  addresses: [10.0.0.256]").find("pods.yaml:5: pods[0].addresses[0]") !=
          std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 1, addresses: [127.0.0.1]}").find("own address") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 1, enrolment: yes}").find("enrolled, observed") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 1, nets: x}").find("nets") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 1}\n- {name: a, namespace: b, pid: 2}").find("same uid") != std::string::npos);
    CHECK(refusal("pods:\n- {name: a, namespace: b, pid: 0}").find("no process") != std::string::npos);
    CHECK(refusal("pods: {").find("pods.yaml") != std::string::npos);
    CHECK(refusal("") != "accepted");  // cut short by its writer: no word that all pods are gone
    CHECK(refusal("pods:\n- {name: h, namespace: b, hostNetwork: true}") == "accepted");
}

TEST_CASE("pod file: watched; changes are told, a bad file keeps the last good state and says why") {
    TempDir dir;
    const std::string path = dir.write("pods.yaml", kTwo);
    Events events;
    PodFileSource source(path);
    REQUIRE(source.start(events));
    CHECK(events.told == std::vector<std::string>{"+file:prod/db", "+u-1", "synced"});

    dir.replace("pods.yaml",
                "pods:\n- {name: db, namespace: prod, pid: 4711, enrolment: observed}\n- {name: new, namespace: prod, pid: 5}\n");
    REQUIRE(events.wait([&] { return events.pods.contains("file:prod/new"); }));
    // What goes is told before what comes: a namespace may pass from one to the other. What is as before is not told.
    CHECK(std::vector<std::string>(events.told.begin() + 3, events.told.end()) == std::vector<std::string>{"-u-1", "+file:prod/new"});

    dir.replace("pods.yaml", "pods:\n- {name: db}\n");
    REQUIRE(wait_for([&] { return source.status().failures == 1; }));
    const auto status = source.status();
    REQUIRE(status.error);
    CHECK(status.error->find(path + ":2: pods[0]") != std::string::npos);
    CHECK(events.pods.size() == 2);

    dir.write("pods.yaml", "pods: []\n");
    REQUIRE(events.wait([&] { return events.pods.empty(); }));
    CHECK(events.synced == 1);
    CHECK_FALSE(source.status().error);
}

TEST_CASE("pod file: a file that is not there is no word that all pods are gone") {
    TempDir dir;
    Events events;
    PodFileSource source(dir.file("pods.yaml"));
    REQUIRE(source.start(events));
    CHECK(events.told.empty());
    CHECK(source.status().error);
    dir.replace("pods.yaml", "pods: []\n");
    CHECK(events.wait([&] { return events.synced == 1; }));
}
