// SPDX-License-Identifier: Apache-2.0
// MeshClient: the mesh from a control plane (data-plane contract 3): each response of the xDS client becomes one change of the mesh. A
// resource that does not read is refused by name and reason, everything else of its response counts; a policy that does not read is put in
// force as a refusal, so that a workload which lists it is denied unless an earlier version still stands. While the control plane is away
// everything goes on with the last state.
//
// In on-demand mode it answers those who wait for names, and gives back what nobody uses: names, and the records that came for them.
//
// apply() and on_synced run on the xDS client's thread; names expire on one of its own. The feed, the table and whatever on_synced uses
// outlive it. start() after the last fork(). gRPC stays behind agent/xds.
#pragma once

#include "agent/xds/client.h"
#include "base/result.h"
#include "policy/mesh_feed.h"
#include "policy/mesh_proto.h"
#include "ztunnel/on_demand.h"
#include "ztunnel/settings.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace warren::ztunnel {

// TLS 1.2 off for gRPC, of the certificate client too (agent/xds/channel.h): in main, before there are threads.
void restrict_control_channels_to_tls13();

// From XDS_ADDRESS, XDS_ROOT_CA, ALT_XDS_HOSTNAME, XDS_HEADER_*, AUTH_TOKEN and the node's metadata (contract 3.2, 3.7).
[[nodiscard]] base::Result<xds::ClientOptions> xds_options(const Settings& settings);
// What is shown of the node (WARREN_NODE_CERT, WARREN_NODE_KEY), to the certificate service too; beside a token it may be missing. Empty:
// nothing is.
[[nodiscard]] xds::NodeProofSource node_proof(const Settings& settings, const xds::TokenSource& token);

// Responses to changes of the mesh; apart from the client, so that it can be tested without one.
class MeshUpdates {
  public:
    // on_demand: null in wildcard mode.
    MeshUpdates(policy::MeshFeed& feed, OnDemand* on_demand, std::string own_node);
    std::vector<xds::Rejection> apply(const xds::Update& update);
    // Gives back what is not used any more.
    void expire(std::chrono::steady_clock::time_point now);
    [[nodiscard]] uint64_t ignored_names() const { return ignored_names_; }

  private:
    void release_waiters(const xds::Update& update);
    OnDemand::Names uncovered(const policy::Snapshot& now, const OnDemand::Names& asked) const;

    policy::MeshFeed& feed_;
    OnDemand* const on_demand_;
    const std::string own_node_;
    policy::ResourceReader reader_;  // under the feed's lock
    std::atomic<uint64_t> ignored_names_ = 0;
};

class MeshClient final : private xds::Handler {
  public:
    // Errors name the setting at fault. on_synced: once, when every wildcard type is there (contract 3.8).
    static base::Result<std::unique_ptr<MeshClient>> create(xds::ClientOptions options, MeshUpdates& updates, OnDemand* on_demand,
                                                            std::function<void()> on_synced);
    ~MeshClient() override;
    void start();
    void stop();
    [[nodiscard]] xds::Stats stats() const { return client_->stats(); }

  private:
    MeshClient(MeshUpdates& updates, OnDemand* on_demand, std::function<void()> on_synced)
        : updates_(updates), on_demand_(on_demand), on_synced_(std::move(on_synced)) {}
    std::vector<xds::Rejection> apply(const xds::Update& update) override { return updates_.apply(update); }
    void synced(std::string_view type_url) override;
    void connected() override;
    void run_expiry();

    MeshUpdates& updates_;
    OnDemand* const on_demand_;
    std::function<void()> on_synced_;
    std::unique_ptr<xds::Client> client_;
    std::mutex mutex_;
    std::condition_variable stopped_;
    bool stopping_ = false;
    std::thread expiry_;
};

}  // namespace warren::ztunnel
