// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/kubectl.h"

#include "tools/warren/child.h"

namespace warren::tools {
namespace {

constexpr size_t kMaxAnswer = size_t{512} << 20;

std::vector<std::string> called(const char* program, const char* context_option, const Context& context, std::vector<std::string> words) {
    std::vector<std::string> out = {program};
    const Globals& g = context.globals;
    if (!g.kubeconfig.empty()) out.insert(out.end(), {"--kubeconfig", g.kubeconfig});
    if (!g.kube_context.empty()) out.insert(out.end(), {context_option, g.kube_context});
    out.insert(out.end(), std::make_move_iterator(words.begin()), std::make_move_iterator(words.end()));
    return out;
}

}  // namespace

std::vector<std::string> kubectl(const Context& context, std::vector<std::string> words) {
    return called("kubectl", "--context", context, std::move(words));
}

std::vector<std::string> helm(const Context& context, std::vector<std::string> words) {
    return called("helm", "--kube-context", context, std::move(words));
}

base::Result<std::string> output_of(const Context& context, const std::vector<std::string>& command) {
    auto child = Child::start(command, Child::Stderr::Kept);
    if (!child && child.error().code == base::Errc::NotFound)
        return base::Error{base::Errc::NotFound, 0, "", command[0] + " is not in PATH; a cluster is asked by it: install it"};
    if (!child) return std::move(child).error();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(context.globals.timeout_s);
    std::string out;
    while (auto line = TRY(child->line(deadline))) {
        out.append(*line).append(1, '\n');
        if (out.size() > kMaxAnswer) return base::Error{base::Errc::Exhausted, 0, "", command[0] + " wrote more than 512 MiB"};
    }
    TRY(child->wait());
    return out;
}

base::Result<Json> kube_get(const Context& context, const std::string& path) {
    return parse_json(TRY(output_of(context, kubectl(context, {"get", "--raw", path}))), "the API server's answer to " + path);
}

}  // namespace warren::tools
