// SPDX-License-Identifier: Apache-2.0
// The state of a PodKubeSource; internal to pod_kube_*.cpp. One mutex guards all of it; the events are called by the source's thread with
// the mutex held, and Enrolment calls the listener with none of its own held.
#pragma once

#include "agent/cni/node_state.h"
#include "agent/kube/client.h"
#include "agent/kube/watcher.h"
#include "agent/node/kube_network_policy.h"
#include "agent/node/kube_pod.h"
#include "agent/node/pod_kube_source.h"
#include "agent/node/pod_netns.h"
#include "agent/node/redirection_writer.h"
#include "base/clock.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

namespace warren::node {

struct PodKubeSource::Impl final : kube::Handler, EnrolmentListener {
    using Lock = std::unique_lock<std::mutex>;

    struct Entry {
        KubePod pod;
        std::optional<base::MonoTime> fetched;  // by a single request; forgotten unless the watch tells of it too
        std::shared_ptr<const base::Netns> netns;
        std::string container;                  // of the sandbox that the CNI plugin told of
        std::vector<base::IpAddr> handed_over;  // its addresses, which the API server does not know yet
        PodPtr told;

        // As Enrolment says.
        bool captured = false, acknowledged = false;
        std::shared_ptr<const base::Netns> captured_in;
        std::string failure;

        // The annotation.
        bool patching = false;
        base::MonoTime patch_at{};
        std::chrono::milliseconds patch_delay{0};
        std::optional<base::MonoTime> leave_by;  // it goes when the annotation is gone, then at the latest

        // The search.
        base::MonoTime find_at{};
        std::chrono::milliseconds find_delay{0};
        unsigned finds = 0;
    };

    Impl(std::shared_ptr<kube::Endpoint> e, PodKubeOptions o, NodeNetns n)
        : endpoint(std::move(e)),
          options(std::move(o)),
          node(std::move(n)),
          client(std::make_shared<kube::Client>(endpoint)),
          policies(options.policy_limits) {}

    [[nodiscard]] static std::vector<kube::WatchSpec> specs(const PodKubeOptions& options);

    // kube::Handler, the watcher's thread.
    void upsert(size_t kind, kube::Object object) override;
    void remove(size_t kind, const std::string& key) override;
    void synced(size_t kind, bool missing) override;
    void problem(size_t kind, const std::string& text) override;

    // EnrolmentListener, the agent's loop.
    void captured(const EnrolledPod& pod) override;
    void left(const EnrolledPod& pod) override;
    void tunnel_acknowledged(const EnrolledPod& pod) override { captured(pod); }
    void failed(const Pod& pod, const base::Error& error) override;

    // With the mutex held.
    void put(KubePod pod, bool from_watch);
    void drop(const std::string& key);
    void put_policy(const kube::Object& object);
    [[nodiscard]] bool policies_answered() const { return !options.network_policies || policies_known || policies_failed; }
    void let_go(Entry& entry);
    [[nodiscard]] Entry* by_uid(const std::string& uid);
    [[nodiscard]] Entry* asked_for(const cni::Question& question);
    [[nodiscard]] bool ready() const { return pods_synced && namespaces_synced; }
    [[nodiscard]] bool known_namespace(const std::string& ns) const { return namespaces.contains(ns) || namespaces_synced; }
    [[nodiscard]] std::optional<Membership> membership(const KubePod& pod) const;
    void touch() {
        dirty = true;
        changed.notify_all();
    }

    // The source's thread.
    void run();
    void decide_all(base::MonoTime now);
    void decide(Entry& entry, base::MonoTime now);
    void tell(Entry& entry, Membership as);
    void leave(Entry& entry, base::MonoTime now);
    void annotate(Entry& entry, base::MonoTime now);
    void look_for_namespaces(Lock& lock);
    void write_state(Lock& lock);
    void tell_synced(Lock& lock);
    [[nodiscard]] base::MonoTime next_due(base::MonoTime now) const;
    void patched(const RedirectionWriter::Job& job, const base::Result<void>& result);

    // The CNI server's threads.
    bool learn(Lock& lock, const cni::Question& question, base::MonoTime deadline);
    cni::Answer by_namespace(const cni::Question& question, const std::string& why);

    const std::shared_ptr<kube::Endpoint> endpoint;
    const PodKubeOptions options;
    const NodeNetns node;
    const std::shared_ptr<kube::Client> client;
    std::unique_ptr<kube::Watcher> watcher;
    std::unique_ptr<RedirectionWriter> writer;
    PodEvents* events = nullptr;
    std::thread thread;

    mutable std::mutex mutex;  // all below
    std::condition_variable changed;
    bool stopping = false, giving_up = false, dirty = false;
    bool pods_synced = false, namespaces_synced = false, told_synced = false;
    std::map<std::string, Entry> pods;                    // by key
    std::map<std::string, Labels> namespaces;             // by name
    std::unordered_map<std::string, std::string> key_of;  // by uid
    NetworkPolicies policies;
    bool policies_known = false, policies_missing = false;
    bool policies_failed = false;  // since pods were listed: they are not waited for
    std::string policies_error;
    base::MonoTime look_again_at{};
    std::string state_written;
    PodKubeStatus counts;
};

}  // namespace warren::node
