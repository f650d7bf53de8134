// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/fd.h"
#include "tools/warren/check_command.h"
#include "tools/warren/cluster.h"
#include "tools/warren/cluster_check.h"
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"
#include "tools/warren/kubectl.h"
#include "tools/warren/mesh_file.h"
#include "tools/warren/redact.h"
#include "tools/warren/run_program.h"
#include "tools/warren/tar_gz.h"

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <ostream>
#include <sstream>

namespace warren::tools {
namespace {

constexpr size_t kMaxPart = size_t{8} << 20;  // of logs and outputs: their end counts

struct ReportOptions {
    std::string file, logs = "/var/log/warren";
};

class Report {
  public:
    Report(const Context& context, std::string folder) : context_(context), folder_(std::move(folder)) {}

    void add(const std::string& name, const base::Result<std::string>& text) {
        if (!text) {
            missing_ += name + ": " + text.error().message() + '\n';
            return;
        }
        const Json j = Json::parse(*text, nullptr, false);
        const bool json = name.ends_with(".json") && !j.is_discarded();
        files_.emplace_back(folder_ + '/' + name, json ? to_text(redact_json(j), 1) + '\n' : redact_text(*text));
    }
    void add_program(const std::string& name, const std::vector<std::string>& command) {
        add(name, run_program(command, std::chrono::seconds(5), kMaxPart));
    }
    void add_daemons();
    void add_machine();
    void add_logs(const std::string& folder);
    void add_pod_logs(const Cluster& cluster);

    [[nodiscard]] base::Result<std::string> archive(int64_t mtime) {
        if (!missing_.empty()) files_.emplace_back(folder_ + "/missing.txt", redact_text(missing_));
        return tar_gz(files_, mtime);
    }
    [[nodiscard]] size_t size() const { return files_.size(); }
    [[nodiscard]] const std::string& missing() const { return missing_; }

  private:
    const Context& context_;
    const std::string folder_;
    std::vector<std::pair<std::string, std::string>> files_;
    std::string missing_;
};

void Report::add_daemons() {
    const Daemon agent = agent_of(context_), tunnel = tunnel_of(context_), controller = controller_of(context_);
    add("agent/status.json", ask(context_, agent, "/status"));
    add("agent/flows.json", ask(context_, agent, "/flows?limit=1000"));
    add("agent/log-level.txt", ask(context_, agent, "/logging"));
    add("agent/metrics.txt", ask(context_, {"agent", agent.program, context_.globals.agent_metrics, "--agent-metrics"}, "/metrics"));
    add("tunnel/config_dump.json", ask(context_, tunnel, "/config_dump"));
    add("tunnel/log-level.txt", ask(context_, tunnel, "/logging", true));
    add("tunnel/metrics.txt", ask(context_, {"tunnel", tunnel.program, context_.globals.tunnel_metrics, "--tunnel-metrics"}, "/metrics"));
    if (controller.address.empty()) return;
    add("controller/status.json", ask(context_, controller, "/status"));
    add("controller/mesh.json", ask(context_, controller, "/debug/ambientz"));
    add("controller/settings.txt", ask(context_, controller, "/debug/configz"));
}

void Report::add_machine() {
    std::ostringstream text, ignored;
    Context to_json(text, ignored);
    to_json.globals = context_.globals;
    to_json.globals.output = "json";
    (void)report(to_json, check_node(context_), false, Severity::Error);
    add("check.json", text.str());
    for (const char* file : {"/proc/version", "/proc/self/mountinfo", "/proc/meminfo", "/proc/thread-self/net/sockstat"})
        add("machine/" + std::filesystem::path(file).filename().string(), read_text_file(file));
    add_program("machine/addresses.txt", {"ip", "addr"});
    add_program("machine/routes.txt", {"ip", "route", "show", "table", "all"});
    add_program("machine/iptables.txt", {"iptables-save"});
    add_program("machine/cgroup-programs.json", {"bpftool", "-j", "cgroup", "tree"});
}

void Report::add_logs(const std::string& folder) {
    for (const char* unit : {"warren-agent", "warren-ztunnel", "warren-controller"})
        add_program(std::string("logs/journal-") + unit + ".txt", {"journalctl", "-q", "--no-pager", "-n", "20000", "-u", unit});
    std::error_code failed;
    for (auto file = std::filesystem::directory_iterator(folder, failed); !failed && file != std::filesystem::directory_iterator();
         file.increment(failed)) {
        std::error_code gone;
        const std::string name = file->path().filename();
        if (!file->is_regular_file(gone) || gone || name.size() > 40) continue;
        auto text = read_text_file(file->path());
        if (text && text->size() > kMaxPart) text = text->substr(text->size() - kMaxPart);
        add("logs/" + name, text);
    }
}

void Report::add_pod_logs(const Cluster& cluster) {
    std::ostringstream text, ignored;
    Context to_json(text, ignored);
    to_json.globals = context_.globals;
    to_json.globals.output = "json";
    (void)report(to_json, check_before_install(context_), false, Severity::Error);
    add("check.json", text.str());
    for (const MeshPod& pod : cluster.pods()) {
        if (pod.part != MeshPod::Part::Controller && !cluster.is_chosen(pod.node)) continue;
        std::vector<std::string> words = {"logs", "-n", pod.ns, pod.name, "--all-containers", "--tail=20000"};
        add("logs/" + pod.name + ".txt", output_of(context_, kubectl(context_, words)));
        if (!pod.restarted) continue;
        words.emplace_back("--previous");
        add("logs/" + pod.name + "-previous.txt", output_of(context_, kubectl(context_, words)));
    }
}

base::Result<void> write_new(const std::string& path, const std::string& bytes) {
    const base::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return base::os_error("create", path);
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t n = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::os_error("write", path);
        at += static_cast<size_t>(n);
    }
    return {};
}

base::Result<int> bug_report(const Context& context, const ReportOptions& options) {
    const base::WallTime now = base::RealClock().wall();
    std::string name = "warren-bug-report-" + base::to_rfc3339(now, 0);
    std::erase(name, ':');
    const std::string path = options.file.empty() ? name + ".tar.gz" : options.file;
    Report made(context, name);
    made.add("version.txt", std::string("warren " WARREN_VERSION "\n"));
    made.add_daemons();
    if (Cluster* cluster = TRY(cluster_of(context))) {
        made.add_pod_logs(*cluster);
    } else {
        made.add_machine();
        made.add_logs(options.logs);
    }
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
    TRY(write_new(path, TRY(made.archive(seconds))));
    if (!made.missing().empty()) context.err << "not in the report:\n" << made.missing();
    context.out << path << ": " << made.size() << " files. Secrets are taken out; names and addresses of your mesh are in it.\n";
    return kOk;
}

}  // namespace

void add_bug_report(CLI::App& app, Context& context) {
    CLI::App* command =
        app.add_subcommand("bug-report", "status, dumps, metrics, findings and logs of this node in one archive, without secrets");
    const auto options = std::make_shared<ReportOptions>();
    command->add_option("FILE", options->file, "the archive, which must not exist; nothing: warren-bug-report-TIME.tar.gz here");
    command->add_option("--logs", options->logs, "folder with the daemons' logs")->type_name("PATH")->capture_default_str();
    command->callback([&context, options] { context.run = [&context, options] { return bug_report(context, *options); }; });
}

}  // namespace warren::tools
