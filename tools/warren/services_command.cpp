// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {

void add_services(CLI::App& app, Context& context) {
    add_dump_command(app, context, "services", "services the tunnel knows, with their healthy endpoints",
                     {"NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"},
                     [](const Json& dump, const DumpOptions& options, Table& table) {
                         const Json out = in_namespace(list_at(dump, "services"), options.ns);
                         for (const Json& s : out) {
                             std::string vips;
                             for (const Json& vip : list_at(s, "vips")) {
                                 const std::string text = text_of(vip);
                                 vips += (vips.empty() ? "" : ",") + text.substr(text.find('/') + 1);
                             }
                             size_t healthy = 0, all = 0;
                             for (const Json& e : object_at(s, "endpoints")) {
                                 ++all;
                                 healthy += text_at(e, "status") == "Unhealthy" ? 0 : 1;
                             }
                             table.add({text_at(s, "namespace"),
                                        text_at(s, "name"),
                                        vips,
                                        waypoint_of(s, dump),
                                        {std::to_string(healthy) + '/' + std::to_string(all), healthy == 0 ? Tone::Bad : Tone::Plain}});
                         }
                         table.sort();
                         return out;
                     });
}

}  // namespace warren::tools
