// SPDX-License-Identifier: Apache-2.0
// KubeSide: what the controller has to do with an API server: the source of objects, the review of tokens, the pods that callers claim to
// be, and what the leading replica writes: the root certificate in every namespace, the conditions of objects, and
// addresses for hosts that have none. create, start, stop and
// the destructor belong to one owner; the rest to any thread.
#pragma once

#include "agent/cluster/address_writer.h"
#include "agent/cluster/caller.h"
#include "agent/cluster/kube_source.h"
#include "agent/cluster/node_authorizer.h"
#include "agent/cluster/root_publisher.h"
#include "agent/cluster/status_writer.h"
#include "agent/kube/leader.h"
#include "agent/kube/token_review.h"
#include "base/clock.h"
#include "base/result.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>

namespace warren::cluster {

// The pods of the accounts that may ask for others' certificates (Kubernetes contract 4.3, check 4). Any thread; changed by one.
class TrustedPods final : public CallerPods {
  public:
    explicit TrustedPods(std::set<std::string> accounts) : accounts_(std::move(accounts)) {}
    // As SourceHandler::changed: at the cost of the changes, of all pods when there are none.
    void update(const Objects& objects, std::span<const Change> changes);
    [[nodiscard]] std::optional<std::string> node_of(const CallerIdentity& caller) const override;

  private:
    struct Known {
        std::string uid, account, node;
    };
    using Pods = std::unordered_map<std::string, Known>;  // by "ns/name"
    [[nodiscard]] bool trusted(const Pod& pod) const { return accounts_.contains(pod.meta.ns + "/" + pod.service_account); }
    const std::set<std::string> accounts_;  // "ns/account"
    mutable std::mutex mutex_;              // below
    Pods pods_;
};

class KubeSide final : public TokenReviewer {
  public:
    struct Options {
        std::string kubeconfig, context;
        Settings mesh;
        std::set<std::string> trusted_accounts;
        std::string lease_identity;              // no two replicas alike
        std::optional<AddressRanges> addresses;  // for hosts of ServiceEntries; none: they get none
    };
    static base::Result<std::unique_ptr<KubeSide>> create(Options options, const base::Clock& clock);
    ~KubeSide() override;

    [[nodiscard]] Source& source() { return *source_; }
    [[nodiscard]] const CallerPods& pods() const { return pods_; }
    // Of our own cluster only: the id is empty or ours.
    base::Result<ReviewedToken> review(std::string_view token, std::string_view cluster_id, base::MonoTime deadline) override;

    void start();
    void stop();
    // As SourceHandler::changed.
    void objects_changed(const Objects& objects, std::span<const Change> changes);
    void statuses_changed(std::vector<StatusChange> changes) { statuses_->update(std::move(changes)); }
    // What every namespace is to hold: the roots, and the revocation lists once there are any.
    void set_trust(const Trust& trust);

    static constexpr size_t kReviewsAtOnce = 8;
    [[nodiscard]] kube::LeaderStats leader() const { return leader_->stats(); }
    [[nodiscard]] RootPublisher::Stats roots() const { return roots_->stats(); }
    [[nodiscard]] RootPublisher::Stats lists() const { return lists_->stats(); }
    [[nodiscard]] StatusWriter::Stats statuses() const { return statuses_->stats(); }
    [[nodiscard]] std::optional<AddressWriter::Stats> addresses() const;
    [[nodiscard]] kube::TokenReviewer::Stats reviews() const { return reviewer_->stats(); }

  private:
    explicit KubeSide(Options options) : options_(std::move(options)), pods_(options_.trusted_accounts) {}

    const Options options_;
    TrustedPods pods_;
    std::unique_ptr<kube::Client> client_;
    std::unique_ptr<kube::LeaderElection> leader_;
    std::unique_ptr<KubeSource> source_;
    std::unique_ptr<kube::TokenReviewer> reviewer_;
    std::unique_ptr<RootPublisher> roots_, lists_;
    bool listed_ = false;  // of who calls set_trust
    std::unique_ptr<StatusWriter> statuses_;
    std::unique_ptr<AddressWriter> addresses_;  // null: switched off
    std::atomic<bool> stopped_{false};
};

}  // namespace warren::cluster
