// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller_settings.h"

#include "agent/cluster/discovery_selectors.h"
#include "base/ip.h"

#include <algorithm>
#include <utility>

namespace warren::cluster {

namespace {

using base::Result;
using base::config::Decl;
using base::config::Schema;
using namespace std::chrono_literals;

constexpr size_t kMaxSelectors = 64 * 1024;  // bytes
constexpr const char* kDefaultFile = "/etc/warren/controller.yaml";

// What the schema writes to before it fits the settings' types.
struct Raw {
    ControllerSettings to;
    std::string network, discovery, filter = "info";
    bool allocate = true;
    std::string allocate_v4 = AddressRanges{}.v4.to_string(), allocate_v6 = AddressRanges{}.v6.to_string();
    bool network_given = false;
    std::chrono::nanoseconds certificate = 24h, certificate_most = 24h * 90, root = 24h * 365 * 10, overlap = 48h;
};

// "xds.debounce.quiet" -> WARREN_CONTROLLER_XDS_DEBOUNCE_QUIET, --xds-debounce-quiet.
Decl named(std::string name, std::string help) {
    Decl out;
    std::string variable = "WARREN_CONTROLLER_";
    std::string flag = "--";
    for (const char c : name) {
        const bool divides = c == '.' || c == '-';
        variable += divides ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        flag += divides ? '-' : c;
    }
    out.name = std::move(name);
    out.env = {std::move(variable)};
    out.flag = std::move(flag);
    out.help = std::move(help);
    return out;
}

void declare_source(Schema& s, Raw& raw) {
    ControllerSettings& to = raw.to;
    using Kind = ControllerSettings::SourceKind;
    s.choice<Kind>(named("source.kind", "where the mesh's objects come from"), to.source,
                   {{"file", Kind::File}, {"kubernetes", Kind::Kubernetes}});
    s.text(named("source.folder", "folder of *.yaml and *.yml files, of kind file"), to.folder);
    s.text(named("source.kubeconfig", "of kind kubernetes; empty: the pod's service account, or KUBECONFIG"), to.kubeconfig);
    s.text(named("source.context", "of the kubeconfig; empty: its current one"), to.kube_context);
    s.text(named("mesh.trust-domain", "trust domain of all identities"), to.mesh.trust_domain);
    s.text(named("mesh.cluster-id", "id of the cluster; begins every workload's uid"), to.mesh.cluster_id);
    s.text(named("mesh.cluster-domain", "DNS domain of services"), to.mesh.cluster_domain);
    s.text(named("mesh.root-namespace", "policies of this namespace are the mesh's"), to.mesh.root_namespace);
    s.text(named("mesh.system-namespace", "where the control plane lives; its network label names the local network"),
           to.mesh.system_namespace);
    s.text(named("mesh.revision", "objects with another istio.io/rev are passed over"), to.mesh.revision);
    s.text(named("mesh.network", "local network, instead of the label"), raw.network);
    s.boolean(named("mesh.dry-run-policies", "send policies marked istio.io/dry-run, to be evaluated and not enforced"),
              to.mesh.dry_run_policies);
    s.text(named("mesh.discovery-selectors",
                 "namespaces that belong to the mesh, as MeshConfig's discoverySelectors: YAML, such as [{matchLabels: {mesh: \"on\"}}]; "
                 "empty: all"),
           raw.discovery, kMaxSelectors);
    using Visibility = Settings::Visibility;
    s.choice<Visibility>(
        named("mesh.service-entry-visibility", "who is told of hosts of ServiceEntries: everybody, their namespace, nobody"),
        to.mesh.service_entries, {{"public", Visibility::Public}, {"namespace", Visibility::Namespace}, {"none", Visibility::None}});
    s.boolean(named("addresses.allocate", "give hosts of ServiceEntries without addresses their own, of kind kubernetes"), raw.allocate);
    s.text(named("addresses.ipv4", "they are taken from; as no network of yours"), raw.allocate_v4);
    s.text(named("addresses.ipv6", "likewise"), raw.allocate_v6);
}

void declare_authority(Schema& s, Raw& raw) {
    ControllerSettings& to = raw.to;
    s.text(named("state", "folder of what must survive: keys, tokens; made when missing, its parent must exist"), to.state);
    s.text(named("audit", "file that gets a line for every certificate issued or refused; - is standard output; empty: STATE/audit.log"),
           to.audit);
    s.text(named("public", "folder that gets root-cert.pem and ca-crl.pem for everybody to read; empty: STATE/public"), to.public_folder);
    s.text(named("ca.plugged-in", "folder with ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem; empty: self-made, in the state"),
           to.authority.plugged_in);
    s.choice<KeyKind>(named("ca.key", "of a self-made root"), to.authority.key,
                      {{"ec-p256", KeyKind::EcP256}, {"rsa-2048", KeyKind::Rsa2048}, {"rsa-4096", KeyKind::Rsa4096}});
    s.duration(named("ca.lifetime", "of a certificate whose request names none"), raw.certificate, 1min, 24h * 365);
    s.duration(named("ca.lifetime-most", "asking for more is an error"), raw.certificate_most, 1min, 24h * 365);
    s.duration(named("ca.root-lifetime", "of a self-made root; a new one follows in its last fifth"), raw.root, 1h, 24h * 365 * 30);
    s.duration(named("ca.overlap", "a new root is trusted for so long before it signs, the old one after it did"), raw.overlap, 0s,
               24h * 365);
    s.list(named("ca.trusted-accounts", "NAMESPACE/ACCOUNT of Kubernetes nodes that may ask for their pods' certificates"),
           to.trusted_accounts);
}

void declare_ports(Schema& s, Raw& raw) {
    ControllerSettings& to = raw.to;
    s.socket_addr(named("xds.listen", "xDS and certificates, TLS"), to.listen);
    s.socket_addr(named("xds.plaintext-listen", "xDS without TLS; only with insecure-demo"), to.plaintext_listen);
    s.list(named("xds.dns-names", "more names that the server's certificate is for"), to.dns_names);
    s.boolean(named("xds.workload-type", "serve the Workload type of older clients as well"), to.workload_type);
    s.duration(named("xds.debounce", "changes within this of each other are one push"), to.debounce, 0ms, 10s);
    s.duration(named("xds.debounce-most", "no change waits longer"), to.debounce_most, 0ms, 1min);
    s.duration(named("xds.stream-age", "streams are ended in good order after about this, and come back; 0: never"), to.stream_age, 0s,
               24h * 30);
    s.boolean(named("insecure-demo", "NEVER outside of a lab: anybody may have any certificate and read the mesh"), to.insecure_demo);
    s.socket_addr(named("http.health", "/ready, /healthz/ready"), to.health);
    s.socket_addr(named("http.metrics", "/metrics, /version"), to.metrics);
    s.socket_addr(named("http.admin", "/status, /debug, /logging; keep it on loopback"), to.admin);
    s.text(named("log.filter", "LEVEL or AREA=LEVEL, with commas"), raw.filter);
    s.choice<base::log::Format>(named("log.format", "of the log"), to.log_format,
                                {{"text", base::log::Format::Text}, {"json", base::log::Format::Json}});
    s.boolean(named("dumpable", "let debuggers and core dumps see the keys"), to.dumpable);
}

void declare(Schema& schema, Raw& raw) {
    declare_source(schema, raw);
    declare_authority(schema, raw);
    declare_ports(schema, raw);
}

Result<base::Cidr> range_of(const char* name, const std::string& text, bool v4) {
    auto parsed = base::Cidr::parse(text);
    if (!parsed) return std::move(parsed).error().with(name);
    if (auto fits = check_range(*parsed, v4); !fits) return std::move(fits).error().with(name);
    return *parsed;
}

Result<void> fit(Raw& raw) {
    ControllerSettings& to = raw.to;
    const auto seconds = [](std::chrono::nanoseconds value) { return std::chrono::duration_cast<std::chrono::seconds>(value); };
    auto filter = base::log::Filter::parse(raw.filter);
    if (!filter) return std::move(filter).error().with("log.filter");
    to.log_filter = std::move(*filter);
    if (!raw.network.empty()) to.mesh.network = raw.network;
    auto discovery = read_discovery_selectors(raw.discovery);
    if (!discovery) return std::move(discovery).error().with("mesh.discovery-selectors");
    to.mesh.discovery = std::move(*discovery);
    if (to.mesh.trust_domain.empty()) return base::invalid("mesh.trust-domain: is empty; give one, such as cluster.local");
    const AddressRanges ranges{TRY(range_of("addresses.ipv4", raw.allocate_v4, true)),
                               TRY(range_of("addresses.ipv6", raw.allocate_v6, false))};
    if (raw.allocate) to.addresses = ranges;
    if (to.state.empty()) return base::invalid("state: is empty; give a folder");
    if (to.debounce_most < to.debounce) return base::invalid("xds.debounce-most: is less than xds.debounce; give at least as much");
    to.authority.state = to.state + "/authority";
    to.authority.trust_domain = to.mesh.trust_domain;
    to.authority.default_lifetime = seconds(raw.certificate);
    to.authority.max_lifetime = seconds(raw.certificate_most);
    to.authority.root_lifetime = seconds(raw.root);
    to.authority.overlap = seconds(raw.overlap);
    return {};
}

}  // namespace

std::vector<std::string> ControllerSettings::server_names() const {
    const std::string& ns = mesh.system_namespace;
    std::vector<std::string> out = {"istiod." + ns + ".svc", "istiod-remote." + ns + ".svc", "istio-pilot." + ns + ".svc",
                                    "warren-controller." + ns + ".svc", "localhost"};
    if (mesh.revision != "default") out.push_back("istiod-" + mesh.revision + "." + ns + ".svc");
    for (const std::string& name : dns_names)
        if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    return out;
}

Result<ControllerSettings> read_controller_settings(std::vector<std::string> args, std::function<const char*(const char*)> env) {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    // The one flag that people write without a value.
    for (size_t i = 0; i < args.size(); ++i)
        if (args[i] == "--insecure-demo" && (i + 1 == args.size() || args[i + 1].starts_with("-"))) args[i] += "=true";
    base::config::Sources sources;
    sources.file = kDefaultFile;
    sources.file_may_be_missing = true;
    sources.args = std::move(args);
    sources.env = std::move(env);
    raw.to.effective = TRY(schema.read(sources));
    if (!raw.to.effective.help) TRY(fit(raw));
    return std::move(raw.to);
}

std::string controller_settings_help() {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    return schema.help("warren-controller");
}

std::string controller_settings_reference() {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    return schema.reference();
}

}  // namespace warren::cluster
