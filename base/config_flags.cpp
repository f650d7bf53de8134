// SPDX-License-Identifier: Apache-2.0
#include "base/config_source.h"
#include "base/log_line.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <exception>

namespace warren::base::config {
namespace {

constexpr const char* kConfig = "--config";

CLI::Option* add(CLI::App& app, const std::string& flag, const std::string& help, const std::string& type) {
    // No variable behind it: CLI11 splits and finds, our types judge. TakeAll, so that a repeated flag is seen and not merged.
    CLI::Option* option = app.add_option(flag, help);
    option->type_size(1)->expected(1)->allow_extra_args(false)->type_name(type)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    return option;
}

void describe(CLI::App& app, const std::vector<FlagSpec>& specs) {
    app.allow_extras();
    add(app, kConfig, "YAML file with the options below by their keys", "FILE");
    for (const FlagSpec& spec : specs) {
        const std::string about = spec.initial.empty() ? spec.name : fmt::format("{}; default {}", spec.name, spec.initial);
        add(app, spec.flag, fmt::format("{} ({})", spec.help, about), spec.type);
    }
}

}  // namespace

Result<Flags> read_flags(const std::vector<FlagSpec>& specs, const std::vector<std::string>& args) {
    Flags flags;
    CLI::App app;
    try {
        describe(app, specs);
        app.parse(std::vector<std::string>(args.rbegin(), args.rend()));  // CLI11 wants the last first
        if (const auto extra = app.remaining(); !extra.empty())
            return invalid(fmt::format("command line: unknown argument {}; --help lists the flags", log::quoted(extra.front())));
        const auto results = [&](const std::string& flag) { return app.get_option(flag)->results(); };
        if (const auto files = results(kConfig); files.size() > 1)
            return invalid("flag --config: given twice");
        else if (files.size() == 1 && files[0].empty())
            return invalid("flag --config: names no file");
        else if (files.size() == 1)
            flags.config = files[0];
        for (const FlagSpec& spec : specs) {
            std::vector<std::string> items = results(spec.flag);
            if (items.empty()) continue;
            if (items.size() > 1 && !spec.list)
                return invalid(fmt::format("flag {}: given {} times, once is taken", spec.flag, items.size()));
            const auto shape = items.size() > 1 ? RawValue::Shape::Sequence : RawValue::Shape::Scalar;
            flags.values.push_back(RawValue{spec.name, std::move(items), shape, "flag " + spec.flag});
        }
    } catch (const CLI::CallForHelp&) {
        flags.help = true;
    } catch (const CLI::ConstructionError& e) {
        return Error{Errc::Internal, 0, "declare flags", e.what()};
    } catch (const std::exception& e) {
        return invalid(fmt::format("command line: {}; --help lists the flags", e.what()));
    }
    return flags;
}

std::string flags_help(const std::vector<FlagSpec>& specs, const std::string& program) {
    try {
        CLI::App app;
        app.name(program);
        describe(app, specs);
        return app.help();
    } catch (const std::exception& e) {
        return std::string("no help: ") + e.what() + "\n";
    }
}

}  // namespace warren::base::config
