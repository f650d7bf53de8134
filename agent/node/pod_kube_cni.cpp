// SPDX-License-Identifier: Apache-2.0
// What the CNI plugin asks (Kubernetes contract 1.5): answered from what the watch has told, or by one request for what it has not.
#include "agent/node/pod_kube_impl.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

using namespace std::chrono_literals;
using cni::Answer;
using Verdict = cni::Answer::Verdict;

const base::log::Area kArea("cni");

constexpr auto kWatchLag = 100ms;  // the watch usually tells of a pod before the kubelet makes its sandbox
constexpr auto kFetchMost = 2000ms;

}  // namespace

PodKubeSource::Impl::Entry* PodKubeSource::Impl::asked_for(const cni::Question& q) {
    const auto found = pods.find(q.ns + "/" + q.pod);
    if (found == pods.end()) return nullptr;
    const KubePod& pod = found->second.pod;
    const bool same = q.uid.empty() || q.uid == pod.uid || q.uid == pod.node_uid;
    return same && known_namespace(q.ns) && (namespaces.contains(q.ns) || ready()) ? &found->second : nullptr;
}

// Fetches pod and namespace. False: the API server does not know them, or does not answer.
bool PodKubeSource::Impl::learn(Lock& lock, const cni::Question& q, base::MonoTime deadline) {
    const bool needs_namespace = !namespaces.contains(q.ns);
    lock.unlock();
    static const kube::Resource kPod{"", {"v1"}, "pods", "Pod"};
    static const kube::Resource kNamespace{"", {"v1"}, "namespaces", "Namespace", false};
    const auto left = std::chrono::floor<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    kube::Limits limits;
    limits.total = limits.connect = std::clamp<std::chrono::milliseconds>(left / 2, 1ms, kFetchMost);
    kube::Client one(endpoint, limits);
    std::optional<KubePod> pod;
    std::optional<Labels> labels;
    if (const auto text = one.get(kube::object_path(kPod, q.ns, q.pod))) {
        if (auto read = read_kube_pod(*text)) pod = *std::move(read);
    }
    if (pod && needs_namespace) {
        if (const auto text = one.get(kube::object_path(kNamespace, "", q.ns))) {
            if (auto read = read_labels(*text)) labels = *std::move(read);
        }
    }
    lock.lock();
    if (!pod || pod->node != options.node_name || (needs_namespace && !labels)) return false;
    // The watch may have been faster, and knows better.
    if (labels) namespaces.try_emplace(q.ns, *std::move(labels));
    if (asked_for(q) == nullptr) put(*std::move(pod), false);
    touch();
    return true;
}

Answer PodKubeSource::Impl::by_namespace(const cni::Question& q, const std::string& why) {
    ++counts.cni_fallbacks;
    bool waits = true;
    if (const auto ns = namespaces.find(q.ns); ns != namespaces.end()) {
        waits = options.enablement.matches({}, ns->second);
        for (const auto& [key, entry] : pods) waits = waits || (entry.pod.ns == q.ns && membership(entry.pod) == Membership::Enrolled);
    } else {
        const auto state = cni::read_node_state(options.state_file);
        waits = state ? state->waits(q.ns) : false;
    }
    if (options.excluded_namespaces.contains(q.ns)) waits = false;
    if (waits) return {Verdict::Later, why};
    WARREN_LOG(kArea, base::log::Level::Warn, "a pod starts by its namespace alone", {"pod", q.ns + "/" + q.pod}, {"why", why});
    return {Verdict::Pass, why};
}

Answer PodKubeSource::add(const cni::Question& q, std::shared_ptr<const base::Netns> netns, base::MonoTime deadline) {
    Impl& i = *impl_;
    if (i.options.excluded_namespaces.contains(q.ns)) return {Verdict::Pass, "its namespace is excluded"};
    Impl::Lock lock(i.mutex);
    const auto over = [&i] { return i.stopping || i.giving_up; };
    const auto patience = std::min(deadline, std::chrono::steady_clock::now() + kWatchLag);
    i.changed.wait_until(lock, patience, [&] { return over() || i.asked_for(q) != nullptr; });
    if (over()) return {Verdict::Later, "the agent is about to end"};
    if (i.asked_for(q) == nullptr) {
        (void)i.learn(lock, q, deadline);
        if (i.asked_for(q) == nullptr) return i.by_namespace(q, "the API server did not tell of the pod");
    }
    Impl::Entry* entry = i.asked_for(q);
    if (i.membership(entry->pod) != Membership::Enrolled) return {Verdict::Pass, "not in the mesh"};
    if (!netns) return {Verdict::Later, "the pod's network namespace did not come with the question"};
    const std::string uid = entry->pod.uid;
    entry->netns = netns;
    entry->container = q.container;
    entry->handed_over = q.addresses;
    i.touch();
    // Captured in this namespace and not in that of an earlier sandbox, with the tunnel listening in it.
    const auto captured = [&] {
        entry = i.by_uid(uid);
        return entry != nullptr && entry->captured && entry->acknowledged && entry->captured_in && *entry->captured_in == *netns;
    };
    const auto pass = [&] { return entry == nullptr || i.membership(entry->pod) != Membership::Enrolled; };
    i.changed.wait_until(lock, deadline, [&] { return captured() || pass() || over(); });
    if (captured()) return {Verdict::Captured, {}};
    if (over()) return {Verdict::Later, "the agent is about to end"};
    if (entry == nullptr) return {Verdict::Later, "the pod is gone"};
    if (pass()) return {Verdict::Pass, "no longer in the mesh"};
    if (entry->captured && !entry->acknowledged) return {Verdict::Later, "captured, but the tunnel does not listen in it yet"};
    return {Verdict::Later, entry->failure.empty() ? "it was not captured in time" : entry->failure};
}

// The sandbox goes, with its addresses, which another pod may have next. Only the one that we were told of: a late DEL must not end the
// pod's next sandbox.
void PodKubeSource::del(const cni::Question& q) {
    Impl& i = *impl_;
    const std::lock_guard lock(i.mutex);
    for (auto& [key, entry] : i.pods) {
        if (entry.container.empty() || entry.container != q.container) continue;
        entry.netns.reset();
        entry.container.clear();
        entry.handed_over.clear();
        entry.find_at = std::chrono::steady_clock::now() + i.options.find_most;
        i.let_go(entry);
        i.touch();
        return;
    }
}

void PodKubeSource::give_up() {
    const std::lock_guard lock(impl_->mutex);
    impl_->giving_up = true;
    impl_->changed.notify_all();
}

}  // namespace warren::node
