// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/xds_bench.h"

#include "agent/xds/client.h"
#include "agent/xds/server.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "proto/workload.pb.h"
#include "tools/bench/mesh_case.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace warren::bench {

namespace {

using Time = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience{120};
constexpr milliseconds kSettle{2'500};    // what was sent is free, and given back within a second
constexpr const char* kTruth = "/truth";  // in the folder

double ms_since(Time::time_point begin) { return std::chrono::duration<double, std::milli>(Time::now() - begin).count(); }

// A version, as a control plane would make it of the content.
uint64_t mark(std::string_view name, std::string_view body) {
    const std::hash<std::string_view> hash;
    uint64_t h = hash(name) * 0x9e3779b97f4a7c15u ^ hash(body);
    h ^= h >> 32;
    return h * 0xd6e8feb86659fd93u;
}

// A resource as one text. Names and versions have no zero byte.
std::string content(std::string_view name, std::string_view version, std::string_view body) {
    return std::string(name).append(1, '\0').append(version).append(1, '\0').append(body);
}

// What fifty nodes hold, each content once: two that hold the same entry hold the same bytes.
class Pool {
  public:
    using Entry = std::shared_ptr<const std::string>;
    Entry intern(std::string text) {
        const std::lock_guard lock(mutex_);
        std::weak_ptr<const std::string>& known = entries_[text];
        if (Entry held = known.lock()) return held;
        auto made = std::make_shared<const std::string>(std::move(text));
        known = made;
        if (entries_.size() > 2 * live_ + 1'000) {
            std::erase_if(entries_, [](const auto& e) { return e.second.expired(); });
            live_ = entries_.size();
        }
        return made;
    }

  private:
    std::mutex mutex_;
    std::unordered_map<std::string, std::weak_ptr<const std::string>> entries_;
    size_t live_ = 0;
};

class Held final : public xds::Handler {
  public:
    explicit Held(Pool& pool) : pool_(pool) {}
    std::vector<xds::Rejection> apply(const xds::Update& update) override {
        const std::lock_guard lock(mutex_);
        for (const auto& resource : update.resources)
            held_[name_of(update.type_url, resource.name)] =
                pool_.intern(content(resource.name, resource.version, base::as_text(resource.body)));
        for (const auto name : update.removed) held_.erase(name_of(update.type_url, name));
        return {};
    }
    // Whether it holds these and no others.
    bool same(const std::vector<Pool::Entry>& all) const {
        const std::lock_guard lock(mutex_);
        std::unordered_set<const std::string*> own;
        for (const auto& [name, entry] : held_) own.insert(entry.get());
        return held_.size() == all.size() && own.size() == all.size() &&
               std::all_of(all.begin(), all.end(), [&](const Pool::Entry& entry) { return own.contains(entry.get()); });
    }

  private:
    static size_t name_of(std::string_view type, std::string_view name) {
        return std::hash<std::string_view>{}(name) * 31 + std::hash<std::string_view>{}(type);
    }
    Pool& pool_;
    mutable std::mutex mutex_;
    std::unordered_map<size_t, Pool::Entry> held_;
};

// The truth in a file: each resource's size, then its content.
void write_truth(const std::string& path, const xds::Snapshot& sets) {
    std::ofstream out(path, std::ios::binary);
    for (const auto& [type, set] : sets)
        set.for_each([&](const xds::ResourceBlock& b) {
            const std::string text = content(b.name(), b.version(), base::as_text(b.body()));
            const uint64_t size = text.size();
            out.write(reinterpret_cast<const char*>(&size), sizeof size);
            out.write(text.data(), static_cast<std::streamsize>(text.size()));
        });
}

std::vector<Pool::Entry> read_truth(const std::string& path, Pool& pool) {
    std::vector<Pool::Entry> out;
    std::ifstream in(path, std::ios::binary);
    for (uint64_t size = 0; in.read(reinterpret_cast<char*>(&size), sizeof size);) {
        std::string text(size, '\0');
        if (!in.read(text.data(), static_cast<std::streamsize>(size))) break;
        out.push_back(pool.intern(std::move(text)));
    }
    return out;
}

struct Order {
    int port = 0;
    uint32_t nodes = 0;  // how many there are to be from now on; 0: compare with the truth, one after the other
};

// The nodes' process: takes orders until the pipe ends.
void be_nodes(int orders, int answers, const std::string& folder) {
    struct Node {
        explicit Node(Pool& pool) : held(pool) {}
        Held held;
        std::unique_ptr<xds::Client> client;
    };
    Pool pool;
    std::vector<std::unique_ptr<Node>> nodes;
    for (Order order; ::read(orders, &order, sizeof order) == static_cast<ssize_t>(sizeof order);) {
        if (order.nodes == 0) {
            const auto truth = read_truth(folder + kTruth, pool);
            for (const auto& node : nodes) {
                const uint64_t same = node->held.same(truth) ? 1 : 0;
                if (::write(answers, &same, sizeof same) != static_cast<ssize_t>(sizeof same)) ::_exit(1);
            }
        }
        while (nodes.size() < order.nodes) {
            auto node = std::make_unique<Node>(pool);
            xds::ClientOptions options;
            options.address = "https://localhost:" + std::to_string(order.port);
            options.roots = xds::RootSource::file(folder + "/cert.pem");
            auto client = xds::Client::create(std::move(options), node->held);
            if (!client) ::_exit(1);
            node->client = std::move(*client);
            node->client->start();
            nodes.push_back(std::move(node));
        }
    }
    ::_exit(0);
}

uint64_t rss_bytes() {
    std::ifstream in("/proc/self/statm");
    uint64_t size = 0, resident = 0;
    in >> size >> resident;
    return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string slurp(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}

struct Folder {
    std::string path;
    ~Folder() {
        std::error_code ignored;
        if (!path.empty()) std::filesystem::remove_all(path, ignored);
    }
};

base::Result<void> make_certificate(const std::string& folder) {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench -addext "
        "subjectAltName=DNS:localhost -keyout " +
        folder + "/key.pem -out " + folder + "/cert.pem 2>/dev/null";
    if (std::system(command.c_str()) != 0) return base::Error{base::Errc::Unavailable, 0, "", "the openssl program makes no certificate"};
    return {};
}

struct Bench {
    base::Result<void> order(uint32_t nodes) {
        const Order what{server->ports().at(0), nodes};
        if (::write(orders, &what, sizeof what) != static_cast<ssize_t>(sizeof what)) return base::os_error("write");
        return {};
    }
    base::Result<void> wait_acks(uint64_t count) const {
        const auto end = Time::now() + kPatience;
        while (server->stats().acks < count) {
            if (Time::now() > end) return base::Error{base::Errc::Timeout, 0, "", "the nodes do not acknowledge"};
            std::this_thread::sleep_for(milliseconds(1));
        }
        return {};
    }
    // Until no client has a response under way and all were sent what is current.
    base::Result<void> wait_current() const {
        const auto end = Time::now() + kPatience;
        for (;;) {
            const auto clients = server->clients();
            uint64_t newest = 0;
            bool same = !clients.empty();
            for (const auto& c : clients)
                for (const auto& t : c.types) newest = std::max(newest, t.type_url == xds::kAddressType ? t.sent_generation : 0);
            for (const auto& c : clients)
                for (const auto& t : c.types)
                    same = same && !t.pending && (t.type_url != xds::kAddressType || t.acked_generation == newest);
            if (same) return {};
            if (Time::now() > end) return base::Error{base::Errc::Timeout, 0, "", "the nodes do not catch up"};
            std::this_thread::sleep_for(milliseconds(2));
        }
    }
    base::Result<void> change(uint32_t index, uint32_t round) {
        const std::string body = changed_workload(index, round, size);
        const std::string name = names.at(index);
        const std::string version = "r" + std::to_string(round) + "-" + std::to_string(index);
        TRY(sets[std::string(xds::kAddressType)].set({name, version, base::as_bytes(body)}));
        return server->publish(sets);
    }
    MeshSize size;
    std::string folder;
    int orders = -1, answers = -1;
    xds::Snapshot sets;
    std::vector<std::string> names;  // of workloads
    std::unique_ptr<xds::Server> server;
};

// As a control plane would name it.
std::string name_of(std::span<const uint8_t> bytes) {
    istio::workload::Address address;
    address.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    if (address.has_workload()) return address.workload().uid();
    return address.service().namespace_() + "/" + address.service().hostname();
}

base::Result<void> load(Bench& bench, const MeshCase& mesh) {
    base::Result<void> result;
    uint32_t seen = 0;
    mesh.each([&](ResourceKind kind, std::string_view given, std::span<const uint8_t> bytes) {
        const std::string name = kind == ResourceKind::Address ? name_of(bytes) : std::string(given);
        const std::string type(kind == ResourceKind::Address ? xds::kAddressType : xds::kAuthorizationType);
        const bool workload = kind == ResourceKind::Address && seen++ >= bench.size.services;
        if (workload) bench.names.emplace_back(name);
        std::vector<std::string> aliases;
        if (kind == ResourceKind::Address) aliases.push_back("network/10.0.0." + std::to_string(seen));
        const auto set = bench.sets[type].set({name, fmt::format("{:016x}", mark(name, base::as_text(bytes))), bytes, std::move(aliases)});
        if (!set && result) result = set.error();
    });
    return result;
}

struct Report {
    double first_sync_ms = 0, all_nodes_ms = 0, change_worst_ms = 0, change_median_ms = 0, churn_worst_lag_ms = 0, debounce_ms = 0;
    double set_mib = 0, one_node_mib = 0, all_nodes_mib = 0, all_nodes_at_once_mib = 0, churn_mib = 0, wire_mb = 0;
    uint64_t responses = 0, flushes = 0;
    uint32_t same = 0;
};

base::Result<void> measure_changes(Bench& bench, const XdsBenchOptions& options, Report& report) {
    std::vector<double> times;
    for (uint32_t i = 0; i < 20; ++i) {
        const uint64_t acks = bench.server->stats().acks;
        const auto begin = Time::now();
        TRY(bench.change(i * 37, 1'000 + i));
        TRY(bench.wait_acks(acks + options.nodes));
        times.push_back(ms_since(begin) - report.debounce_ms);
    }
    std::sort(times.begin(), times.end());
    report.change_worst_ms = times.back();
    report.change_median_ms = times[times.size() / 2];
    return {};
}

base::Result<void> measure_churn(Bench& bench, const XdsBenchOptions& options, Report& report) {
    const auto begin = Time::now();
    for (uint32_t i = 0; i < options.changes_per_second * options.seconds; ++i) {
        std::this_thread::sleep_until(begin + std::chrono::microseconds(uint64_t{1'000'000} * i / options.changes_per_second));
        TRY(bench.change(i * 7919 % bench.size.workloads, 10'000 + i));
        if (i % 50 != 0) continue;
        report.churn_worst_lag_ms =
            std::max(report.churn_worst_lag_ms, std::chrono::duration<double, std::milli>(bench.server->stats().last_convergence).count());
        report.churn_mib = std::max(report.churn_mib, static_cast<double>(rss_bytes()) / (1 << 20));
    }
    std::this_thread::sleep_for(milliseconds(static_cast<int>(report.debounce_ms) + 20));
    TRY(bench.wait_current());
    write_truth(bench.folder + kTruth, bench.sets);
    TRY(bench.order(0));
    for (uint32_t i = 0; i < options.nodes; ++i) {
        uint64_t same = 0;
        if (::read(bench.answers, &same, sizeof same) != static_cast<ssize_t>(sizeof same)) return base::os_error("read");
        report.same += static_cast<uint32_t>(same);
    }
    return {};
}

base::Result<Report> run(Bench& bench, const XdsBenchOptions& options, const std::string& folder) {
    Report report;
    const uint64_t before = rss_bytes();
    {
        const MeshCase mesh = TRY(MeshCase::make(bench.size));
        TRY(load(bench, mesh));
    }
    const auto mib = [&] { return static_cast<double>(rss_bytes() - before) / (1 << 20); };
    report.set_mib = mib();
    xds::ServerOptions server;
    server.listeners = {{"127.0.0.1:0"}};
    server.tls = {slurp(folder + "/cert.pem"), slurp(folder + "/key.pem"), {}};
    server.max_streams_per_peer = options.nodes + 1;
    server.max_new_streams_per_peer_at_once = static_cast<double>(options.nodes) + 64;
    report.debounce_ms = static_cast<double>(server.debounce_quiet.count());
    bench.server = TRY(xds::Server::create(std::move(server)));
    TRY(bench.server->publish(bench.sets));
    std::this_thread::sleep_for(milliseconds(200));

    auto begin = Time::now();
    TRY(bench.order(1));
    TRY(bench.wait_acks(2));
    report.first_sync_ms = ms_since(begin);
    report.wire_mb = static_cast<double>(bench.server->stats().bytes) / 1e6;
    std::this_thread::sleep_for(kSettle);
    report.one_node_mib = mib();
    begin = Time::now();
    TRY(bench.order(options.nodes));
    TRY(bench.wait_acks(2 * uint64_t{options.nodes}));
    report.all_nodes_ms = ms_since(begin);
    report.all_nodes_at_once_mib = mib();
    std::this_thread::sleep_for(kSettle);
    report.all_nodes_mib = mib();
    TRY(measure_changes(bench, options, report));
    TRY(measure_churn(bench, options, report));
    const auto stats = bench.server->stats();
    report.responses = stats.responses, report.flushes = stats.flushes;
    return report;
}

std::string text(const Report& r, const XdsBenchOptions& options) {
    if (options.json) {
        return nlohmann::json{{"first_sync_ms", r.first_sync_ms},
                              {"wire_mb", r.wire_mb},
                              {"all_nodes_ms", r.all_nodes_ms},
                              {"change_median_ms", r.change_median_ms},
                              {"change_worst_ms", r.change_worst_ms},
                              {"churn_worst_lag_ms", r.churn_worst_lag_ms},
                              {"nodes", options.nodes},
                              {"nodes_same", r.same},
                              {"set_mib", r.set_mib},
                              {"one_node_mib", r.one_node_mib},
                              {"all_nodes_mib", r.all_nodes_mib},
                              {"all_nodes_at_once_mib", r.all_nodes_at_once_mib},
                              {"churn_mib", r.churn_mib},
                              {"responses", r.responses},
                              {"flushes", r.flushes}}
                   .dump(2) +
               "\n";
    }
    return fmt::format(
        "100,000 workloads, 10,000 services, 2,000 policies: {:.1f} MB on the wire\n"
        "first sync of one node, from connecting to the last ACK        {:8.0f} ms\n"
        "first sync of all {} nodes at once                             {:8.0f} ms\n"
        "one change, all nodes have acknowledged it, after the debounce {:8.1f} ms (median), {:.1f} ms (worst of 20)\n"
        "churn: {} changes/s for {} s, slowest ACK after its flush      {:8.0f} ms\n"
        "final state the same byte for byte                             {:8} of {} nodes\n"
        "resident beyond the empty process: the set {:.0f} MiB, with one node {:.0f} MiB, with {} nodes {:.0f} MiB ({:.0f} MiB while they "
        "are sent\n"
        "it), at most {:.0f} MiB in the churn\n",
        r.wire_mb, r.first_sync_ms, options.nodes, r.all_nodes_ms, r.change_median_ms, r.change_worst_ms, options.changes_per_second,
        options.seconds, r.churn_worst_lag_ms, r.same, options.nodes, r.set_mib, r.one_node_mib, options.nodes, r.all_nodes_mib,
        r.all_nodes_at_once_mib, r.churn_mib);
}

}  // namespace

base::Result<std::string> xds_bench(const XdsBenchOptions& options) {
    char name[] = "/tmp/warren-bench-XXXXXX";
    if (::mkdtemp(name) == nullptr) return base::os_error("mkdtemp", name);
    const Folder folder{name};
    TRY(make_certificate(folder.path));
    int orders[2], answers[2];
    if (::pipe(orders) != 0 || ::pipe(answers) != 0) return base::os_error("pipe");
    const pid_t child = ::fork();
    if (child < 0) return base::os_error("fork");
    if (child == 0) {
        ::close(orders[1]), ::close(answers[0]);
        be_nodes(orders[0], answers[1], folder.path);
    }
    base::Fd unused_in(orders[0]), unused_out(answers[1]), in(answers[0]);
    base::Fd out(orders[1]);
    unused_in.reset(), unused_out.reset();
    Bench bench;
    bench.folder = folder.path;
    bench.orders = out.get(), bench.answers = in.get();
    auto report = run(bench, options, folder.path);
    out.reset();
    ::waitpid(child, nullptr, 0);
    if (!report) return std::move(report).error();
    if (report->same != options.nodes)
        return base::Error{base::Errc::Internal, 0, "", fmt::format("{} of {} nodes have the final state", report->same, options.nodes)};
    return text(*report, options);
}

}  // namespace warren::bench
