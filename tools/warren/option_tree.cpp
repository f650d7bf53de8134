// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/option_tree.h"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace warren::tools {
namespace {

// The library tells the choices of IsMember only in its text: "FORMAT:{table,json,yaml}".
std::vector<std::string> choices_of(const std::string& type) {
    std::vector<std::string> out;
    const size_t begin = type.find("{"), end = type.rfind('}');
    if (begin == std::string::npos || end == std::string::npos || type.find("->") != std::string::npos) {
        const size_t last = type.rfind(":{");
        if (last == std::string::npos || end == std::string::npos || type.find("->", last) != std::string::npos) return out;
        return choices_of(type.substr(last + 1));
    }
    for (size_t at = begin + 1; at < end;) {
        const size_t comma = std::min(type.find(',', at), end);
        out.push_back(type.substr(at, comma - at));
        at = comma + 1;
    }
    return out;
}

OptionEntry entry_of(const CLI::Option& o) {
    OptionEntry out;
    for (const std::string& name : o.get_snames()) out.names.push_back('-' + name);
    for (const std::string& name : o.get_lnames()) out.names.push_back("--" + name);
    out.positional = out.names.empty();
    if (out.positional) out.names.push_back(o.get_name(true));
    out.flag = o.get_items_expected_max() == 0;
    out.required = o.get_required();
    const std::string type = o.get_type_name();
    out.type = type.substr(0, type.find(':'));
    out.choices = choices_of(type);
    out.description = o.get_description();
    out.fallback = o.get_default_str();
    out.variable = o.get_envname();
    return out;
}

CommandEntry walk(const CLI::App& app, const std::vector<std::string>& path) {
    CommandEntry out;
    out.path = path;
    out.description = app.get_description();
    for (const CLI::Option* o : app.get_options())
        if (!o->get_group().empty()) out.options.push_back(entry_of(*o));
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
        std::vector<std::string> below = path;
        below.push_back(sub->get_name());
        out.commands.push_back(walk(*sub, below));
    }
    return out;
}

}  // namespace

CommandEntry option_tree(const CLI::App& root) { return walk(root, {}); }

}  // namespace warren::tools
