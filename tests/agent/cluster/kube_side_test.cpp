// SPDX-License-Identifier: Apache-2.0
// What the controller keeps about the objects of a cluster beside their conversion: following changes is the same as looking at all.
#include "agent/cluster/kube_side.h"

#include "agent/cluster/object_store.h"
#include "tests/catch.h"

#include <random>

using namespace warren;

namespace {

constexpr const char* kAgent = "istio-system/ztunnel";

cluster::Pod pod(const std::string& name, const std::string& account, const std::string& uid, const std::string& node) {
    cluster::Pod out;
    out.meta.ns = "istio-system";
    out.meta.name = name;
    out.meta.uid = uid;
    out.service_account = account;
    out.node = node;
    return out;
}

cluster::CallerIdentity caller(const std::string& name, const std::string& uid) {
    cluster::CallerIdentity out;
    out.identity = *policy::Identity::parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel");
    out.pod_name = name;
    out.pod_uid = uid;
    return out;
}

struct World {
    cluster::ObjectStore store;
    std::vector<cluster::Change> changes;
    std::mt19937 random{7};  // NOLINT: the same steps each time

    int draw(int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); }
    void put(cluster::ObjectKind kind, cluster::Objects fragment, const std::string& key) {
        store.upsert(kind, fragment);
        note({kind, key, false, store.position(kind, key)});
    }
    void remove(cluster::ObjectKind kind, const std::string& key) {
        if (store.remove(kind, key)) note({kind, key, true, 0});
    }
    // Each object once, and where it is at the end.
    void note(const cluster::Change& change) {
        std::erase_if(changes, [&](const auto& c) { return c.kind == change.kind && c.key == change.key; });
        changes.push_back(change);
        for (auto& c : changes)
            if (!c.removed) c.at = store.position(c.kind, c.key);
    }
    void step() {
        const std::string name = "n" + std::to_string(draw(12));
        const std::string uid = "u" + std::to_string(draw(3));
        if (draw(3) == 0) return remove(cluster::ObjectKind::Pod, "istio-system/" + name);
        cluster::Objects one;
        one.pods.push_back(pod(name, draw(3) == 0 ? "other" : "ztunnel", uid, "node" + std::to_string(draw(3))));
        put(cluster::ObjectKind::Pod, std::move(one), "istio-system/" + name);
    }
};

}  // namespace

TEST_CASE("kube side: trusted pods that follow changes are those of a look at all pods") {
    World w;
    cluster::TrustedPods followed({kAgent});
    followed.update(w.store.objects(), {});
    int known = 0;
    for (int i = 0; i < 2'000; ++i) {
        w.changes.clear();
        for (int n = w.draw(4); n >= 0; --n) w.step();
        if (!w.changes.empty()) followed.update(w.store.objects(), w.changes);
        cluster::TrustedPods whole({kAgent});
        whole.update(w.store.objects(), {});
        for (int n = 0; n < 12; ++n)
            for (int u = 0; u < 3; ++u) {
                const auto who = caller("n" + std::to_string(n), "u" + std::to_string(u));
                REQUIRE(followed.node_of(who) == whole.node_of(who));
                known += whole.node_of(who) ? 1 : 0;
            }
    }
    CHECK(known > 1'000);
}
