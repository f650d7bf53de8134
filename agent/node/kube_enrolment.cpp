// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_enrolment.h"

#include "agent/kube/kube_config.h"
#include "agent/node/redirection_writer.h"
#include "base/log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("cni");

base::Result<std::shared_ptr<kube::Endpoint>> endpoint_of(const Settings& settings) {
    auto config = kube::find_config(settings.kubeconfig, "", [](const char* name) { return std::getenv(name); });
    if (!config) return std::move(config).error().with("kubernetes.kubeconfig");
    return kube::Endpoint::create(*std::move(config));
}

CniInstallSettings install_settings(const Settings& s) {
    CniInstallSettings out;
    out.conf_dir = s.cni_conf_dir;
    out.bin_dir = s.cni_bin_dir;
    out.conf_name = s.cni_conf_name;
    out.plugin_name = s.cni_plugin_name;
    out.binary = s.cni_binary;
    out.socket = s.cni_socket();
    out.state = s.cni_state();
    out.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(s.cni_deadline);
    return out;
}

}  // namespace

base::Result<std::unique_ptr<KubeEnrolment>> KubeEnrolment::start(const Settings& settings, Node& node) {
    std::unique_ptr<KubeEnrolment> made(new KubeEnrolment(settings));
    PodKubeOptions options;
    options.node_name = settings.node_name;
    if (!settings.enablement_selectors.empty()) options.enablement = TRY(Enablement::from_yaml(settings.enablement_selectors));
    options.excluded_namespaces = {settings.excluded_namespaces.begin(), settings.excluded_namespaces.end()};
    options.own_namespace = settings.own_namespace;
    options.dns_capture = settings.dns_capture;
    options.annotate = settings.redirection;
    options.observe_others = settings.flows && settings.flows_of_all_pods;
    // Where nothing may go direct there is nothing to fall back from.
    options.network_policies =
        settings.network_policies && (settings.same_node != SameNode::Encrypted || !settings.same_node_overrides.empty());
    options.proc = settings.proc;
    options.node_netns = settings.node_netns;
    options.state_file = settings.cni_state();
    options.unknown_waits = settings.cni_unknown_waits;
    options.on_synced = [kube = made.get()] { kube->install(); };
    made->pods_ = TRY(PodKubeSource::create(TRY(endpoint_of(settings)), std::move(options)));
    if (!node.also_tell(made->pods_->listener()))
        return base::Error{base::Errc::Exhausted, 0, "start", "the agent's loop takes no more tasks"};
    CniServerOptions server;
    server.path = settings.cni_socket();
    made->server_ = TRY(CniServer::start(std::move(server), *made->pods_));
    TRY(made->pods_->start(node.pod_events()));
    return made;
}

// Once the state file is there and questions can be answered: a plugin without both would hold pods up.
void KubeEnrolment::install() {
    if (!settings_.cni_install) return;
    auto installer = CniInstaller::start(install_settings(settings_));
    const std::lock_guard lock(mutex_);
    if (installer) {
        installer_ = *std::move(installer);
        return;
    }
    install_error_ = installer.error().message();
    WARREN_LOG(kArea, base::log::Level::Error, "the CNI plugin is not installed", {"why", install_error_});
}

KubeEnrolment::~KubeEnrolment() {
    pods_->give_up();
    server_.reset();
    pods_.reset();
    installer_.reset();
}

KubeEnrolmentStatus KubeEnrolment::status() const {
    KubeEnrolmentStatus s;
    s.pods = pods_->status();
    s.cni = server_->stats();
    s.installs = settings_.cni_install;
    const std::lock_guard lock(mutex_);
    if (installer_) s.install = installer_->status();
    if (!install_error_.empty()) s.install.error = install_error_;
    return s;
}

base::Result<void> uninstall_kube(const Settings& settings) {
    base::Result<void> plugin;
    if (settings.cni_install) {
        plugin = uninstall_cni(install_settings(settings));
        if (::unlink(settings.cni_state().c_str()) != 0 && errno != ENOENT && plugin)
            plugin = base::os_error("unlink", settings.cni_state());
    }
    if (settings.redirection) {
        kube::Client client(TRY(endpoint_of(settings)));
        TRY(clear_redirection(client, settings.node_name));
    }
    return plugin;
}

}  // namespace warren::node
