// SPDX-License-Identifier: Apache-2.0
#include "agent/node/mesh_source.h"

#include "agent/node/loopback_xds.h"
#include "agent/node/mesh_file_resources.h"
#include "agent/xds/mesh_names.h"
#include "agent/xds/relay.h"
#include "base/log.h"
#include "base/small_file.h"
#include "policy/batch_proto.h"
#include "policy/mesh_feed.h"

#include <mutex>
#include <set>
#include <utility>

#include <unistd.h>

namespace warren::node {
namespace {

const base::log::Area kMesh("mesh");

constexpr size_t kMaxMeshFile = size_t{64} << 20;

// From resources to the agent's own mesh: the end of the relay.
class OwnMesh final : public xds::Handler {
  public:
    OwnMesh(MeshSource::OnSnapshot on_snapshot, std::string_view own_node)
        : on_snapshot_(std::move(on_snapshot)),
          feed_({.on_batch = {}, .on_snapshot = [this](auto snapshot) { on_snapshot_(std::move(snapshot), synced_); }}, own_node),
          reader_(feed_.pool()) {}

    std::vector<xds::Rejection> apply(const xds::Update& update) override {
        std::vector<policy::ResourceBytes> resources;
        resources.reserve(update.resources.size());
        for (const xds::Resource& r : update.resources) resources.push_back({r.name, r.body});
        std::vector<policy::RefusedResource> refused;
        refused.reserve(update.refused.size());
        for (const xds::Rejection& r : update.refused) refused.push_back({r.name, r.reason});
        const bool addresses = update.type_url == xds::kAddressType;
        feed_.update([&](const policy::Snapshot&) {
            policy::Batch batch;
            if (addresses)
                policy::read_addresses(reader_, resources, batch, refused);
            else
                policy::read_policies(reader_, feed_.pool(), resources, batch, refused);
            auto& removed = addresses ? batch.removed_addresses : batch.removed_policies;
            removed.assign(update.removed.begin(), update.removed.end());
            return batch;
        });
        std::vector<xds::Rejection> rejected;
        for (size_t i = update.refused.size(); i < refused.size(); ++i) rejected.push_back({refused[i].name, refused[i].reason});
        return rejected;
    }
    void synced(std::string_view type_url) override {
        synced_types_.emplace(type_url);
        if (synced_types_.size() < 2) return;
        synced_ = true;
        on_snapshot_(feed_.snapshot(), true);
    }
    void connected() override { connected_ = true; }
    void disconnected(xds::Termination, std::string_view) override { connected_ = false; }

    std::shared_ptr<const policy::Snapshot> snapshot() const { return feed_.snapshot(); }
    bool is_synced() const { return synced_; }
    bool is_connected() const { return connected_; }

  private:
    const MeshSource::OnSnapshot on_snapshot_;
    std::atomic<bool> synced_ = false, connected_ = false;
    std::set<std::string, std::less<>> synced_types_;
    policy::MeshFeed feed_;
    policy::ResourceReader reader_;  // under the feed's lock
};

xds::ServerOptions local_server(const Settings& settings) {
    xds::ServerOptions options;
    options.listeners = {{.address = "unix:" + settings.tunnel_xds_socket(), .tls = false}};
    // One client and its successor, on this machine: what changed is told at once.
    options.debounce_quiet = std::chrono::milliseconds(5);
    options.debounce_max = std::chrono::milliseconds(50);
    options.max_streams = 16;
    options.session.implied = xds::implied_names;
    return options;
}

base::Result<xds::ClientOptions> upstream(const Settings& settings) {
    xds::ClientOptions options;
    options.address = settings.xds_address;
    options.alternative_host = settings.xds_alternative_host;
    options.roots = TRY(xds::RootSource::from_setting("xds.roots", settings.xds_roots));
    if (!settings.xds_token.empty()) options.token = xds::TokenSource::from_setting(settings.xds_token, {});
    options.cluster_id = settings.cluster_id;
    // In a cluster the control plane compares what we say of our pod with the token (Kubernetes contract 5.1).
    options.node = xds::NodeSettings::from_environment(environ);
    options.node.node_name = settings.node_name;
    options.node.metadata["CLUSTER_ID"] = settings.cluster_id;
    return options;
}

xds::JoinOptions joining(const Settings& settings, const xds::ClientOptions& upstream) {
    xds::JoinOptions options;
    options.address = settings.xds_address;
    options.alternative_host = settings.xds_alternative_host;
    options.roots = upstream.roots;
    if (!settings.join_token.empty()) options.token = xds::TokenSource::file(settings.join_token);
    options.node = settings.node_name;
    options.trust_domain = settings.trust_domain;
    options.cluster_id = settings.cluster_id;
    return options;
}

class Source final : public MeshSource {
  public:
    Source(const Settings& settings, OnSnapshot on_snapshot) : settings_(settings), mesh_(std::move(on_snapshot), settings.node_name) {}
    ~Source() override {
        watch_.end();
        if (join_) join_->stop();  // a stream may wait for it
        if (client_) client_->stop();
        if (server_) server_->stop();
    }
    base::Result<void> start(base::FileWatcher& watcher) {
        xds::ServerOptions local = local_server(settings_);
        if (!settings_.tunnel_xds_address.empty()) {
            loopback_ = std::make_unique<LoopbackXds>(LoopbackXds::Options{settings_.tunnel_xds_address, settings_.tunnel_xds_token,
                                                                           settings_.tunnel_xds_state(), settings_.tunnel_xds_root()});
            TRY(loopback_->prepare(local, clock_));
        }
        server_ = TRY(xds::Server::create(std::move(local)));
        relay_ = std::make_unique<xds::Relay>(
            xds::RelayOptions{.names = [node = settings_.node_name](std::string_view type,
                                                                    const xds::Resource& r) { return xds::other_names(type, r, node); }},
            *server_, &mesh_);
        if (settings_.mesh_file.empty()) {
            xds::ClientOptions options = TRY(upstream(settings_));
            if (settings_.joins()) {
                join_ = std::make_unique<NodeJoin>(joining(settings_, options), settings_.join_state, settings_.join_token, clock_);
                options.proof = [join = join_.get()] { return join->proof(); };
            }
            xds::Handler* handler = relay_.get();
            if (!settings_.xds_revocations.empty()) {
                // First: what is revoked is known before what the mesh is.
                options.types.insert(options.types.begin(), {std::string(xds::kRevocationType)});
                revocations_ = std::make_unique<RevocationFile>(settings_.xds_revocations, *relay_);
                handler = revocations_.get();
            }
            client_ = TRY(xds::Client::create(std::move(options), *handler));
            if (join_) join_->start();
            client_->start();
            return {};
        }
        watch_ = TRY(watcher.watch(settings_.mesh_file, [this] { reload(); }));
        return load();
    }

    std::shared_ptr<const policy::Snapshot> snapshot() const override { return mesh_.snapshot(); }
    MeshSourceStatus status() const override {
        MeshSourceStatus s;
        s.kind = client_ ? "xds" : "file";
        s.from = client_ ? settings_.xds_address : settings_.mesh_file;
        s.synced = mesh_.is_synced();
        s.connected = client_ ? mesh_.is_connected() : true;
        if (client_) s.upstream = client_->stats();
        if (join_) s.join = join_->status();
        if (revocations_) s.revocations = revocations_->status();
        s.local = server_->stats();
        s.tunnels = s.local.clients;
        const std::lock_guard lock(mutex_);
        s.error = error_;
        s.reloads = reloads_;
        s.failures = failures_;
        if (!client_) s.connected = !error_;
        return s;
    }

  private:
    base::Result<void> load() {
        const std::string text = TRY(base::read_small_file(settings_.mesh_file, kMaxMeshFile));
        MeshFileResources::Change change = TRY(file_.change(text, settings_.mesh_file));
        // Policies before workloads: one that is named must be there, or it denies for a moment.
        (void)relay_->apply(change.policies());
        (void)relay_->apply(change.addresses());
        if (!std::exchange(told_, true)) {
            relay_->synced(xds::kAuthorizationType);
            relay_->synced(xds::kAddressType);
        }
        const std::lock_guard lock(mutex_);
        ++reloads_;
        error_.reset();
        return {};
    }
    void reload() {
        auto loaded = load();
        if (loaded) {
            WARREN_LOG(kMesh, base::log::Level::Info, "mesh file loaded", {"path", settings_.mesh_file});
            return;
        }
        WARREN_LOG(kMesh, base::log::Level::Error, "the mesh file does not read; the last good state stays in force",
                   {"error", loaded.error().message()});
        const std::lock_guard lock(mutex_);
        ++failures_;
        error_ = loaded.error().message();
    }

    const Settings settings_;
    const base::RealClock clock_;
    OwnMesh mesh_;
    std::unique_ptr<LoopbackXds> loopback_;  // null: the Unix socket only; outlives the server
    std::unique_ptr<xds::Server> server_;
    std::unique_ptr<xds::Relay> relay_;
    std::unique_ptr<RevocationFile> revocations_;  // null: not asked for
    std::unique_ptr<NodeJoin> join_;               // outlives the client
    std::unique_ptr<xds::Client> client_;
    MeshFileResources file_;
    bool told_ = false;
    mutable std::mutex mutex_;
    std::optional<std::string> error_;
    uint64_t reloads_ = 0, failures_ = 0;
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

}  // namespace

base::Result<std::unique_ptr<MeshSource>> MeshSource::start(const Settings& settings, base::FileWatcher& watcher, OnSnapshot on_snapshot) {
    auto source = std::make_unique<Source>(settings, std::move(on_snapshot));
    TRY(source->start(watcher));
    return std::unique_ptr<MeshSource>(std::move(source));
}

}  // namespace warren::node
