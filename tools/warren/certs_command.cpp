// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "tools/warren/certificates.h"
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {
namespace {

void add_rows(Table& table, const Json& certificate, const char* list, base::WallTime now) {
    const Json& chain = list_at(certificate, list);
    for (size_t i = 0; i < chain.size(); ++i) {
        const Json& one = chain[i];
        const bool valid = certificate_valid(one, now);
        const std::string type = list != std::string_view("certChain") ? "Root" : i == 0 ? "Leaf" : "Intermediate";
        table.add({text_at(certificate, "identity"),
                   type,
                   text_at(certificate, "state"),
                   {valid ? "true" : "false", valid ? Tone::Good : Tone::Bad},
                   hexadecimal(text_at(one, "serialNumber")),
                   text_at(one, "expirationTime"),
                   text_at(one, "validFrom")});
    }
}

}  // namespace

void add_certs(CLI::App& app, Context& context) {
    add_dump_command(app, context, "certs", "certificates of this node's workloads",
                     {"CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"},
                     [](const Json& dump, const DumpOptions& options, Table& table) {
                         Json out = Json::array();
                         const base::WallTime now = base::RealClock().wall();
                         for (const Json& c : list_at(dump, "certificates")) {
                             const std::string identity = text_at(c, "identity");
                             if (!options.ns.empty() && identity.find("/ns/" + options.ns + "/sa/") == std::string::npos) continue;
                             if (list_at(c, "certChain").empty())
                                 table.add({identity, "Leaf", {text_at(c, "state"), Tone::Warn}, {"false", Tone::Bad}});
                             add_rows(table, c, "certChain", now);
                             add_rows(table, c, "rootCerts", now);
                             out.push_back(c);
                         }
                         return out;
                     });
}

}  // namespace warren::tools
