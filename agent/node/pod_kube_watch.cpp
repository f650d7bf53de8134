// SPDX-License-Identifier: Apache-2.0
// What the API server says: the watched kinds, and each object's way into the state.
#include "agent/node/pod_kube_impl.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("pods");

constexpr size_t kPods = 0, kNamespaces = 1, kPolicies = 2;

}  // namespace

std::vector<kube::WatchSpec> PodKubeSource::Impl::specs(const PodKubeOptions& options) {
    std::vector<kube::WatchSpec> out(2);
    out[kPods] = {{"", {"v1"}, "pods", "Pod"}, "", "spec.nodeName=" + options.node_name};
    out[kNamespaces] = {.resource = {"", {"v1"}, "namespaces", "Namespace", false}, .metadata_only = true};
    if (options.network_policies) out.push_back({.resource = {"networking.k8s.io", {"v1"}, "networkpolicies", "NetworkPolicy"}});
    return out;
}

void PodKubeSource::Impl::upsert(size_t kind, kube::Object object) {
    if (kind == kPods) {
        auto pod = read_kube_pod(object.json);
        const std::lock_guard lock(mutex);
        if (!pod) {
            // An earlier version stays in force.
            ++counts.malformed;
            counts.error = "pod " + object.key() + ": " + pod.error().message();
            return;
        }
        put(*std::move(pod), true);
        return touch();
    }
    if (kind == kPolicies) {
        const std::lock_guard lock(mutex);
        put_policy(object);
        return touch();
    }
    auto labels = read_labels(object.json);
    const std::lock_guard lock(mutex);
    if (labels)
        namespaces.insert_or_assign(object.name, *std::move(labels));
    else
        ++counts.malformed;
    touch();
}

// With one that shuts its namespace the log is not filled: a mesh may have thousands beyond the bound.
void PodKubeSource::Impl::put_policy(const kube::Object& object) {
    const auto read = policies.put(object.ns, object.name, object.json);
    policies_error.clear();
    if (read) return;
    policies_error = "NetworkPolicy " + object.key() + ": " + read.error().message();
    const size_t n = policies.unread();
    if ((n & (n - 1)) != 0) return;
    WARREN_LOG(kArea, base::log::Level::Warn, "a NetworkPolicy is not looked at: its namespace's pods take the tunnel on the node too",
               {"why", policies_error}, {"such", n});
}

void PodKubeSource::Impl::remove(size_t kind, const std::string& key) {
    const std::lock_guard lock(mutex);
    const size_t slash = key.find('/');
    if (kind == kPods)
        drop(key);
    else if (kind == kPolicies)
        policies.remove(key.substr(0, slash), key.substr(slash + 1));
    else
        namespaces.erase(key.substr(slash + 1));
    touch();
}

void PodKubeSource::Impl::synced(size_t kind, bool missing) {
    const std::lock_guard lock(mutex);
    if (kind == kPolicies) {
        policies_known = true;
        policies_missing = missing;
        if (policies.unread() == 0) policies_error.clear();
        return touch();
    }
    (kind == kPods ? pods_synced : namespaces_synced) = true;
    counts.error.clear();
    touch();
}

void PodKubeSource::Impl::problem(size_t kind, const std::string& text) {
    const std::lock_guard lock(mutex);
    if (kind == kPolicies) {
        WARREN_LOG(kArea, base::log::Level::Warn,
                   policies_known ? "NetworkPolicies: what was heard of them last stands"
                                  : "NetworkPolicies are not known: same-node connections go direct where one may block them",
                   {"problem", text});
        policies_error = text;
        policies_failed = policies_failed || pods_synced;
        return touch();
    }
    WARREN_LOG(kArea, base::log::Level::Warn, "the API server", {"problem", text});
    counts.error = text;
}

void PodKubeSource::Impl::put(KubePod pod, bool from_watch) {
    const std::string key = pod.key();
    const auto known = pods.find(key);
    // Another pod of the same name: the earlier one has gone unseen.
    if (known != pods.end() && known->second.pod.uid != pod.uid) drop(key);
    Entry& entry = pods[key];
    if (from_watch)
        entry.fetched.reset();
    else if (entry.pod.uid.empty())
        entry.fetched = std::chrono::steady_clock::now();
    // Addresses that are all others: another sandbox, so another namespace.
    const auto stays = [&pod](const base::IpAddr& a) {
        return std::find(pod.addresses.begin(), pod.addresses.end(), a) != pod.addresses.end();
    };
    const auto& before = entry.pod.addresses;
    if (!before.empty() && !pod.addresses.empty() && std::none_of(before.begin(), before.end(), stays) && entry.handed_over.empty())
        entry.netns.reset();
    if (!pod.addresses.empty()) entry.handed_over.clear();
    if (entry.pod.addresses != pod.addresses) entry.find_delay = {}, entry.find_at = {};
    entry.pod = std::move(pod);
    key_of[entry.pod.uid] = key;
}

void PodKubeSource::Impl::let_go(Entry& entry) {
    if (entry.told && events != nullptr) events->pod_removed(entry.told->uid);
    entry.told.reset();
    entry.leave_by.reset();
    entry.captured = entry.acknowledged = false;
    entry.captured_in.reset();
}

void PodKubeSource::Impl::drop(const std::string& key) {
    const auto found = pods.find(key);
    if (found == pods.end()) return;
    let_go(found->second);
    key_of.erase(found->second.pod.uid);
    pods.erase(found);
}

PodKubeSource::Impl::Entry* PodKubeSource::Impl::by_uid(const std::string& uid) {
    const auto key = key_of.find(uid);
    return key == key_of.end() ? nullptr : &pods.at(key->second);
}

}  // namespace warren::node
