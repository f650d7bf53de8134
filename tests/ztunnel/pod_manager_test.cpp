// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/pod_manager.h"

#include "tests/catch.h"

#include <fcntl.h>

using warren::base::Errc;
using warren::base::Error;
using warren::base::Netns;
using warren::base::Result;
using warren::ztunnel::PodInfo;
using warren::ztunnel::PodManager;

namespace {

struct FakeRunner final : warren::ztunnel::PodRunner {
    Result<void> start(std::shared_ptr<const PodInfo> pod) override {
        if (busy.contains(pod->uid)) return Error{Errc::Exists, 0, "", "port 15008 is busy"};
        running.insert(pod->uid);
        ++starts;
        return {};
    }
    void stop(const std::string& uid) override {
        running.erase(uid);
        ++stops;
    }
    std::set<std::string> running, busy;
    int starts = 0, stops = 0;
};

std::shared_ptr<const PodInfo> pod(const char* uid) { return std::make_shared<const PodInfo>(PodInfo{uid, uid, "default", "sa", {}}); }

struct Session {
    Session() { manager.session_started(); }
    FakeRunner runner;
    PodManager manager{runner};
};

}  // namespace

TEST_CASE("pods: test_process_add: add_workload_starts_a_proxy, and the snapshot makes it ready") {
    Session s;
    CHECK_FALSE(s.manager.ready());
    REQUIRE(s.manager.add(pod("a")));
    CHECK(s.runner.running == std::set<std::string>{"a"});
    CHECK_FALSE(s.manager.ready());
    REQUIRE(s.manager.snapshot_sent());
    CHECK(s.manager.ready());
    CHECK(s.manager.active() == 1);
    CHECK(s.manager.started() == 1);
}

TEST_CASE("pods: idempotency: the same pod in the same place is not started again") {
    Session s;
    REQUIRE(s.manager.add(pod("a")));
    REQUIRE(s.manager.add(pod("a")));
    CHECK(s.runner.starts == 1);
}

TEST_CASE("pods: add_with_different_netns_keeps_latest_proxy") {
    warren::tests::require_root();
    Session s;
    auto own = Netns::current();
    REQUIRE(own);
    PodInfo placed{"a", "a", "default", "sa", {}};
    REQUIRE(s.manager.add(pod("a")));
    placed.netns = std::move(*own);
    REQUIRE(s.manager.add(std::make_shared<const PodInfo>(std::move(placed))));
    CHECK(s.runner.starts == 2);
    CHECK(s.runner.stops == 1);
    CHECK(s.runner.running == std::set<std::string>{"a"});
}

TEST_CASE("pods: test_process_failed, workload_added_while_pending: a pod that cannot start waits, makes us unready, and is tried again") {
    Session s;
    REQUIRE(s.manager.snapshot_sent());
    s.runner.busy = {"a"};
    auto refused = s.manager.add(pod("a"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("15008") != std::string::npos);
    CHECK_FALSE(s.manager.ready());
    CHECK(s.manager.pending() == 1);
    s.manager.retry_pending();
    CHECK(s.manager.pending() == 1);
    s.runner.busy.clear();
    s.manager.retry_pending();
    CHECK(s.manager.ready());
    CHECK(s.manager.active() == 1);
}

TEST_CASE("pods: idempotency_add_workload_fails_and_then_deleted") {
    Session s;
    REQUIRE(s.manager.snapshot_sent());
    s.runner.busy = {"a"};
    REQUIRE_FALSE(s.manager.add(pod("a")));
    s.manager.remove("a");
    CHECK(s.manager.ready());
    s.runner.busy.clear();
    s.manager.retry_pending();
    CHECK(s.runner.running.empty());
}

TEST_CASE("pods: test_process_snapshot_with_missing_workload: what a new snapshot does not name is stopped at its end, and not before") {
    Session s;
    REQUIRE(s.manager.add(pod("a")));
    REQUIRE(s.manager.add(pod("b")));
    REQUIRE(s.manager.snapshot_sent());
    s.manager.session_ended();
    CHECK_FALSE(s.manager.ready());
    CHECK(s.runner.running.size() == 2);
    s.manager.session_started();
    REQUIRE(s.manager.add(pod("b")));
    CHECK(s.runner.running.size() == 2);
    REQUIRE(s.manager.snapshot_sent());
    CHECK(s.runner.running == std::set<std::string>{"b"});
    CHECK(s.manager.stopped() == 1);
}

TEST_CASE("pods: proxy_added_then_kept_with_new_snapshot") {
    Session s;
    REQUIRE(s.manager.add(pod("a")));
    REQUIRE(s.manager.snapshot_sent());
    s.manager.session_started();
    REQUIRE(s.manager.keep("a"));
    REQUIRE(s.manager.snapshot_sent());
    CHECK(s.runner.running == std::set<std::string>{"a"});
    CHECK(s.runner.starts == 1);
}

TEST_CASE("pods: del_workload_before_snapshot_removes_from_snapshot_and_pending") {
    Session s;
    REQUIRE(s.manager.add(pod("a")));
    s.manager.remove("a");
    CHECK(s.runner.running == std::set<std::string>{"a"});  // the actual stop is SnapshotSent's
    REQUIRE(s.manager.snapshot_sent());
    CHECK(s.runner.running.empty());
}

TEST_CASE("pods: protocol errors: keep after the snapshot, a second snapshot") {
    Session s;
    REQUIRE(s.manager.snapshot_sent());
    CHECK(s.manager.keep("a").error().code == Errc::Protocol);
    CHECK(s.manager.snapshot_sent().error().code == Errc::Protocol);
}

TEST_CASE("pods: test_process_add_and_del: removing an unknown pod is fine") {
    Session s;
    REQUIRE(s.manager.snapshot_sent());
    s.manager.remove("nobody");
    CHECK(s.runner.stops == 0);
    CHECK(s.manager.ready());
}
