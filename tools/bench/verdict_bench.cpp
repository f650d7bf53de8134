// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/verdict_bench.h"

#include "agent/node/verdict_table.h"
#include "tools/bench/verdict_case.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <unordered_map>

namespace warren::bench {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double ms_since(Clock::time_point from) { return std::chrono::duration<double, std::milli>(Clock::now() - from).count(); }

// Where the map's system calls would be.
class Sink {
  public:
    void write(const std::vector<node::VerdictOp>& ops) {
        for (const node::VerdictOp& op : ops) {
            uint64_t key = static_cast<uint64_t>(op.key.source) << 40 | static_cast<uint64_t>(op.key.destination) << 16 | op.key.port;
            if (op.row)
                rows_.insert_or_assign(key, *op.row);
            else
                rows_.erase(key);
        }
    }
    [[nodiscard]] size_t size() const { return rows_.size(); }

  private:
    std::unordered_map<uint64_t, wr_verdict_row> rows_;
};

struct Node {
    explicit Node(const VerdictCase& c) : pods(c.pods()) { mesh.apply(c.mesh()); }
    size_t follow() {
        view.update(mesh.snapshot(), pods);
        const node::VerdictChange change = table.update(view);
        sink.write(change.ops);
        return change.ops.size();
    }
    std::vector<node::LocalPod> pods;
    policy::Mesh mesh;
    node::MeshView view{node::MeshSettings{}};
    node::VerdictTable table;
    Sink sink;
};

Json summary(std::vector<double> ms) {
    std::sort(ms.begin(), ms.end());
    return {{"p50_ms", ms[ms.size() / 2]}, {"max_ms", ms.back()}};
}

Json bench_changes(Node& n, const VerdictBenchOptions& options, const auto& spec_of) {
    std::vector<double> ms;
    size_t ops = 0;
    for (uint32_t round = 1; round <= 2 * options.rounds; ++round) {
        policy::Batch batch;
        batch.policies.emplace_back(spec_of(round));
        const auto before = Clock::now();
        n.mesh.apply(std::move(batch));
        ops = std::max(ops, n.follow());
        ms.push_back(ms_since(before));
    }
    Json out = summary(std::move(ms));
    out["most_writes"] = ops;
    return out;
}

base::Result<Json> bench_case(const VerdictBenchOptions& options, bool addresses) {
    const VerdictCase c({options.pods, options.ports, options.policies, addresses});
    std::vector<double> ms;
    for (uint32_t round = 0; round < options.rounds; ++round) {
        Node fresh(c);
        const auto before = Clock::now();
        fresh.follow();
        ms.push_back(ms_since(before));
    }
    Node n(c);
    n.follow();
    if (n.table.counts().beyond_limit != 0 || n.table.counts().too_many_ports != 0 || n.sink.size() != n.table.counts().rows)
        return base::Error{base::Errc::Internal, 0, "", "the verdict case does not fit its table"};
    Json out = {{"compute", summary(std::move(ms))}, {"rows", n.table.counts().rows}, {"pairs", n.table.counts().pairs}};
    out["listed_policy"] = bench_changes(n, options, [&](uint32_t r) { return c.policy(c.listed_policy(r), r); });
    out["namespace_policy"] = bench_changes(n, options, [&](uint32_t r) { return c.policy(VerdictCase::wide_policy(r), r); });
    out["global_policy"] = bench_changes(n, options, [&](uint32_t r) { return VerdictCase::global_policy(r); });
    return out;
}

void add_for_people(std::string& out, const char* title, const Json& r) {
    out += fmt::format("{}: {} rows for {} pairs\n", title, r["rows"].get<size_t>(), r["pairs"].get<size_t>());
    const auto line = [&](const char* what, const char* key) {
        out += fmt::format("  {:<44}{:>9.1f} ms{:>9.1f} ms at most", what, r[key]["p50_ms"].get<double>(), r[key]["max_ms"].get<double>());
        out += r[key].contains("most_writes") ? fmt::format("{:>8} writes\n", r[key]["most_writes"].get<size_t>()) : "\n";
    };
    line("everything from a snapshot", "compute");
    line("one policy changed that some pods list", "listed_policy");
    line("one policy of a namespace changed", "namespace_policy");
    line("one policy of the whole mesh changed", "global_policy");
}

}  // namespace

base::Result<std::string> verdict_bench(const VerdictBenchOptions& options) {
    Json report = {{"pods", options.pods}, {"ports", options.ports}, {"policies", options.policies}};
    report["identities"] = TRY(bench_case(options, false));
    report["addresses"] = TRY(bench_case(options, true));
    if (options.json) return report.dump(2) + '\n';
    std::string out = fmt::format("same-node verdicts of {} pods, {} ports, {} policies; writes go to a table in memory\n", options.pods,
                                  options.ports, options.policies);
    add_for_people(out, "policies of identities and ports", report["identities"]);
    add_for_people(out, "policies of source addresses too", report["addresses"]);
    return out;
}

}  // namespace warren::bench
