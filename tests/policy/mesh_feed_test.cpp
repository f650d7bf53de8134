// SPDX-License-Identifier: Apache-2.0
// Two sources, one mesh (data-plane contract 10.3).
#include "policy/mesh_feed.h"

#include "tests/catch.h"
#include "tests/policy/mesh_builder.h"

using namespace warren;
using namespace warren::tests;
using policy::MeshFeed;

namespace {

struct Feed {
    int batches = 0, snapshots = 0;
    MeshFeed feed{{[this](const policy::Batch&) { ++batches; }, [this](const auto&) { ++snapshots; }}};

    void xds(policy::Batch batch) {
        feed.update([&](const policy::Snapshot&) { return batch; });
    }
    void file(policy::Batch batch) {
        REQUIRE(feed.replace([&](policy::TextPool&) -> base::Result<policy::Batch> { return batch; }));
    }
    [[nodiscard]] std::string account(std::string_view uid) const {
        const policy::Workload* w = feed.snapshot()->workload(uid);
        return w == nullptr ? "none" : w->service_account.str();
    }
};

policy::Batch workloads(std::vector<WorkloadSpec> specs, std::vector<std::string> removed = {}) {
    policy::Batch batch;
    for (const WorkloadSpec& spec : specs) batch.workloads.push_back(workload(spec));
    batch.removed_addresses = std::move(removed);
    return batch;
}

WorkloadSpec record(std::string uid, std::string account) { return {.uid = std::move(uid), .service_account = std::move(account)}; }

}  // namespace

TEST_CASE("mesh feed: what a file had and has no more is gone, and one that does not read changes nothing") {
    Feed f;
    f.file(workloads({record("a", "file"), record("b", "file")}));
    CHECK(f.feed.snapshot()->workload_count() == 2);
    const auto failed = f.feed.replace([](policy::TextPool&) -> base::Result<policy::Batch> { return base::invalid("line 3"); });
    REQUIRE_FALSE(failed);
    CHECK(f.feed.snapshot()->workload_count() == 2);
    f.file(workloads({record("b", "changed")}));
    CHECK(f.account("a") == "none");
    CHECK(f.account("b") == "changed");
    CHECK(f.batches == 2);
    CHECK(f.snapshots == 2);
}

TEST_CASE("mesh feed: an edited file leaves what the control plane gave") {
    Feed f;
    f.file(workloads({record("a", "file")}));
    f.xds(workloads({record("x", "xds")}));
    f.file(workloads({}));
    CHECK(f.account("a") == "none");
    CHECK(f.account("x") == "xds");
}

TEST_CASE("mesh feed: the control plane's record replaces the file's of that name for good") {
    Feed f;
    f.file(workloads({record("a", "file")}));
    f.xds(workloads({record("a", "xds")}));
    CHECK(f.account("a") == "xds");
    f.file(workloads({record("a", "file again")}));
    CHECK(f.account("a") == "xds");
    f.file(workloads({}));
    CHECK(f.account("a") == "xds");
    f.xds(workloads({}, {"a"}));
    CHECK(f.account("a") == "none");
}

TEST_CASE("mesh feed: the control plane does not remove what is the file's, policies neither") {
    Feed f;
    policy::Batch file = workloads({record("a", "file")});
    file.services.push_back(service({.ns = "ns", .hostname = "web"}));
    policy::PolicySpec deny;
    deny.key = policy::Text("ns/deny");
    deny.ns = policy::Text("ns");
    file.policies.emplace_back(deny);
    f.file(file);
    policy::Batch removal = workloads({}, {"a", "ns/web", "never/there"});
    removal.removed_policies = {"ns/deny"};
    f.xds(removal);
    CHECK(f.account("a") == "file");
    CHECK(f.feed.snapshot()->service("ns/web") != nullptr);
    CHECK(f.feed.snapshot()->policy("ns/deny"));
    f.file(workloads({}));
    CHECK(f.feed.snapshot()->service("ns/web") == nullptr);
    CHECK_FALSE(f.feed.snapshot()->policy("ns/deny"));
}
