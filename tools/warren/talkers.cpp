// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/talkers.h"

#include <algorithm>
#include <tuple>

namespace warren::tools {

std::vector<Talker> Talkers::look(const std::vector<Flow>& flows, base::MonoTime now) {
    const double seconds = std::chrono::duration<double>(now - looked_).count();
    std::map<std::pair<std::string, std::string>, Talker> sums;
    std::unordered_map<std::string, uint64_t> seen;
    for (const Flow& flow : flows) {
        const FlowRecord& f = flow.record;
        Talker& t = sums[{f.from_shown(), f.to_shown()}];
        t.path = t.path.empty() || t.path == f.path ? f.path : "mixed";
        (f.end ? t.ended : t.open) += 1;
        if (f.decision.verdict == "denied") ++t.denied;
        t.sent += f.to_destination;
        t.received += f.to_source;
        const uint64_t bytes = f.to_destination + f.to_source;
        uint64_t& known = seen[f.key()];
        known = std::max(known, bytes);
        if (first_ || seconds <= 0) continue;
        const auto before = before_.find(f.key());
        const uint64_t was = before == before_.end() ? 0 : before->second;
        t.rate += bytes > was ? static_cast<double>(bytes - was) / seconds : 0;
    }
    before_ = std::move(seen);
    looked_ = now;
    first_ = false;
    std::vector<Talker> out;
    for (auto& [ends, talker] : sums) {
        std::tie(talker.from, talker.to) = ends;
        out.push_back(std::move(talker));
    }
    std::sort(out.begin(), out.end(), [](const Talker& a, const Talker& b) {
        return std::tuple(b.rate, b.sent + b.received, a.from, a.to) < std::tuple(a.rate, a.sent + a.received, b.from, b.to);
    });
    return out;
}

}  // namespace warren::tools
