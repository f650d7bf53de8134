// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/kube_side.h"

#include "base/bytes.h"

#include <array>
#include <cstdlib>

#include <openssl/sha.h>

namespace warren::cluster {

namespace {
constexpr const char* kLease = "warren-controller";
}

void TrustedPods::update(const Objects& objects, std::span<const Change> changes) {
    const auto known = [](const Pod& pod) { return Known{pod.meta.uid, pod.service_account, pod.node}; };
    if (changes.empty()) {
        Pods next;
        for (const Pod& pod : objects.pods)
            if (trusted(pod)) next.emplace(pod.meta.key(), known(pod));
        const std::lock_guard lock(mutex_);
        pods_.swap(next);
        return;
    }
    const std::lock_guard lock(mutex_);
    for (const Change& change : changes) {
        if (change.kind != ObjectKind::Pod) continue;
        if (!change.removed && trusted(objects.pods[change.at]))
            pods_.insert_or_assign(change.key, known(objects.pods[change.at]));
        else
            pods_.erase(change.key);
    }
}

std::optional<std::string> TrustedPods::node_of(const CallerIdentity& caller) const {
    const std::lock_guard lock(mutex_);
    const auto found = pods_.find(std::string(caller.identity.ns()) + "/" + caller.pod_name);
    if (found == pods_.end() || found->second.node.empty() || caller.pod_uid.empty()) return std::nullopt;
    if (found->second.uid != caller.pod_uid || found->second.account != caller.identity.service_account()) return std::nullopt;
    return found->second.node;
}

base::Result<std::unique_ptr<KubeSide>> KubeSide::create(Options options, const base::Clock& clock) {
    std::unique_ptr<KubeSide> out(new KubeSide(std::move(options)));
    const Options& o = out->options_;
    const auto config = TRY(kube::find_config(o.kubeconfig, o.context, [](const char* name) { return std::getenv(name); }));
    auto endpoint = TRY(kube::Endpoint::create(config));
    out->client_ = std::make_unique<kube::Client>(endpoint);
    kube::LeaderOptions lease;
    lease.ns = o.mesh.system_namespace;
    lease.name = kLease;
    lease.identity = o.lease_identity;
    out->leader_ = std::make_unique<kube::LeaderElection>(*out->client_, std::move(lease), std::function<void(bool)>());
    const auto leading = [leader = out->leader_.get()] { return leader->leading(); };
    out->source_ = TRY(KubeSource::create(endpoint));
    kube::TokenReviewOptions review;
    review.max_at_once = kReviewsAtOnce;
    review.key_of = [](std::string_view token) {
        std::array<uint8_t, SHA256_DIGEST_LENGTH> hash{};
        SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
        return base::to_hex(hash);
    };
    out->reviewer_ = std::make_unique<kube::TokenReviewer>(*out->client_, clock, std::move(review));
    RootPublisherOptions roots;
    roots.discovery = o.mesh.discovery;
    RootPublisherOptions lists = roots;
    lists.name = "istio-ca-crl";
    lists.key = "ca-crl.pem";
    out->roots_ = TRY(RootPublisher::create(*out->client_, std::move(roots), leading));
    out->lists_ = TRY(RootPublisher::create(*out->client_, std::move(lists), leading));
    out->statuses_ = std::make_unique<StatusWriter>(*out->client_, leading);
    if (o.addresses) out->addresses_ = std::make_unique<AddressWriter>(*out->client_, leading, *o.addresses, o.mesh.revision);
    return out;
}

KubeSide::~KubeSide() { stop(); }

base::Result<ReviewedToken> KubeSide::review(std::string_view token, std::string_view cluster_id, base::MonoTime deadline) {
    if (!cluster_id.empty() && cluster_id != options_.mesh.cluster_id)
        return base::Error{base::Errc::Denied, 0, "",
                           "clusterid " + base::quoted(cluster_id) + " is not this cluster, " + base::quoted(options_.mesh.cluster_id)};
    kube::TokenIdentity known = TRY(reviewer_->review(std::string(token), deadline));
    return ReviewedToken{std::move(known.ns), std::move(known.service_account), std::move(known.pod_name), std::move(known.pod_uid),
                         std::move(known.node_name)};
}

void KubeSide::start() {
    leader_->start();
    roots_->start();
    lists_->start();
    statuses_->start();
    if (addresses_) addresses_->start();
}

void KubeSide::stop() {
    if (stopped_.exchange(true)) return;
    if (source_) source_->stop();
    if (addresses_) addresses_->stop();
    if (statuses_) statuses_->stop();
    if (lists_) lists_->stop();
    if (roots_) roots_->stop();
    if (leader_) leader_->stop();  // gives the lease back, with the client
    if (client_) client_->stop();
}

void KubeSide::set_trust(const Trust& trust) {
    roots_->set_root(trust.roots_pem);
    // A mesh that never revoked anything has no such object; one that takes everything back has an empty one.
    listed_ = listed_ || !trust.revocations_pem.empty();
    if (listed_) lists_->set_root(trust.revocations_pem);
}

std::optional<AddressWriter::Stats> KubeSide::addresses() const { return addresses_ ? std::optional(addresses_->stats()) : std::nullopt; }

void KubeSide::objects_changed(const Objects& objects, std::span<const Change> changes) {
    pods_.update(objects, changes);
    if (addresses_) addresses_->update(objects, changes);
}

}  // namespace warren::cluster
