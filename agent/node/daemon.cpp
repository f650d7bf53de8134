// SPDX-License-Identifier: Apache-2.0
#include "agent/node/daemon.h"

#include "agent/node/flow_filter.h"
#include "agent/node/flow_json.h"
#include "agent/node/flow_names.h"
#include "agent/node/page.h"
#include "agent/node/pins.h"
#include "agent/node/socket_sampler.h"
#include "base/gzip.h"
#include "base/ip.h"
#include "base/log.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <utility>

namespace warren::node {
namespace {

const base::log::Area kAgent("agent");

constexpr size_t kHistory = 10'000;  // flows a stream or a page begins with
constexpr size_t kPageFlows = 500;   // of one answer of /flows unless it asks for more

constexpr const char* kHelp =
    "/                  the node page\n"
    "/status            the agent's state, JSON\n"
    "/flows             open connections, then the latest that ended, JSON: ?limit=N, ?verdict=allowed|denied|not_judged\n"
    "/logging           what is logged; POST ?level=FILTER changes it\n"
    "/quitquitquit      POST ends the agent; the kernel goes on with what it has\n";

base::HttpResponse text(int status, std::string body, std::string_view type = "text/plain; charset=utf-8") {
    base::HttpResponse r;
    r.status = status;
    r.content_type = type;
    r.body = std::move(body);
    return r;
}

bool parse_verdict(const std::string& word, flow::v1::Verdict& to) {
    for (const auto verdict : {flow::v1::VERDICT_ALLOWED, flow::v1::VERDICT_DENIED, flow::v1::VERDICT_NOT_JUDGED}) {
        if (name_of(verdict) == word) return to = verdict, true;
    }
    return false;
}

base::HttpResponse flows_page(const base::HttpRequest& request, const FlowCollector& flows) {
    size_t most = kPageFlows;
    if (const auto asked = request.parameter("limit")) {
        const auto [end, failed] = std::from_chars(asked->data(), asked->data() + asked->size(), most);
        if (failed != std::errc() || end != asked->data() + asked->size() || most > kHistory) {
            return text(400, "limit is a number up to " + std::to_string(kHistory) + "\n");
        }
    }
    FlowHub::Filter filter;
    if (const auto verdict = request.parameter("verdict")) {
        flow::v1::Verdict wanted = {};
        if (!parse_verdict(*verdict, wanted)) return text(400, "verdict is allowed, denied or not_judged\n");
        filter = [wanted](const flow::v1::Flow& flow) { return flow.decision().verdict() == wanted; };
    }
    std::string body = "[";
    for (const FlowRef& flow : flows.history(filter, most)) body += (body.size() > 1 ? ",\n" : "\n") + flow_json(*flow);
    return text(200, body + "\n]\n", "application/json");
}

base::Result<void> make_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return base::os_error("mkdir", path);
    return {};
}

base::Result<std::vector<base::SockAddr>> addresses(const std::string& setting, const char* name) {
    auto parsed = base::SockAddr::parse(setting);
    if (!parsed) return std::move(parsed).error().with(name);
    return std::vector<base::SockAddr>{*parsed};
}

}  // namespace

base::Result<std::unique_ptr<Daemon>> Daemon::start(const Settings& settings, std::function<void()> ask_end) {
    std::unique_ptr<Daemon> daemon(new Daemon(settings));
    TRY(make_folder(settings.run_dir));
    TRY(make_folder(settings.state_dir));
    base::FileWatcher::Options quick;
    quick.settle = std::chrono::milliseconds(20);
    daemon->watcher_ = TRY(base::FileWatcher::create(quick));
    TRY(daemon->start_node());
    TRY(daemon->start_flows());
    daemon->node_thread_ = std::thread([node = daemon->node_.get()] {
        if (auto ran = node->run(); !ran)
            WARREN_LOG(kAgent, base::log::Level::Error, "the agent's loop ended", {"error", ran.error().message()});
    });
    daemon->mesh_ = TRY(MeshSource::start(settings, *daemon->watcher_, [node = daemon->node_.get()](auto snapshot, bool synced) {
        node->mesh(std::move(snapshot), synced);
    }));
    if (settings.kubernetes) {
        daemon->kube_ = TRY(KubeEnrolment::start(settings, *daemon->node_));
    } else {
        daemon->pods_file_ = std::make_unique<PodFileSource>(settings.pods_file, settings.dns_capture);
        TRY(daemon->pods_file_->start(daemon->node_->pod_events()));
    }
    TRY(daemon->start_servers(std::move(ask_end)));
    return daemon;
}

base::Result<void> Daemon::start_node() {
    node_ = TRY(Node::create(settings_, [this](std::shared_ptr<const FlowDirectory> names) {
        if (flows_) flows_->publish(std::move(names));
    }));
    return {};
}

base::Result<void> Daemon::start_flows() {
    FlowCollectorOptions options;
    options.feed_path = settings_.feed_socket();
    options.sample_period = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.sample_period);
    if (settings_.flows) {
        options.ring_fd = node_->maps().flows_fd;
        options.kernel_lost = [this]() -> uint64_t {
            const auto stats = node_->maps().stats();
            return stats ? (*stats)[WR_STAT_EVENTS_LOST] : 0;
        };
        if (auto sampler = SocketSampler::of(node_->object())) {
            options.sample = [this, sampler = std::make_shared<SocketSampler>(*std::move(sampler))](
                                 const FlowCollectorOptions::Each& each) -> base::Result<std::unordered_set<uint64_t>> {
                const base::Netns home = TRY(base::Netns::current());
                std::unordered_set<uint64_t> looked_at;
                for (const auto& netns : node_->namespaces()) {
                    TRY(sampler->sample(*netns, home, each));
                    looked_at.insert(TRY(netns->cookie()));
                }
                return looked_at;
            };
        }
    }
    flows_ = TRY(FlowCollector::start(std::move(options), hub_, registry_));
    if (!settings_.flow_log.empty()) flow_log_ = TRY(FlowLog::start(settings_.flow_log, hub_));
    FlowServiceOptions service;
    service.path = settings_.flows_socket();
    service.readers.assign(settings_.flow_readers.begin(), settings_.flow_readers.end());
    flow_service_ = TRY(
        FlowService::start(std::move(service), hub_, [this](const FlowHub::Filter& filter) { return flows_->history(filter, kHistory); }));
    return {};
}

std::optional<AgentState> Daemon::state() const {
    auto report = node_->report();
    if (!report) return std::nullopt;
    AgentState s;
    s.settings = &settings_;
    s.uptime_seconds =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began_).count());
    s.node = *std::move(report);
    s.mesh = mesh_->status();
    if (pods_file_ != nullptr) s.pods_file = pods_file_->status();
    if (kube_) s.kube = kube_->status();
    s.flows = flows_->stats();
    s.flow_service = flow_service_->stats();
    // The same conditions that readiness asks (start_servers), from one look.
    if (s.mesh.join && !s.mesh.join->joined && !s.mesh.synced) s.pending.emplace_back("the node's certificate");
    if (!s.mesh.synced) s.pending.emplace_back("mesh");
    if (!s.node.settled) s.pending.emplace_back("pods");
    if (s.kube && s.kube->installs && !s.kube->install.installed) s.pending.emplace_back("CNI plugin: " + s.kube->install.error);
    if (settings_.redirection && !s.node.tunnel_synced) s.pending.emplace_back("tunnel");
    if (!s.node.last_check.failed.empty()) s.pending.emplace_back("kernel hooks");
    return s;
}

base::Result<void> Daemon::start_servers(std::function<void()> ask_end) {
    metrics_ = publish_agent_metrics(registry_, [this] { return state(); });
    base::HttpServerOptions options;
    options.name = "admin";
    options.addresses = TRY(addresses(settings_.admin_address, "admin.address"));
    const bool loopback = options.addresses[0].ip.is_loopback();
    servers_.push_back(
        TRY(base::HttpServer::start(options, [this, loopback, ask_end = std::move(ask_end)](const base::HttpRequest& request) {
            auto refused = refuse_foreign_page(request, loopback);
            base::HttpResponse answer = refused ? *std::move(refused) : admin(request, ask_end);
            add_page_headers(answer);
            return answer;
        })));
    options.name = "metrics";
    options.addresses = TRY(addresses(settings_.metrics_address, "metrics.address"));
    servers_.push_back(TRY(base::HttpServer::start(options, [this](const base::HttpRequest& request) {
        if (request.path != "/metrics") return text(404, "see /metrics\n");
        const bool open = base::metrics::accepts_openmetrics(request.accept);
        auto answer = text(200, registry_.render(open ? base::metrics::Exposition::OpenMetrics : base::metrics::Exposition::Prometheus),
                           base::metrics::content_type(open));
        base::gzip_if_accepted(request, answer);
        return answer;
    })));
    options.name = "readiness";
    options.addresses = TRY(addresses(settings_.ready_address, "ready.address"));
    servers_.push_back(TRY(base::HttpServer::start(options, [this](const base::HttpRequest& request) {
        if (request.path == "/healthz/live") return text(node_->alive() ? 200 : 500, "");
        if (request.path != "/healthz/ready") return text(404, "see /healthz/ready\n");
        const auto now = state();
        if (now && now->pending.empty()) return text(200, "ready\n");
        std::string waits = "not ready, waiting for:\n";
        if (!now)
            waits += "- the agent's loop\n";
        else
            for (const std::string& what : now->pending) waits += "- " + what + "\n";
        return text(500, std::move(waits));
    })));
    return {};
}

base::HttpResponse Daemon::admin(const base::HttpRequest& request, const std::function<void()>& ask_end) const {
    if (request.path == "/status") {
        const auto now = state();
        return now ? text(200, status_json(*now), "application/json") : text(503, "the agent's loop does not answer\n");
    }
    if (request.path == "/flows") return flows_page(request, *flows_);
    if (request.path == "/logging") {
        if (request.method != "POST") return text(200, base::log::filter().text() + "\n");
        const auto level = request.parameter("level");
        const auto filter = base::log::Filter::parse(level.value_or(""));
        if (!filter) return text(400, filter.error().message() + "\n");
        base::log::set_filter(*filter);
        return text(200, filter->text() + "\n");
    }
    if (request.path == "/quitquitquit") {
        if (request.method != "POST") return text(405, "use POST\n");
        ask_end();
        return text(200, "shutting down\n");
    }
    if (request.path == "/help") return text(200, kHelp);
    if (auto page = page_answer(request.path)) return *std::move(page);
    return text(404, "no such page; see /help\n");
}

Daemon::~Daemon() {
    servers_.clear();
    metrics_.reset();
    kube_.reset();
    pods_file_.reset();
    mesh_.reset();
    if (node_) node_->stop();
    if (node_thread_.joinable()) node_thread_.join();
    flow_service_.reset();
    flows_.reset();  // reads what the ring still holds, for the log
    hub_.close();
    flow_log_.reset();
    node_.reset();
}

base::Result<void> uninstall(const Settings& settings) {
    base::Result<void> kube;
    // Before capture ends: no new pod waits for us, nobody sends HBONE to those that are there.
    if (settings.kubernetes) kube = uninstall_kube(settings);
    TRY(Pins::uninstall(settings.bpffs, settings.instance));
    return kube;
}

}  // namespace warren::node
