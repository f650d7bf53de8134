// SPDX-License-Identifier: Apache-2.0
// Which policies apply to a workload, data-plane contract 7.1, through changes and refusals.
#include "policy/policy_table.h"

#include "tests/catch.h"
#include "tests/policy/mesh_builder.h"

#include <atomic>
#include <thread>

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

struct Policies {
    Mesh mesh;
    std::shared_ptr<const Snapshot> now = mesh.snapshot();

    void put(std::vector<PolicyUpdate> updates, std::vector<std::string> removed = {}) {
        Batch b;
        b.policies = std::move(updates);
        b.removed_policies = std::move(removed);
        now = mesh.apply(std::move(b));
    }
    void remove(std::vector<std::string> keys) { put({}, std::move(keys)); }
    [[nodiscard]] std::shared_ptr<const PolicySet> set(std::string_view ns, std::vector<std::string> listed = {}) const {
        return now->policies_for(*workload({.uid = "w", .ns = std::string(ns), .policies = std::move(listed)}));
    }
    // "ns/a ns/b, missing: ns/c"
    [[nodiscard]] std::string in(std::string_view ns, std::vector<std::string> listed = {}) const {
        const auto s = set(ns, std::move(listed));
        std::string out;
        for (const PolicyRef& p : s->policies()) out += (out.empty() ? "" : " ") + p->key().str() + (p->refused() ? "!" : "");
        for (const Text& name : s->missing()) out += " -" + name.str();
        return out;
    }
    [[nodiscard]] Decision decide(std::string_view ns, std::vector<std::string> listed = {}) const {
        Connection c;
        c.src = {ip("10.0.0.1"), 40'000};
        c.dst = {ip("10.0.0.2"), 80};
        return set(ns, std::move(listed))->decide(c);
    }
};

}  // namespace

TEST_CASE("policies: namespace, global and listed ones apply, each once") {
    Policies p;
    p.put({policy_spec("prod/b", Scope::Namespace), policy_spec("prod/a", Scope::Namespace), policy_spec("root/g", Scope::Global),
           policy_spec("prod/selected", Scope::WorkloadSelector), policy_spec("dev/n", Scope::Namespace)});
    CHECK(p.in("prod") == "prod/a prod/b root/g");
    CHECK(p.in("dev") == "dev/n root/g");
    CHECK(p.in("other") == "root/g");
    CHECK(p.in("") == "root/g");
    CHECK(p.in("prod", {"prod/selected"}) == "prod/a prod/b root/g prod/selected");
    CHECK(p.in("other", {"prod/selected", "prod/a", "root/g", "prod/selected"}) == "root/g prod/selected prod/a");
    CHECK(p.in("prod", {"prod/a", "root/g"}) == "prod/a prod/b root/g");
    CHECK(p.now->policy_count() == 5);
    CHECK(p.now->policy("prod/a")->key() == "prod/a");
    CHECK_FALSE(p.now->policy("prod/unknown"));
}

TEST_CASE("policies: a namespace policy without a namespace is global") {
    Policies p;
    PolicySpec spec = policy_spec("root/g", Scope::Namespace);
    spec.ns = Text();
    p.put({spec});
    CHECK(p.in("prod") == "root/g");
    CHECK(p.in("") == "root/g");
    p.remove({"root/g"});
    CHECK(p.in("prod").empty());
}

TEST_CASE("policies: a change of scope moves a policy", "[rbac_change_scope]") {
    Policies p;
    p.put({policy_spec("prod/p", Scope::Namespace)});
    CHECK(p.in("prod") == "prod/p");
    CHECK(p.in("dev").empty());
    p.put({policy_spec("prod/p", Scope::Global)});
    CHECK(p.in("prod") == "prod/p");
    CHECK(p.in("dev") == "prod/p");
    p.put({policy_spec("prod/p", Scope::WorkloadSelector)});
    CHECK(p.in("prod").empty());
    CHECK(p.in("dev").empty());
    CHECK(p.in("dev", {"prod/p"}) == "prod/p");
    PolicySpec moved = policy_spec("prod/p", Scope::Namespace);
    moved.ns = Text("dev");
    p.put({moved});
    CHECK(p.in("prod").empty());
    CHECK(p.in("dev") == "prod/p");
    p.remove({"prod/p"});
    CHECK(p.in("dev").empty());
    CHECK(p.now->policy_count() == 0);
}

TEST_CASE("policies: a listed name that is not there is missing until it arrives and after it went") {
    Policies p;
    CHECK(p.in("prod", {"prod/p", "prod/q"}) == " -prod/p -prod/q");
    CHECK_FALSE(p.decide("prod", {"prod/p"}).allowed);
    p.put({policy_spec("prod/p", Scope::WorkloadSelector, PolicyAction::Allow)});
    CHECK(p.in("prod", {"prod/p", "prod/q"}) == "prod/p -prod/q");
    CHECK(p.decide("prod", {"prod/p"}).allowed);
    p.remove({"prod/p"});
    CHECK(p.in("prod", {"prod/p"}) == " -prod/p");
    CHECK(p.decide("prod", {"prod/p"}).reason == Reason::DeniedPolicyMissing);
    CHECK(p.decide("prod").allowed);
}

TEST_CASE("policies: removal comes after updates of the same batch") {
    Policies p;
    p.put({policy_spec("prod/p", Scope::Global)}, {"prod/p", "prod/unknown"});
    CHECK(p.now->policy_count() == 0);
}

TEST_CASE("policies: a refused update leaves the version in force and is remembered") {
    Policies p;
    p.put({policy_spec("prod/p", Scope::Namespace)});
    const PolicyRef first = p.now->policy("prod/p");
    p.put({refusal("prod/p", Scope::Global)});
    CHECK(p.now->policy("prod/p") == first);
    CHECK(p.in("prod") == "prod/p");
    CHECK(p.in("dev").empty());
    REQUIRE(p.now->refusals().size() == 1);
    CHECK(p.now->refusals()[0].first == "prod/p");
    CHECK(p.now->refusals()[0].second == "source_ips: \"300.1.1.1\" is no address");
    SECTION("a version that reads forgets it, the same one as well") {
        p.put({policy_spec("prod/p", Scope::Namespace)});
        CHECK(p.now->refusals().empty());
        CHECK(p.now->policy("prod/p") == first);
    }
    SECTION("removal forgets it") {
        p.remove({"prod/p"});
        CHECK(p.now->refusals().empty());
        CHECK(p.in("prod").empty());
    }
}

TEST_CASE("policies: a new policy that is refused denies what it would have selected") {
    Policies p;
    p.put({refusal("prod/p", Scope::Namespace), refusal("prod/s", Scope::WorkloadSelector)});
    CHECK(p.in("prod") == "prod/p!");
    CHECK(p.in("dev").empty());
    CHECK(p.in("dev", {"prod/s"}) == "prod/s!");
    CHECK(p.decide("prod").reason == Reason::DeniedPolicyRefused);
    CHECK(p.decide("dev", {"prod/s"}).reason == Reason::DeniedPolicyRefused);
    CHECK(p.decide("dev").allowed);
    CHECK(p.now->refusals().size() == 2);
    p.put({refusal("prod/p", Scope::Global)});  // still no version that reads: the latest refusal stands
    CHECK(p.in("dev") == "prod/p!");
    p.put({policy_spec("prod/p", Scope::Namespace)});
    CHECK(p.in("prod") == "prod/p");
    CHECK(p.in("dev").empty());
    CHECK(p.now->refusals().size() == 1);
}

TEST_CASE("policies: a refused dry run has no effect") {
    Policies p;
    p.put({refusal("prod/p", Scope::Namespace, true), refusal("prod/s", Scope::WorkloadSelector, true)});
    CHECK(p.decide("prod", {"prod/s"}).allowed);
    CHECK(p.set("prod", {"prod/s"})->missing().empty());
    CHECK(p.now->refusals().size() == 2);
}

TEST_CASE("policies: sets are shared by workloads with the same namespace and list") {
    Policies p;
    p.put({policy_spec("prod/n", Scope::Namespace), policy_spec("prod/s", Scope::WorkloadSelector), policy_spec("root/g", Scope::Global)});
    CHECK(p.set("prod") == p.set("prod"));
    CHECK(p.set("prod", {"prod/s"}) == p.set("prod", {"prod/s"}));
    CHECK(p.set("prod") != p.set("prod", {"prod/s"}));
    CHECK(p.set("a") == p.set("b"));  // namespaces without policies of their own
    CHECK(p.set("a") != p.set("prod"));
}

TEST_CASE("policies: a change drops the sets it can be part of and carries the others on") {
    Policies p;
    p.put(
        {policy_spec("prod/n", Scope::Namespace), policy_spec("prod/s", Scope::WorkloadSelector), policy_spec("dev/n", Scope::Namespace)});
    const auto prod = p.set("prod"), prod_s = p.set("prod", {"prod/s"}), dev = p.set("dev"), dev_listed = p.set("dev", {"dev/t"});
    const auto same = [&] {
        return std::vector<bool>{p.set("prod") == prod, p.set("prod", {"prod/s"}) == prod_s, p.set("dev") == dev,
                                 p.set("dev", {"dev/t"}) == dev_listed};
    };
    using Same = std::vector<bool>;
    SECTION("a selector policy: those that list it") {
        p.put({policy_spec("prod/s", Scope::WorkloadSelector, PolicyAction::Allow)});
        CHECK(same() == Same{true, false, true, true});
    }
    SECTION("one that was missing: those that list it") {
        p.put({policy_spec("dev/t", Scope::WorkloadSelector)});
        CHECK(same() == Same{true, true, true, false});
    }
    SECTION("a namespace policy: those of the namespace") {
        p.remove({"prod/n"});
        CHECK(same() == Same{false, false, true, true});
    }
    SECTION("one that moves: those of both namespaces") {
        PolicySpec moved = policy_spec("prod/n", Scope::Namespace);
        moved.ns = Text("dev");
        p.put({moved});
        CHECK(same() == Same{false, false, false, false});
    }
    SECTION("a global policy: all") {
        p.put({policy_spec("root/g", Scope::Global)});
        CHECK(same() == Same{false, false, false, false});
    }
    SECTION("the first policy of another namespace, a refused update, an equal version: none") {
        p.put({policy_spec("other/n", Scope::Namespace), refusal("prod/n", Scope::Namespace), policy_spec("dev/n", Scope::Namespace)});
        CHECK(same() == Same{true, true, true, true});
        CHECK(p.in("other") == "other/n");
    }
    SECTION("the sets of an older snapshot stay with it") {
        const auto before = p.now;
        p.remove({"prod/n", "dev/n", "prod/s"});
        CHECK(before->policies_for(*workload({.uid = "w", .ns = "prod"})) == prod);
        CHECK(p.in("prod").empty());
    }
}

TEST_CASE("policies: a workload that changes its list gets another set, and only that") {
    Policies p;
    p.put({policy_spec("prod/s", Scope::WorkloadSelector)});
    Batch b;
    b.workloads.push_back(workload({.uid = "w", .ns = "prod"}));
    auto s = p.mesh.apply(std::move(b));
    const auto before = s->policies_for(*s->workload("w"));
    CHECK(before->policies().empty());
    b = {};
    b.workloads.push_back(workload({.uid = "w", .ns = "prod", .policies = {"prod/s"}}));
    s = p.mesh.apply(std::move(b));
    CHECK(s->policies_for(*s->workload("w"))->policies().size() == 1);
    CHECK(s->policies_for(*workload({.uid = "v", .ns = "prod"})) == before);
}

TEST_CASE("policies: sets that nobody holds do not pile up") {
    const auto empty = std::make_shared<const PolicyTable>();
    const auto table = PolicyTable::next(empty, {policy_spec("prod/s", Scope::WorkloadSelector)}, {});
    const auto held = table->set_for(*workload({.uid = "w", .ns = "prod", .policies = {"prod/s"}}));
    for (int i = 0; i < 10'000; ++i)
        CHECK(table->set_for(*workload({.uid = "w", .ns = "prod", .policies = {"prod/" + std::to_string(i)}})) != held);
    CHECK(table->cached_sets() <= 64);
    CHECK(table->set_for(*workload({.uid = "v", .ns = "prod", .policies = {"prod/s"}})) == held);
}

TEST_CASE("policies: threads ask for sets while the writer changes policies") {
    Policies p;
    p.put({policy_spec("root/g", Scope::Global)});
    std::mutex mutex;
    std::shared_ptr<const Snapshot> published = p.now;
    std::atomic<bool> done{false};
    std::atomic<uint64_t> asked{0}, wrong{0};
    const auto ask = [&](int seed) {
        const auto w = workload({.uid = "w", .ns = "ns" + std::to_string(seed % 2), .policies = {"ns0/p", "ns1/p"}});
        while (!done) {
            std::shared_ptr<const Snapshot> s;
            {
                const std::lock_guard lock(mutex);
                s = published;
            }
            const auto set = s->policies_for(*w);
            wrong += set->policies().size() + set->missing().size() != 3 ? 1 : 0;
            wrong += set->missing().size() == (s->policy("ns0/p") ? 1u : 2u) ? 0 : 1;
            ++asked;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back(ask, i);
    for (int i = 0; i < 500 || asked < 50; ++i) {
        if (i % 2 == 0) {
            p.put({policy_spec("ns0/p", i % 4 == 0 ? Scope::Namespace : Scope::WorkloadSelector)});
        } else {
            p.remove({"ns0/p"});
        }
        const std::lock_guard lock(mutex);
        published = p.now;
    }
    done = true;
    for (std::thread& t : threads) t.join();
    CHECK(wrong == 0);
}
