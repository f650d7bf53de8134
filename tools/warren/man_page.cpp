// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/man_page.h"

namespace warren::tools {
namespace {

// A dash typed is one to copy; a dot or quote at the beginning of a line would be a request.
std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n'))
            out += std::string("\\&") + c;
        else
            out += c;
    }
    return out;
}

std::string option(const OptionEntry& o) {
    std::string names;
    for (const std::string& name : o.names) names += (names.empty() ? "" : ", ") + std::string("\\fB") + escaped(name) + "\\fR";
    if (!o.positional && !o.flag) names += " \\fI" + escaped(o.type) + "\\fR";
    std::string text = escaped(o.description);
    if (!o.fallback.empty() && !o.flag) text += " (default: " + escaped(o.fallback) + ")";
    if (!o.variable.empty()) text += "; variable \\fB" + escaped(o.variable) + "\\fR";
    return ".TP\n" + names + '\n' + text + '\n';
}

std::string synopsis(const CommandEntry& c) {
    std::string out = "warren";
    for (const std::string& word : c.path) out += ' ' + word;
    out += "\\fR";
    for (const OptionEntry& o : c.options)
        if (!o.positional && o.required) out += " \\fB" + escaped(o.names.back()) + "\\fR \\fI" + escaped(o.type) + "\\fR";
    for (const OptionEntry& o : c.options)
        if (o.positional) out += o.required ? " \\fI" + escaped(o.names[0]) + "\\fR" : " [\\fI" + escaped(o.names[0]) + "\\fR]";
    return "\\fB" + out;
}

std::string command(const CommandEntry& c) {
    std::string out;
    if (c.commands.empty()) {
        out += ".SS " + synopsis(c) + '\n' + escaped(c.description) + ".\n";
        for (const OptionEntry& o : c.options)
            if (o.names.back() != "--help") out += option(o);
    }
    for (const CommandEntry& sub : c.commands) out += command(sub);
    return out;
}

constexpr const char* kTail = R"(.SH EXIT STATUS
.TP
\fB0\fR
done; for questions: yes, and nothing to act on
.TP
\fB1\fR
could not be done or answered; standard error says why and what to do
.TP
\fB2\fR
the command line is wrong
.TP
\fB3\fR
done, and there is something to act on: a finding, a difference, a connection that would be refused, a node that is not ready
.SH FILES
.TP
\fI/run/warren/flows.sock\fR
the agent's live stream of flows; root, and users named in the agent's settings, may read it
.SH ENVIRONMENT
Each global option has a variable, named with it. \fBNO_COLOR\fR, when set, turns colours off.
.SH SEE ALSO
docs/cli.md, docs/policy.md
)";

}  // namespace

std::string man_page(const CommandEntry& root, const std::string& version) {
    std::string out =
        ".TH WARREN 1 \"\" \"Warren " + version +
        "\" \"Warren\"\n.SH NAME\nwarren \\- asks and steers a Warren mesh\n.SH SYNOPSIS\n"
        "\\fBwarren\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n.SH DESCRIPTION\n"
        "Answers questions about the mesh of this node from its daemons: the agent, the tunnel and, where one is named, the\n"
        "controller. It changes nothing but log levels. Tables are for people; \\fB\\-o json\\fR and \\fB\\-o yaml\\fR for machines.\n"
        ".SH GLOBAL OPTIONS\nThey may stand before or behind the command.\n";
    for (const OptionEntry& o : root.options) out += option(o);
    out += ".SH COMMANDS\n";
    for (const CommandEntry& c : root.commands) out += command(c);
    return out + kTail;
}

}  // namespace warren::tools
