// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/mesh_client.h"

#include "agent/xds/mesh_names.h"
#include "agent/xds/channel.h"
#include "agent/xds/join.h"
#include "policy/batch_proto.h"
#include "ztunnel/demand_names.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace warren::ztunnel {

namespace {

const base::RealClock kClock;
constexpr const char* kDefaultToken = "./var/run/secrets/tokens/istio-token";

// Names of the mesh are looked at so often that one goes no later than a quarter of the time after it may.
std::chrono::milliseconds expiry_pace(const OnDemandOptions& options) {
    return std::clamp<std::chrono::milliseconds>(options.unused / 4, std::chrono::milliseconds(10), std::chrono::minutes(1));
}

}  // namespace

void restrict_control_channels_to_tls13() { xds::restrict_grpc_to_tls13(); }

base::Result<xds::ClientOptions> xds_options(const Settings& settings) {
    xds::ClientOptions options;
    options.address = settings.xds.address;
    options.alternative_host = settings.xds.alternative_name;
    if (!options.address.starts_with("unix:")) {
        options.roots = TRY(xds::RootSource::from_setting("XDS_ROOT_CA", settings.xds.roots));
        options.token = xds::TokenSource::from_setting(settings.auth_token, kDefaultToken);
        options.proof = node_proof(settings, options.token);
    }
    options.cluster_id = settings.cluster_id;
    options.headers = settings.xds.headers;
    if (!settings.own.instance_ip.empty()) options.node.instance_ip = settings.own.instance_ip;
    options.node.pod_name = settings.own.pod_name;
    options.node.pod_namespace = settings.own.pod_namespace;
    options.node.node_name = settings.proxy.node_name;
    options.node.metadata = settings.metadata;
    options.node.json = settings.json_metadata;
    options.types = {{std::string(xds::kAddressType), settings.xds_on_demand}, {std::string(xds::kAuthorizationType)}};
    // A stream that begins asks again for all there is.
    options.max_pending_names = std::max(options.max_pending_names, size_t{2} * settings.on_demand.max_names);
    return options;
}

xds::NodeProofSource node_proof(const Settings& settings, const xds::TokenSource& token) {
    if (settings.node_certificate.empty()) return {};
    return xds::proof_from_files(settings.node_certificate, settings.node_key, !token.none(), kClock);
}

// -- responses

MeshUpdates::MeshUpdates(policy::MeshFeed& feed, OnDemand* on_demand, std::string own_node)
    : feed_(feed), on_demand_(on_demand), own_node_(std::move(own_node)), reader_(feed.pool()) {}

std::vector<xds::Rejection> MeshUpdates::apply(const xds::Update& update) {
    const bool addresses = update.type_url == xds::kAddressType;
    std::vector<policy::ResourceBytes> resources;
    for (const xds::Resource& resource : update.resources) resources.push_back({resource.name, resource.body});
    // What the client itself could not unpack stands first; what is added to it does not read.
    std::vector<policy::RefusedResource> refused;
    for (const xds::Rejection& one : update.refused) refused.push_back({one.name, one.reason});
    feed_.update([&](const policy::Snapshot&) {
        policy::Batch batch;
        addresses ? policy::read_addresses(reader_, resources, batch, refused)
                  : policy::read_policies(reader_, feed_.pool(), resources, batch, refused);
        auto& removed = addresses ? batch.removed_addresses : batch.removed_policies;
        removed.assign(update.removed.begin(), update.removed.end());
        return batch;
    });
    ignored_names_ = reader_.ignored_names();
    if (addresses && on_demand_ != nullptr) release_waiters(update);
    std::vector<xds::Rejection> rejected;
    for (size_t i = update.refused.size(); i < refused.size(); ++i) rejected.push_back({refused[i].name, refused[i].reason});
    return rejected;
}

// An answer carries the name that was asked for, says that there is none, or, to a "network/ip", is whoever has that address. One that
// does not read is no answer: whoever waits is refused at the deadline.
void MeshUpdates::release_waiters(const xds::Update& update) {
    std::unordered_set<std::string_view> named(update.removed.begin(), update.removed.end());
    for (const xds::Resource& resource : update.resources) named.insert(resource.name);
    const auto now = feed_.snapshot();
    // Nobody is found by an address that is a node's, and that is the answer to whoever asked for it.
    std::unordered_set<std::string> of_hosts;
    for (const xds::Resource& resource : update.resources) {
        const policy::Workload* w = now->workload(resource.name);
        if (w == nullptr || w->network_mode != policy::NetworkMode::HostNetwork) continue;
        for (const base::IpAddr& ip : w->addresses) of_hosts.insert(demand_name({w->network, ip}));
    }
    const auto is_removed = [&](std::string_view name) {
        return std::find(update.removed.begin(), update.removed.end(), name) != update.removed.end();
    };
    using Answer = OnDemand::Answer;
    on_demand_->answered(
        [&](const std::string& name) {
            if (demand_is_there(*now, name) || of_hosts.contains(name)) return Answer::Yes;
            if (!named.contains(name)) return Answer::No;
            if (is_removed(name)) return Answer::Yes;
            const policy::ServiceEntry* service = now->service(name);
            if (service == nullptr) return demand_covers(*now, name).empty() ? Answer::No : Answer::Yes;
            // Of a service that the group keeps up to date, news may cross with the question; the answer has the endpoints, if there are
            // any.
            return on_demand_->options().services && service->endpoints.empty() ? Answer::Perhaps : Answer::Yes;
        },
        now->version());
}

// Records that no name asked for stands behind: those of this node come by themselves, and with the group all services do.
OnDemand::Names MeshUpdates::uncovered(const policy::Snapshot& now, const OnDemand::Names& asked) const {
    std::unordered_set<std::string_view> covered;
    for (const std::string& name : asked)
        for (const std::string_view one : demand_covers(now, name)) covered.insert(one);
    OnDemand::Names out;
    now.each_workload([&](const policy::Workload& w) {
        const bool local = !own_node_.empty() && w.node.view() == own_node_;
        if (!local && !covered.contains(w.uid.view())) out.push_back(w.uid.str());
    });
    if (on_demand_->options().services) return out;
    now.each_service([&](const policy::ServiceEntry& entry) {
        if (!covered.contains(entry.service->key.view())) out.push_back(entry.service->key.str());
    });
    return out;
}

void MeshUpdates::expire(std::chrono::steady_clock::time_point when) {
    if (on_demand_ == nullptr) return;
    feed_.update([&](const policy::Snapshot& now) {
        policy::Batch batch;
        OnDemand::Names own;  // services of this node's pods are looked up by whoever calls them
        now.each_workload([&](const policy::Workload& w) {
            if (own_node_.empty() || w.node.view() != own_node_) return;
            for (const policy::WorkloadService& service : w.services) own.push_back(service.service.str());
        });
        on_demand_->use(own);
        on_demand_->expire(when, [&](const OnDemand::Expired& expired) {
            batch.removed_addresses = uncovered(now, expired.remaining);
            return batch.removed_addresses;
        });
        return batch;
    });
}

// -- the client

base::Result<std::unique_ptr<MeshClient>> MeshClient::create(xds::ClientOptions options, MeshUpdates& updates, OnDemand* on_demand,
                                                             std::function<void()> on_synced) {
    std::unique_ptr<MeshClient> self(new MeshClient(updates, on_demand, std::move(on_synced)));
    self->client_ = TRY(xds::Client::create(std::move(options), *self));
    if (on_demand == nullptr) return self;
    on_demand->connect([client = self->client_.get()](std::span<const std::string> names, bool wanted) {
        return wanted ? client->subscribe(xds::kAddressType, names) : client->unsubscribe(xds::kAddressType, names);
    });
    return self;
}

MeshClient::~MeshClient() { stop(); }

void MeshClient::start() {
    client_->start();
    if (on_demand_ != nullptr && !expiry_.joinable()) expiry_ = std::thread([this] { run_expiry(); });
}

void MeshClient::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stopped_.notify_all();
    if (expiry_.joinable()) expiry_.join();
    if (on_demand_ != nullptr) on_demand_->connect({});
    client_->stop();
}

void MeshClient::synced(std::string_view) {
    if (client_->synced() && on_synced_) std::exchange(on_synced_, {})();
}

void MeshClient::connected() {
    if (on_demand_ == nullptr) return;
    if (on_demand_->options().services) {
        const std::string group(xds::kServicesGroup);
        (void)client_->subscribe(xds::kAddressType, {&group, 1});
    }
    on_demand_->ask_again();
}

void MeshClient::run_expiry() {
    std::unique_lock lock(mutex_);
    while (!stopped_.wait_for(lock, expiry_pace(on_demand_->options()), [this] { return stopping_; })) {
        lock.unlock();
        updates_.expire(std::chrono::steady_clock::now());
        lock.lock();
    }
}

}  // namespace warren::ztunnel
