// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_kube_source.h"

#include "agent/node/pod_kube_impl.h"
#include "agent/node/pod_processes.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

using namespace std::chrono_literals;

const base::log::Area kArea("pods");

constexpr auto kFetchedKept = 30s;  // longer than a watch lags behind
constexpr auto kLeaveAfter = 2s;    // an API server that is away does not keep a pod in the mesh
constexpr auto kPatchAgain = 200ms, kPatchMost = 15'000ms;
constexpr auto kIdle = 1h;

}  // namespace

PodKubeSource::PodKubeSource(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

base::Result<std::unique_ptr<PodKubeSource>> PodKubeSource::create(std::shared_ptr<kube::Endpoint> endpoint, PodKubeOptions options) {
    if (options.node_name.empty()) return base::invalid("node.name is empty: give the name under which Kubernetes knows this node");
    NodeNetns node = TRY(NodeNetns::of_this_node(options.node_netns));
    auto impl = std::make_shared<Impl>(std::move(endpoint), std::move(options), std::move(node));
    return std::unique_ptr<PodKubeSource>(new PodKubeSource(std::move(impl)));
}

base::Result<void> PodKubeSource::start(PodEvents& events) {
    Impl& i = *impl_;
    i.events = &events;
    i.writer = std::make_unique<RedirectionWriter>(
        i.client,
        [impl = impl_.get()](const RedirectionWriter::Job& job, const base::Result<void>& result) { impl->patched(job, result); });
    i.watcher = TRY(kube::Watcher::create(i.endpoint, Impl::specs(i.options), i.options.watch, i));
    i.thread = std::thread([impl = impl_.get()] { impl->run(); });
    i.watcher->start();
    return {};
}

PodKubeSource::~PodKubeSource() {
    give_up();
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        impl_->changed.notify_all();
    }
    if (impl_->watcher) impl_->watcher->stop();
    if (impl_->thread.joinable()) impl_->thread.join();
    impl_->writer.reset();
    impl_->watcher.reset();
}

std::shared_ptr<EnrolmentListener> PodKubeSource::listener() const { return impl_; }

PodKubeStatus PodKubeSource::status() const {
    const std::lock_guard lock(impl_->mutex);
    PodKubeStatus s = impl_->counts;
    s.synced = impl_->told_synced;
    s.pods = impl_->pods.size();
    s.namespaces = impl_->namespaces.size();
    for (const auto& [key, entry] : impl_->pods) {
        s.enrolled += entry.told && entry.told->membership == Membership::Enrolled ? 1u : 0u;
        s.lost += !entry.netns && entry.finds > 1 && impl_->membership(entry.pod) ? 1u : 0u;
    }
    s.network_policies = {.watched = impl_->options.network_policies,
                          .known = impl_->policies_known,
                          .missing = impl_->policies_missing,
                          .policies = impl_->policies.size(),
                          .unread = impl_->policies.unread(),
                          .error = impl_->policies_error};
    return s;
}

std::optional<Membership> PodKubeSource::Impl::membership(const KubePod& pod) const {
    const auto outside = options.observe_others && !pod.host_network && !pod.terminal ? std::optional(Membership::Observed) : std::nullopt;
    if (never_enrolled(pod) || options.excluded_namespaces.contains(pod.ns)) return outside;
    const auto app = pod.labels.find("app");
    if (!options.own_namespace.empty() && pod.ns == options.own_namespace && app != pod.labels.end() && app->second == "ztunnel")
        return std::nullopt;
    const auto ns = namespaces.find(pod.ns);
    return options.enablement.matches(pod.labels, ns == namespaces.end() ? Labels() : ns->second) ? Membership::Enrolled : outside;
}

void PodKubeSource::Impl::captured(const EnrolledPod& pod) {
    const std::lock_guard lock(mutex);
    Entry* entry = by_uid(pod.pod->uid);
    if (entry == nullptr || pod.pod->membership != Membership::Enrolled) return;
    entry->captured = true;
    entry->acknowledged = pod.tunnel_acknowledged;
    entry->captured_in = pod.namespace_handle;
    entry->failure.clear();
    touch();
}

void PodKubeSource::Impl::left(const EnrolledPod& pod) {
    const std::lock_guard lock(mutex);
    Entry* entry = by_uid(pod.pod->uid);
    if (entry == nullptr) return;
    entry->captured = entry->acknowledged = false;
    entry->captured_in.reset();
    touch();
}

void PodKubeSource::Impl::failed(const Pod& pod, const base::Error& error) {
    const std::lock_guard lock(mutex);
    Entry* entry = by_uid(pod.uid);
    if (entry == nullptr) return;
    entry->failure = error.message();
    // What was found may be gone by now: looked for again before long.
    look_again_at = std::min(look_again_at, std::chrono::steady_clock::now() + options.find_most);
    touch();
}

void PodKubeSource::Impl::tell(Entry& entry, Membership as) {
    std::vector<std::string> ignored;
    Pod pod = enrolled_form(entry.pod, options.dns_capture, ignored);
    if (pod.addresses.empty()) pod.addresses = entry.handed_over;
    pod.netns.opened = entry.netns;
    pod.membership = as;
    if (const auto ns = namespaces.find(pod.namespace_name); as == Membership::Enrolled)
        pod.network = policies.network_of(entry.pod, ns == namespaces.end() ? Labels() : ns->second);
    entry.leave_by.reset();
    if (entry.told && *entry.told == pod) return;
    for (const std::string& annotation : ignored)
        WARREN_LOG(kArea, base::log::Level::Warn, "annotation ignored: its value is no boolean", {"pod", entry.pod.key()},
                   {"annotation", annotation});
    entry.told = std::make_shared<const Pod>(std::move(pod));
    events->pod_changed(entry.told);
}

// The annotation goes first: who reads it must not send HBONE to a pod that takes none any more (contract 12.1, row 8).
void PodKubeSource::Impl::leave(Entry& entry, base::MonoTime now) {
    const bool announced = options.annotate && !entry.pod.terminal && !entry.pod.redirection().empty();
    if (announced && !entry.leave_by) entry.leave_by = now + kLeaveAfter;
    if (!announced || now >= *entry.leave_by) let_go(entry);
}

void PodKubeSource::Impl::annotate(Entry& entry, base::MonoTime now) {
    if (!options.annotate || entry.patching || now < entry.patch_at || entry.pod.host_network) return;
    const std::string is = entry.pod.redirection();
    std::string wanted;
    const bool member = entry.told && entry.told->membership == Membership::Enrolled && !entry.leave_by;
    if (member) {
        // Not captured yet: by us. An earlier agent's word stands as its rows do.
        if (!entry.captured) return;
        // Announced by an earlier agent and captured still: what this one's tunnel has yet to say takes nothing back. Peers that read
        // pending would send plaintext, where HBONE to a pod without a listening tunnel is refused.
        if (!entry.acknowledged && is == "enabled") return;
        wanted = entry.acknowledged ? "enabled" : "pending";
    } else if (membership(entry.pod) == Membership::Enrolled) {
        return;  // about to be found
    }
    // Another product's value is not ours to remove.
    if (is == wanted || (wanted.empty() && is != "enabled" && is != "pending")) return;
    entry.patching = true;
    ++counts.patches;
    writer->write({entry.pod.ns, entry.pod.name, entry.pod.uid, wanted});
}

void PodKubeSource::Impl::patched(const RedirectionWriter::Job& job, const base::Result<void>& result) {
    const std::lock_guard lock(mutex);
    Entry* entry = by_uid(job.uid);
    if (!result) {
        ++counts.patch_failures;
        const std::string text = "annotation of pod " + job.ns + "/" + job.name + ": " + result.error().message();
        if (counts.error != text) WARREN_LOG(kArea, base::log::Level::Warn, "a pod's annotation is not written", {"why", text});
        counts.error = text;
    }
    if (entry == nullptr) return;
    entry->patching = false;
    if (result) {
        entry->patch_delay = {};
        entry->patch_at = {};
        if (job.value.empty())
            entry->pod.annotations.erase(kRedirectionAnnotation);
        else
            entry->pod.annotations[kRedirectionAnnotation] = job.value;
    } else {
        entry->patch_delay = std::clamp<std::chrono::milliseconds>(entry->patch_delay * 2, kPatchAgain, kPatchMost);
        entry->patch_at = std::chrono::steady_clock::now() + entry->patch_delay;
    }
    touch();
}

void PodKubeSource::Impl::decide(Entry& entry, base::MonoTime now) {
    const auto as = membership(entry.pod);
    if (!as) {
        if (entry.told) leave(entry, now);
    } else if (entry.netns) {
        if (entry.told && entry.told->membership == Membership::Enrolled && *as == Membership::Observed &&
            !entry.pod.redirection().empty() && options.annotate) {
            leave(entry, now);
        } else {
            tell(entry, *as);
        }
    }
    annotate(entry, now);
}

void PodKubeSource::Impl::decide_all(base::MonoTime now) {
    for (auto it = pods.begin(); it != pods.end();) {
        const auto here = it++;
        if (here->second.fetched && now - *here->second.fetched > kFetchedKept)
            drop(std::string(here->first));
        else if (known_namespace(here->second.pod.ns))
            decide(here->second, now);
    }
}

base::MonoTime PodKubeSource::Impl::next_due(base::MonoTime now) const {
    base::MonoTime due = std::min(now + kIdle, std::max(look_again_at, now));
    for (const auto& [key, entry] : pods) {
        if (entry.fetched) due = std::min(due, *entry.fetched + kFetchedKept);
        if (entry.leave_by) due = std::min(due, *entry.leave_by);
        if (!entry.patching && entry.patch_at > now) due = std::min(due, entry.patch_at);
        if (!entry.netns && !entry.pod.addresses.empty() && known_namespace(entry.pod.ns) && membership(entry.pod))
            due = std::min(due, entry.find_at);
    }
    return due + 1ms;
}

// One look at /proc for all that are missing, and now and then for those that are not: a sandbox that was made anew without the plugin.
void PodKubeSource::Impl::look_for_namespaces(Lock& lock) {
    const auto now = std::chrono::steady_clock::now();
    const bool again = now >= look_again_at;
    std::set<std::string> wanted;
    std::map<std::string, std::string> uid_of;  // as the node calls them
    for (auto& [key, entry] : pods) {
        const bool missing = !entry.netns && entry.find_at <= now;
        if (entry.pod.addresses.empty() || !(missing || again) || !known_namespace(entry.pod.ns) || !membership(entry.pod)) continue;
        uid_of[entry.pod.node_uid] = entry.pod.uid;
        wanted.insert(entry.pod.node_uid);
    }
    if (again) look_again_at = now + options.look_again;
    if (wanted.empty()) return;
    ++counts.scans;
    lock.unlock();
    const auto found = find_pod_namespaces(options.proc, node.node(), wanted);
    lock.lock();
    if (!found) counts.error = found.error().message();
    for (const auto& [node_uid, uid] : uid_of) {
        Entry* entry = by_uid(uid);
        if (entry == nullptr) continue;
        const auto at = found ? found->find(node_uid) : decltype(found->end())();
        const bool there = found && at != found->end();
        const bool same = there && entry->netns && *entry->netns == *at->second;
        if (there && !same) {
            // Believed only when one of the pod's addresses is in it (contract 1.6, step 5).
            Pod probe;
            probe.netns.opened = at->second;
            const auto opened = PodNetns::open(probe, node);
            const auto& mine = entry->pod.addresses;
            const bool believed = opened && std::any_of(mine.begin(), mine.end(), [&](const base::IpAddr& a) {
                                      return std::binary_search(opened->addresses().begin(), opened->addresses().end(), a);
                                  });
            if (believed) entry->netns = at->second, entry->container.clear();
        }
        ++entry->finds;
        if (entry->netns) continue;
        entry->find_delay = std::clamp(entry->find_delay * 2, options.find_first, options.find_most);
        entry->find_at = std::chrono::steady_clock::now() + entry->find_delay;
    }
}

void PodKubeSource::Impl::write_state(Lock& lock) {
    if (options.state_file.empty() || !ready()) return;
    cni::NodeState state;
    state.unknown_waits = options.unknown_waits;
    for (const auto& [name, labels] : namespaces)
        state.namespaces[name] = !options.excluded_namespaces.contains(name) && options.enablement.matches({}, labels);
    for (const auto& [key, entry] : pods)
        if (membership(entry.pod) == Membership::Enrolled) state.namespaces[entry.pod.ns] = true;
    std::string text = encode(state);
    if (text == state_written) return;
    lock.unlock();
    const auto written = cni::write_whole(options.state_file, text, 0644);
    lock.lock();
    if (written) {
        state_written = std::move(text);
    } else {
        counts.error = written.error().message();
        WARREN_LOG(kArea, base::log::Level::Error, "the state for the CNI plugin is not written", {"why", counts.error});
    }
}

void PodKubeSource::Impl::tell_synced(Lock& lock) {
    if (told_synced || !ready() || !policies_answered()) return;
    for (const auto& [key, entry] : pods) {
        const bool sought = entry.netns || entry.pod.addresses.empty() || entry.finds > 1;
        if (!sought && membership(entry.pod)) return;
    }
    told_synced = true;
    events->pods_synced();
    if (!options.on_synced) return;
    lock.unlock();
    options.on_synced();
    lock.lock();
}

void PodKubeSource::Impl::run() {
    Lock lock(mutex);
    look_again_at = std::chrono::steady_clock::now() + options.look_again;
    while (!stopping) {
        dirty = false;
        look_for_namespaces(lock);
        decide_all(std::chrono::steady_clock::now());
        write_state(lock);
        tell_synced(lock);
        changed.notify_all();  // those who ask look at what has become of theirs
        changed.wait_until(lock, next_due(std::chrono::steady_clock::now()), [this] { return stopping || dirty; });
    }
}

}  // namespace warren::node
