// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/daemon.h"

#include "base/log.h"
#include "ztunnel/ca_client.h"
#include "ztunnel/config_dump.h"
#include "ztunnel/file_signer.h"
#include "ztunnel/local_signer.h"
#include "ztunnel/mesh_client.h"
#include "ztunnel/store_metrics.h"
#include "ztunnel/xds_metrics.h"

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("main");
constexpr auto kMeshSettle = std::chrono::milliseconds(100);

// Without a certificate authority nothing can be signed; the error is what a connection that needs a certificate reports.
class NoSigner final : public CertSigner {
    base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity&, std::chrono::steady_clock::time_point) override {
        return base::Error{base::Errc::Unsupported, 0, "",
                           "no certificate authority: set CA_ADDRESS, WARREN_LOCAL_CA, or in dedicated mode WARREN_CERT_CHAIN"};
    }
};

}  // namespace

base::Result<std::unique_ptr<Daemon>> Daemon::start(const Settings& settings, std::function<void()> quit) {
    std::unique_ptr<Daemon> daemon(new Daemon(settings, std::move(quit)));
    daemon->waits_for_mesh_ = daemon->readiness_.expect("state manager");
    daemon->waits_for_pods_ = daemon->readiness_.expect("proxy");
    daemon->watcher_ = TRY(base::FileWatcher::create());
    base::FileWatcher::Options quick;
    quick.settle = kMeshSettle;
    daemon->mesh_watcher_ = TRY(base::FileWatcher::create(quick));
    daemon->traffic_ = TRY(make_traffic(daemon->registry_, {.decisions_at_info = settings.policy_info_logging}));
    if (!settings.flow_socket.empty()) {
        daemon->flows_ = TRY(FlowFeed::start({.path = settings.flow_socket, .node = settings.proxy.node_name}, *daemon->traffic_));
        daemon->traffic_->send_flows_to(daemon->flows_.get());
    }
    TRY(daemon->start_certificates());
    TRY(daemon->start_names());
    TRY(daemon->start_proxy());
    TRY(daemon->start_mesh());
    if (daemon->mesh_client_ == nullptr) TRY(daemon->open());
    TRY(daemon->start_servers());
    if (daemon->mesh_client_ != nullptr) daemon->mesh_client_->start();
    return daemon;
}

Daemon::Daemon(const Settings& settings, std::function<void()> quit) : settings_(settings), quit_(std::move(quit)) {}

Daemon::~Daemon() {
    servers_.clear();
    if (mesh_client_ != nullptr) mesh_client_->stop();  // before the workers that its answers wake
    zds_.reset();
    resolver_.reset();
    node_watches_.clear();
    if (ca_client_ != nullptr) ca_client_->stop();
    if (file_signer_ != nullptr) file_signer_->on_change({});
}

base::Result<void> Daemon::start_certificates() {
    if (!settings_.local_ca.empty()) {
        signer_ = TRY(LocalSigner::load(settings_.local_ca, clock_, LocalSignerOptions{settings_.secret_ttl, std::chrono::minutes(2)}));
    } else if (settings_.certificate.given()) {
        const CertificatePaths& at = settings_.certificate;
        auto signer = TRY(FileSigner::create({at.chain, at.key, at.roots}, *watcher_));
        file_signer_ = signer.get();
        signer_ = std::move(signer);
    } else if (!settings_.ca.address.empty()) {
        CaClientOptions options;
        options.address = settings_.ca.address;
        options.alternative_host = settings_.ca.alternative_name;
        options.roots = TRY(WatchedRoots::from_setting(settings_.ca.roots, watcher_.get()));
        options.token = xds::TokenSource::from_setting(settings_.auth_token, "./var/run/secrets/tokens/istio-token");
        options.proof = node_proof(settings_, options.token);
        options.cluster_id = settings_.cluster_id;
        options.headers = settings_.ca.headers;
        options.lifetime = settings_.secret_ttl;
        options.impersonate = settings_.mode == ProxyMode::Shared;
        auto client = TRY(CaClient::create(std::move(options)));
        ca_client_ = client.get();
        if (!settings_.node_certificate.empty())
            for (const std::string& path : {settings_.node_certificate, settings_.node_key})
                node_watches_.push_back(TRY(watcher_->watch(path, [raw = ca_client_] { raw->roots_changed(); })));
        signer_ = std::move(client);
    } else {
        signer_ = std::make_unique<NoSigner>();
        WARREN_LOG(kLog, base::log::Level::Warn, "no certificate authority is configured: HBONE cannot work");
    }
    certs_ = make_cert_store(*signer_, clock_, settings_.tls, CertStoreOptions{});
    if (file_signer_ != nullptr)
        file_signer_->on_change([this] {
            for (const CertState& state : certs_->states()) certs_->renew(state.identity);
        });
    if (!settings_.crl_path.empty())
        crl_ = TRY(CrlWatcher::start(*watcher_, settings_.crl_path,
                                     [this](std::shared_ptr<const RevocationList> list) { certs_->set_revocation_list(std::move(list)); }));
    return {};
}

base::Result<void> Daemon::start_names() {
    HostResolver::Options options;
    options.ipv6 = settings_.proxy.sockets.ipv6;
    resolver_ = TRY(HostResolver::start(std::move(options)));
    if (!settings_.dns_proxy) return {};
    DnsSettings dns;
    dns.listen.port = settings_.dns_address.port;
    if (!settings_.dns_address.address.empty()) {
        const base::SockAddr at = TRY(base::SockAddr::parse(settings_.dns_address.address));
        dns.listen = {at.ip, at.port};
    }
    dns.names.cluster_domain = settings_.cluster_domain;
    dns.names.preferred_namespace = settings_.preferred_service_namespace;
    dns.names.ipv6 = settings_.proxy.sockets.ipv6;
    dns.sockets = settings_.proxy.sockets;
    dns.workload_wait = settings_.proxy.workload_wait;
    dns.record_wait = settings_.proxy.record_wait;
    ResolvConf resolv_conf = TRY(read_resolv_conf("/etc/resolv.conf"));
    if (settings_.mode == ProxyMode::Dedicated) dns.names.search_domains = resolv_conf.search;
    dns_.emplace(DnsService{std::move(dns), std::move(resolv_conf), TRY(DnsMetrics::create(registry_))});
    return {};
}

base::Result<void> Daemon::start_proxy() {
    const bool xds = !settings_.xds.address.empty();
    if (xds && settings_.xds_on_demand) on_demand_ = std::make_unique<OnDemand>(settings_.on_demand);
    const WorkerShared shared{settings_.proxy, *certs_, *traffic_, dns_ ? &*dns_ : nullptr, resolver_.get(), on_demand_.get()};
    proxy_ = TRY(Proxy::start(shared, settings_.worker_threads));
    pods_ = std::make_unique<PodManager>(*proxy_);
    if (settings_.mode == ProxyMode::Shared) readiness_.watch("workload proxy manager", [this] { return pods_->ready(); });
    if (!settings_.local_xds_path.empty()) {
        mesh_file_ = TRY(MeshFile::start(settings_.local_xds_path, *mesh_watcher_, proxy_->feed(), !xds));
    } else if (!settings_.local_xds.empty()) {
        TRY(MeshFile::load_text(settings_.local_xds, "LOCAL_XDS", proxy_->feed()));
    }
    return {};
}

base::Result<void> Daemon::start_mesh() {
    if (settings_.xds.address.empty()) return {};
    mesh_updates_ = std::make_unique<MeshUpdates>(proxy_->feed(), on_demand_.get(), settings_.proxy.node_name);
    mesh_client_ = TRY(MeshClient::create(TRY(xds_options(settings_)), *mesh_updates_, on_demand_.get(), [this] { on_synced(); }));
    XdsSources sources;
    sources.client = [this] { return mesh_client_->stats(); };
    if (on_demand_) sources.on_demand = [this] { return on_demand_->stats(); };
    xds_metrics_ = publish_xds_metrics(registry_, std::move(sources));
    return {};
}

base::Result<void> Daemon::open() {
    waits_for_mesh_->done();
    if (settings_.mode == ProxyMode::Shared) {
        TRY(start_self_proxy());
        zds_ = TRY(ZdsClient::start(settings_.inpod_uds, *pods_));
    } else {
        const WorkloadInfo& own = *settings_.workload;
        TRY(proxy_->start(std::make_shared<const PodInfo>(PodInfo{"dedicated", own.name, own.ns, own.service_account, {}})));
    }
    waits_for_pods_->done();
    return {};
}

void Daemon::on_synced() {
    const std::lock_guard lock(opening_);
    if (ending_) return;
    WARREN_LOG(kLog, base::log::Level::Info, "the mesh is here", {"server", settings_.xds.address});
    outcome_ = open();
    if (!outcome_) quit_();
}

base::Result<void> Daemon::outcome() const {
    const std::lock_guard lock(opening_);
    return outcome_;
}

// Our own pod's 15008, so that the mesh can scrape us under policy (contract 4.10).
base::Result<void> Daemon::start_self_proxy() {
    const OwnIdentity& own = settings_.own;
    if (own.pod_name.empty() || own.pod_namespace.empty() || own.service_account.empty()) return {};
    PodInfo info{"self", own.pod_name, own.pod_namespace, own.service_account, {}};
    info.inbound_only = true;
    return proxy_->start(std::make_shared<const PodInfo>(std::move(info)));
}

ProcessSources Daemon::process_sources() {
    ProcessSources sources;
    sources.istio_version = settings_.istio_version;
    sources.workers = [this] {
        std::vector<WorkerGauges> out;
        for (const WorkerLoad& load : proxy_->loads())
            out.push_back({load.loop.busy_ns, load.chunks_out, load.connections, load.streams, load.descriptors, load.buffered_bytes,
                           load.pooled_tunnels, load.counts, load.chunks_refused, load.loop.tasks_refused, load.handshakes_refused});
        return out;
    };
    sources.others = store_metrics();
    if (flows_)
        sources.flows = [this] {
            const FlowFeed::Stats f = flows_->stats();
            return FlowGauges{f.sent, f.lost, f.sessions, f.connected};
        };
    if (settings_.mode == ProxyMode::Shared)
        sources.pods = [this] { return PodGauges{pods_->active(), pods_->pending(), pods_->started(), pods_->stopped()}; };
    return sources;
}

// What lives on other threads than the workers'.
std::vector<std::function<void(base::metrics::Collection&)>> Daemon::store_metrics() {
    using base::metrics::Collection;
    std::vector<std::function<void(Collection&)>> out;
    out.emplace_back([this](Collection& to) { publish(to, certs_->stats()); });
    out.emplace_back([this](Collection& to) { publish(to, resolver_->stats()); });
    if (mesh_file_)
        out.emplace_back([this](Collection& to) {
            const char* const help = "Times the mesh file was read, by outcome (unstable).";
            to.counter("warren_mesh_file_reads_total", help, {{"outcome", "loaded"}}, static_cast<double>(mesh_file_->loads()));
            to.counter("warren_mesh_file_reads_total", help, {{"outcome", "failed"}}, static_cast<double>(mesh_file_->failures()));
        });
    return out;
}

std::string Daemon::dump() const {
    DumpState state;
    state.mesh = proxy_->snapshot();
    if (mesh_file_) state.static_mesh = mesh_file_->mesh();
    state.settings = &settings_;
    state.certificates = certs_->states();
    if (settings_.mode == ProxyMode::Shared) state.pods = pods_->states();
    state.connections = traffic_->live();
    state.version = WARREN_VERSION;
    return config_dump(state);
}

base::Result<void> Daemon::start_servers() {
    process_metrics_ = publish_process_metrics(registry_, process_sources());
    pulse_ = std::make_unique<base::Pulse>(
        [this] {
            std::vector<uint64_t> batches;
            for (const WorkerLoad& load : proxy_->loads()) batches.push_back(load.loop.batches);
            return batches;
        },
        clock_);
    readiness_.watch("data plane", [this] { return pulse_->alive(); });

    const bool ipv6 = settings_.proxy.sockets.ipv6;
    const AdminSources admin{[this] { return dump(); }, quit_, settings_.log_filter};
    base::HttpServerOptions options;
    options.name = "admin";
    options.addresses = base::loopback_addresses(settings_.admin_port, ipv6);
    servers_.push_back(TRY(base::HttpServer::start(options, [admin](const base::HttpRequest& r) { return admin_response(r, admin); })));
    options.name = "stats";
    options.addresses = base::wildcard_address(settings_.stats_port, ipv6);
    servers_.push_back(
        TRY(base::HttpServer::start(options, [this](const base::HttpRequest& r) { return metrics_response(r, registry_); })));
    options.name = "readiness";
    options.addresses = base::wildcard_address(settings_.readiness_port, ipv6);
    servers_.push_back(
        TRY(base::HttpServer::start(options, [this](const base::HttpRequest& r) { return base::readiness_response(r, readiness_); })));
    return {};
}

bool Daemon::drain() {
    {
        const std::lock_guard lock(opening_);
        ending_ = true;
        zds_.reset();  // no new pods
    }
    return proxy_->drain(std::chrono::steady_clock::now() + settings_.drain_deadline);
}

}  // namespace warren::ztunnel
