// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller.h"

#include "agent/cluster/controller_http.h"
#include "agent/cluster/controller_metrics.h"
#include "agent/cluster/state_file.h"
#include "agent/cluster/trust_resources.h"
#include "agent/xds/mesh_names.h"
#include "base/backoff.h"
#include "base/bytes.h"
#include "base/ip.h"
#include "base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace warren::cluster {

namespace {

using base::log::Level;

const base::log::Area kLog("main");

constexpr std::chrono::seconds kLook{1};

base::Result<void> make_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return base::os_error("mkdir", path);
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return base::os_error("stat", path);
    if (!S_ISDIR(info.st_mode)) return base::invalid(path + " is not a folder");
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return base::Error{base::Errc::Denied, 0, "", path + " can be written by others; chmod go-w it"};
    return {};
}

// For people the host's name, which is the pod's where there is one; two processes of one host must not take each other's lease for theirs.
std::string own_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "warren-controller";
    // Containers of one host's network share its name, and each has a process 1.
    base::RandomEngine random = base::make_random_engine();
    std::array<uint8_t, 8> tag{};
    for (uint8_t& byte : tag) byte = static_cast<uint8_t>(random());
    return std::string(name.data()) + "_" + base::to_hex(tag);
}

xds::ServerTls tls_of(const ServingCertificate::Material& material) {
    return {material.identity.chain_pem, material.identity.key_pem, material.roots_pem};
}

}  // namespace

base::Result<std::unique_ptr<Controller>> Controller::start(const ControllerSettings& settings, std::function<void()> quit) {
    std::unique_ptr<Controller> out(new Controller(settings));
    TRY(out->open_state());
    TRY(out->start_source());
    TRY(out->start_certificates());
    TRY(out->start_xds());
    TRY(out->start_http(std::move(quit)));
    out->source_->start(*out);
    if (out->kube_) out->kube_->start();
    out->thread_ = std::thread([c = out.get()] { c->look_after_files(); });
    return out;
}

Controller::~Controller() {
    http_.clear();
    metrics_.reset();
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }
    if (source_ != nullptr) source_->stop();
    if (ca_) ca_->stop();
    if (server_) server_->stop();
    if (gate_) gate_->stop();
    if (kube_) kube_->stop();
    if (audit_) (void)audit_->flush();
}

base::Result<void> Controller::open_state() {
    TRY(make_folder(settings_.state));
    TRY(make_folder(settings_.public_path()));
    for (const char* name : {"root-cert.pem", "ca-crl.pem"}) remove_temporaries(settings_.public_path(), name);
    authority_ = TRY(Authority::open(settings_.authority, clock_));
    tokens_ = TRY(TokenTable::open(settings_.tokens_path(), clock_));
    audit_ = TRY(AuditLog::open(settings_.audit_path(), clock_));
    return {};
}

base::Result<void> Controller::start_source() {
    std::set<std::string> trusted(settings_.trusted_accounts.begin(), settings_.trusted_accounts.end());
    if (settings_.source == ControllerSettings::SourceKind::Kubernetes) {
        kube_ = TRY(KubeSide::create(
            {settings_.kubeconfig, settings_.kube_context, settings_.mesh, trusted, own_name(), settings_.addresses}, clock_));
        source_ = &kube_->source();
    } else {
        FileSourceOptions options;
        options.folder = settings_.folder;
        files_ = TRY(FileSource::create(std::move(options), clock_));
        source_ = files_.get();
    }
    authenticator_.emplace(AuthenticatorParts{authority_.get(), tokens_.get(), kube_.get(), settings_.insecure_demo});
    NodeAuthorizerParts parts;
    parts.trust_domain = settings_.mesh.trust_domain;
    parts.workloads = &workloads_;
    parts.pods = kube_ ? &kube_->pods() : nullptr;
    parts.trusted_accounts = std::move(trusted);
    parts.node_revoked = [this](std::string_view node) { return authority_->node_revoked(node); };
    authorizer_.emplace(std::move(parts));
    readiness_.watch("objects of the mesh", [this] { return source_->status().deliveries > 0; });
    return {};
}

base::Result<void> Controller::start_certificates() {
    issuance_.emplace(IssuanceParts{authority_.get(), &*authenticator_, &*authorizer_, audit_.get(), tokens_.get()}, IssuanceLimits{},
                      clock_);
    ServingOptions options;
    options.dns = settings_.server_names();
    options.lifetime = std::min<std::chrono::seconds>(options.lifetime, settings_.authority.max_lifetime);
    serving_ = TRY(ServingCertificate::create(*authority_, std::move(options), clock_));
    CaServiceOptions service;
    // However many reviews hang, there are threads for those who need none.
    if (kube_) service.threads = std::max(2U, std::thread::hardware_concurrency()) + static_cast<unsigned>(KubeSide::kReviewsAtOnce);
    ca_ = std::make_unique<CaService>(*issuance_, service);
    return publish_trust();
}

base::Result<void> Controller::start_xds() {
    XdsGate::Options gate;
    gate.blocking = kube_ != nullptr;
    gate.pods = kube_ ? &kube_->pods() : nullptr;
    gate_ = std::make_unique<XdsGate>(*authenticator_, gate, clock_);
    const auto material = serving_->current();
    served_ = material->serial;
    MeshResources empty(settings_.workload_type);
    xds::ServerOptions options;
    options.listeners = {{settings_.listen, true}};
    if (settings_.insecure_demo) options.listeners.push_back({settings_.plaintext_listen, false});
    options.tls = tls_of(*material);
    options.authenticator = gate_.get();
    options.services = {ca_->service()};
    options.types = empty.types();
    options.types.emplace(options.types.begin(), xds::kRevocationType);
    options.session.implied = xds::implied_names;
    options.debounce_quiet = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.debounce);
    options.debounce_max = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.debounce_most);
    options.max_stream_age = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.stream_age);
    server_ = TRY(xds::Server::create(std::move(options)));
    TRY(server_->publish(TRY(revocation_resources(*authority_->trust()))));
    Publisher::Parts parts{server_.get(), &workloads_, &clock_};
    if (kube_) parts.statuses = [this](std::vector<StatusChange> changes) { kube_->statuses_changed(std::move(changes)); };
    publisher_ = std::make_unique<Publisher>(settings_.mesh, settings_.workload_type, std::move(parts));
    if (settings_.insecure_demo)
        WARREN_LOG(kLog, Level::Warn, "INSECURE DEMO: the mesh is served in plain text to anybody",
                   {"address", settings_.plaintext_listen});
    return {};
}

base::Result<void> Controller::start_http(std::function<void()> quit) {
    metrics_ = publish_controller_metrics(registry_, [this] { return report(); });
    const AdminParts admin{[this] { return report(); }, [this] { return snapshot(); }, settings_, std::move(quit)};
    const auto serve = [&](const char* name, const std::string& address, base::HttpServer::Handler handler) -> base::Result<void> {
        base::HttpServerOptions options;
        options.name = name;
        options.addresses = {TRY(base::SockAddr::parse(address))};
        http_.push_back(TRY(base::HttpServer::start(std::move(options), std::move(handler))));
        WARREN_LOG(kLog, Level::Info, "listening", {"what", name}, {"address", http_.back()->addresses().front().to_string()});
        return {};
    };
    TRY(serve("admin", settings_.admin, [admin](const base::HttpRequest& r) { return controller_admin(r, admin); }));
    TRY(serve("metrics", settings_.metrics, [this](const base::HttpRequest& r) { return controller_metrics(r, registry_); }));
    TRY(serve("health", settings_.health, [this](const base::HttpRequest& r) { return controller_health(r, readiness_); }));
    const std::vector<int> ports = server_->ports();
    WARREN_LOG(kLog, Level::Info, "listening", {"what", "xds"}, {"address", settings_.listen}, {"port", ports.front()});
    if (ports.size() > 1)
        WARREN_LOG(kLog, Level::Info, "listening", {"what", "plaintext xds"}, {"address", settings_.plaintext_listen}, {"port", ports[1]});
    return {};
}

base::Result<void> Controller::publish_trust() {
    const auto trust = authority_->trust();
    if (kube_) kube_->set_trust(*trust);
    TRY(publish(*trust, settings_.public_path()));
    if (server_) TRY(server_->publish(TRY(revocation_resources(*trust))));
    published_ = trust->version;
    return {};
}

void Controller::look_once() {
    auto looked = authority_->refresh();
    std::string error = looked ? std::string() : looked.error().message();
    if (authority_->trust()->version != published_)
        if (auto done = publish_trust(); !done) error = done.error().message();
    // A new certificate in half of the old one's life, and with every change of trust.
    const auto material = serving_->current();
    if (material->serial != served_) {
        xds::ServerTls tls = tls_of(*material);
        if (auto set = server_->set_tls(tls); set)
            served_ = material->serial;
        else
            error = set.error().message();
        base::wipe(tls.key);
    }
    const std::lock_guard lock(mutex_);
    if (!error.empty() && error != authority_error_) WARREN_LOG(kLog, Level::Error, "the authority's files", {"error", error});
    authority_error_ = std::move(error);
}

void Controller::look_after_files() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        wake_.wait_for(lock, kLook, [this] { return stopping_; });
        if (stopping_) return;
        lock.unlock();
        look_once();
        lock.lock();
    }
}

void Controller::changed(const Objects& objects, const std::vector<Change>& changes) {
    if (kube_) kube_->objects_changed(objects, changes);
    publisher_->changed(objects, changes);
}

ControllerReport Controller::report() const {
    ControllerReport out;
    out.source = source_->status();
    out.mesh = publisher_->status();
    out.xds = server_->stats();
    out.clients = server_->clients();
    out.certificates = &issuance_->stats();
    out.certificate_queue = ca_->stats();
    out.audit = audit_->stats();
    out.gate = &gate_->stats();
    out.tokens = tokens_->size();
    out.rotation = authority_->rotation();
    out.trust_version = authority_->trust()->version;
    out.pending = readiness_.pending();
    if (kube_) out.leader = kube_->leader();
    if (kube_) out.reviews = kube_->reviews();
    if (kube_) out.statuses = kube_->statuses();
    if (kube_) out.addresses = kube_->addresses();
    const std::lock_guard lock(mutex_);
    out.authority_error = authority_error_;
    return out;
}

}  // namespace warren::cluster
