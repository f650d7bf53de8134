// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {
namespace {

std::string shown(const AddressNames& names, const std::string& address, bool raw) { return raw ? address : names.named(address); }

void add_rows(const Json& pod, const AddressNames& names, bool raw, Table& table) {
    const Json& info = at(pod, "info");
    const std::string workload = text_at(info, "name") + '.' + text_at(info, "namespace");
    const Json& connections = at(pod, "connections");
    const auto name = [&](const Json& c, const char* key) { return shown(names, text_at(c, key), raw); };
    for (const Json& c : list_at(connections, "inbound"))
        table.add({workload, "Inbound", name(c, "actualDst"), name(c, "src"), name(c, "originalDst"), text_at(c, "protocol")});
    for (const Json& c : list_at(connections, "outbound"))
        table.add({workload, "Outbound", name(c, "src"), name(c, "actualDst"), name(c, "originalDst"), text_at(c, "protocol")});
}

}  // namespace

void add_connections(CLI::App& app, Context& context) {
    const auto raw = std::make_shared<bool>(false);
    CLI::App* command = add_dump_command(app, context, "connections", "connections the tunnel carries now, of this node's workloads",
                                         {"WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"},
                                         [raw](const Json& dump, const DumpOptions& options, Table& table) {
                                             const AddressNames names(dump);
                                             Json out = Json::object();
                                             for (const auto& [uid, pod] : object_at(dump, "workloadState").items()) {
                                                 if (!options.ns.empty() && text_at(at(pod, "info"), "namespace") != options.ns) continue;
                                                 add_rows(pod, names, *raw, table);
                                                 out[uid] = pod;
                                             }
                                             return out;
                                         });
    command->add_flag("--raw", *raw, "addresses as they are, without names");
}

}  // namespace warren::tools
