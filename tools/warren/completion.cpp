// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/completion.h"

#include <functional>

namespace warren::tools {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
    return out;
}

void each(const CommandEntry& command, const std::function<void(const CommandEntry&)>& fn) {
    fn(command);
    for (const CommandEntry& sub : command.commands) each(sub, fn);
}

// Commands below, options, and the choices of positionals.
std::string words_of(const CommandEntry& command) {
    std::vector<std::string> words;
    for (const CommandEntry& sub : command.commands) words.push_back(sub.path.back());
    for (const OptionEntry& o : command.options) {
        const auto& names = o.positional ? o.choices : o.names;
        words.insert(words.end(), names.begin(), names.end());
    }
    return joined(words, " ");
}

// Which command the words so far name, and what may follow a word that wants a value: shared by bash and zsh.
std::string function_body(const CommandEntry& root) {
    std::string commands, values;
    each(root, [&](const CommandEntry& c) {
        for (const CommandEntry& sub : c.commands)
            commands += "            \"" + joined(c.path, " ") + (c.path.empty() ? "" : " ") + sub.path.back() + "\") path=\"" +
                        joined(sub.path, " ") + "\" ;;\n";
    });
    std::string lists;
    each(root, [&](const CommandEntry& c) { lists += "        \"" + joined(c.path, " ") + "\") words=\"" + words_of(c) + "\" ;;\n"; });
    each(root, [&](const CommandEntry& c) {
        for (const OptionEntry& o : c.options) {
            if (o.positional || o.flag) continue;
            // A short option may mean something else elsewhere, so the command counts.
            for (const std::string& name : o.names) {
                const std::string pattern = c.path.empty() ? "*\"|" + name + "\"" : "\"" + joined(c.path, " ") + "|" + name + "\"";
                values += "        " + pattern + ") " +
                          (o.choices.empty() ? (o.type == "FILE" || o.type == "PATH" ? "words=FILES" : "words=")
                                             : "words=\"" + joined(o.choices, " ") + "\"") +
                          " ;;\n";
            }
        }
    });
    return "    local path=\"\" word words prev=\"${COMP_WORDS[COMP_CWORD-1]}\" cur=\"${COMP_WORDS[COMP_CWORD]}\" i\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        word=\"${path:+$path }${COMP_WORDS[i]}\"\n"
           "        case \"$word\" in\n" +
           commands +
           "        esac\n    done\n"
           "    case \"$path\" in\n" +
           lists +
           "    esac\n"
           "    [ -z \"$path\" ] || words=\"$words " +
           words_of(CommandEntry{{}, "", root.options, {}}) +
           "\"\n"
           "    case \"$path|$prev\" in\n" +
           values + "    esac\n";
}

}  // namespace

std::string bash_completion(const CommandEntry& root) {
    return "# bash completion of warren; load it with: source <(warren completion bash)\n_warren() {\n" + function_body(root) +
           "    if [ \"$words\" = FILES ]; then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W \"$words\" -- "
           "\"$cur\")); fi\n}\n"
           "complete -o default -F _warren warren\n";
}

std::string zsh_completion(const CommandEntry& root) {
    return "#compdef warren\n# zsh completion of warren; load it with: source <(warren completion zsh)\n"
           "autoload -U +X bashcompinit && bashcompinit\n_warren() {\n" +
           function_body(root) +
           "    if [ \"$words\" = FILES ]; then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W \"$words\" -- "
           "\"$cur\")); fi\n}\n"
           "complete -o default -F _warren warren\n";
}

std::string fish_completion(const CommandEntry& root) {
    const auto quoted = [](const std::string& text) {
        std::string out = "'";
        for (const char c : text) out += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string{c};
        return out + "'";
    };
    std::string out = "# fish completion of warren; load it with: warren completion fish | source\n";
    each(root, [&](const CommandEntry& c) {
        std::string where;
        if (!c.path.empty()) where = " -n '__fish_seen_subcommand_from " + c.path.back() + "'";
        for (const CommandEntry& sub : c.commands)
            out += "complete -c warren -f" + (c.path.empty() ? std::string(" -n __fish_use_subcommand") : where) + " -a " +
                   sub.path.back() + " -d " + quoted(sub.description) + '\n';
        for (const OptionEntry& o : c.options) {
            std::string line = "complete -c warren" + where;
            for (const std::string& name : o.names)
                line += o.positional ? "" : name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            if (o.positional && o.choices.empty()) continue;
            if (o.positional) line += " -f";
            if (!o.flag && !o.positional) line += " -r";
            if (!o.choices.empty()) line += " -a " + quoted(joined(o.choices, " "));
            out += line + " -d " + quoted(o.description) + '\n';
        }
    });
    return out;
}

}  // namespace warren::tools
