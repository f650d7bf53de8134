// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/flow_source.h"

#include "tools/warren/daemons.h"
#include "tools/warren/mesh_file.h"

namespace warren::tools {
namespace {

constexpr const char* kAll = "/flows?limit=10000";  // the most the agent keeps

base::Result<Flow> flow_of(Json json) {
    FlowRecord record = TRY(read_flow(json));
    return Flow{std::move(record), std::move(json)};
}

base::Result<std::vector<Flow>> flows_of_list(const Json& list, const std::string& name) {
    std::vector<Flow> out;
    for (const Json& one : list) {
        auto flow = flow_of(one);
        if (!flow) return std::move(flow).error().with(name + ", flow " + std::to_string(out.size() + 1));
        out.push_back(*std::move(flow));
    }
    return out;
}

}  // namespace

base::Result<std::vector<Flow>> flows_of_text(const std::string& text, const std::string& name) {
    const size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin != std::string::npos && text[begin] == '[') return flows_of_list(TRY(parse_json(text, name)), name);
    std::vector<Flow> out;
    size_t number = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = std::string_view(text).substr(at, end - at);
        const bool whole = end < text.size();
        at = end + 1;
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        const std::string where = name + ':' + std::to_string(number);
        auto json = parse_json(line, where);
        if (!json && !whole) break;
        if (!json) return std::move(json).error();
        auto flow = flow_of(*std::move(json));
        if (!flow) return std::move(flow).error().with(where);
        out.push_back(*std::move(flow));
    }
    return out;
}

base::Result<std::vector<Flow>> load_flows(const Context& context, const std::string& file) {
    if (!file.empty()) return flows_of_text(TRY(read_text_file(file)), file == "-" ? "standard input" : file);
    const Json list = TRY(ask_json(context, agent_of(context), kAll));
    if (!list.is_array()) return base::Error{base::Errc::Protocol, 0, "", "the agent's answer to /flows is no list; is it a warren-agent?"};
    return flows_of_list(list, "the agent's /flows");
}

}  // namespace warren::tools
