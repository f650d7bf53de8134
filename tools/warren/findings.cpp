// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/findings.h"

#include <algorithm>
#include <ostream>

namespace warren::tools {
namespace {

Tone tone_of(Severity s) {
    switch (s) {
        case Severity::Ok: return Tone::Good;
        case Severity::Note: return Tone::Dim;
        case Severity::Warning: return Tone::Warn;
        case Severity::Error: return Tone::Bad;
    }
    return Tone::Plain;
}

}  // namespace

std::string_view to_string(Severity s) {
    switch (s) {
        case Severity::Ok: return "ok";
        case Severity::Note: return "note";
        case Severity::Warning: return "warning";
        case Severity::Error: return "error";
    }
    return "";
}

int report(const Context& context, const Findings& findings, bool quiet, Severity from) {
    std::vector<Finding> shown;
    for (const Severity level : {Severity::Ok, Severity::Note, Severity::Warning, Severity::Error})
        for (const Finding& f : findings)
            if (f.severity == level && !(quiet && level == Severity::Ok)) shown.push_back(f);
    size_t errors = 0, warnings = 0;
    bool acts = false;
    for (const Finding& f : findings) {
        errors += f.severity == Severity::Error ? 1 : 0;
        warnings += f.severity == Severity::Warning ? 1 : 0;
        acts = acts || f.severity >= from;
    }
    if (context.for_people()) {
        for (const Finding& f : shown) {
            std::string word(to_string(f.severity));
            word.resize(8, ' ');
            std::string area = harmless(f.area);
            area.resize(std::max(area.size(), size_t{11}), ' ');
            context.out << paint(word, tone_of(f.severity), context.colour()) << area << harmless(f.what) << '\n';
            if (!f.fix.empty()) context.out << std::string(19, ' ') << "fix: " << harmless(f.fix) << '\n';
        }
        const auto counted = [](size_t n, const char* what) { return std::to_string(n) + ' ' + what + (n == 1 ? "" : "s"); };
        context.out << counted(findings.size(), "check") << ", " << counted(errors, "error") << ", " << counted(warnings, "warning")
                    << '\n';
    } else {
        Json all = Json::array();
        for (const Finding& f : shown)
            all.push_back({{"severity", to_string(f.severity)}, {"area", f.area}, {"what", f.what}, {"fix", f.fix}});
        context.print({{"findings", all}, {"errors", errors}, {"warnings", warnings}});
    }
    return acts ? kFindings : kOk;
}

}  // namespace warren::tools
