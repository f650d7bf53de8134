// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/daemons.h"

#include "tools/warren/cluster.h"
#include "tools/warren/mesh_file.h"

namespace warren::tools {
namespace {

using base::Errc;

// One line of an answer that is no success.
std::string first_line(const std::string& body) { return body.substr(0, std::min(body.find('\n'), size_t{200})); }

std::string why(const base::Error& error, const Daemon& d, bool of_cluster) {
    if (error.code == Errc::Timeout)
        return "the " + d.name + " " + error.message() + "; is it overloaded, or " + d.option + " another program?";
    if (of_cluster) return "the " + d.name + " does not answer in its pod: " + error.message() + "; see `kubectl logs` of it";
    if (error.code == Errc::Denied) return error.message() + "; run warren as root";
    return "the " + d.name + " does not answer on " + d.address + ": is " + d.program + " running on this node? " + d.option +
           " names another address, --netns another node of a lab; see `warren check`";
}

}  // namespace

Daemon agent_of(const Context& c) { return {"agent", "warren-agent", c.globals.agent, "--agent"}; }
Daemon tunnel_of(const Context& c) { return {"tunnel", "warren-ztunnel", c.globals.tunnel, "--tunnel"}; }
Daemon controller_of(const Context& c) {
    std::string address = c.globals.controller;
    // In a cluster it need not be named.
    if (address.empty())
        if (const auto cluster = cluster_of(c); cluster && *cluster != nullptr && (*cluster)->has_controller()) address = "127.0.0.1:9876";
    return {"controller", "warren-controller", address, "--controller"};
}

base::Result<std::string> ask(const Context& context, const Daemon& daemon, const std::string& path, bool post) {
    if (daemon.address.empty()) return base::invalid("no " + daemon.name + " was named; " + daemon.option + " HOST:PORT does");
    Cluster* cluster = TRY(cluster_of(context));
    return ask_at(context, daemon, cluster != nullptr ? TRY(cluster->way_to(daemon.name, daemon.address)) : daemon.address, path, post);
}

base::Result<std::string> ask_at(const Context& context, const Daemon& daemon, const std::string& address, const std::string& path,
                                 bool post) {
    HttpAsk question;
    question.address = address;
    question.path = path;
    question.post = post;
    question.deadline = std::chrono::seconds(context.globals.timeout_s);
    auto reply = http_ask(question);
    if (!reply) {
        const Errc code = reply.error().code;
        if (code == Errc::Invalid || code == Errc::Exhausted) return std::move(reply).error();
        return base::Error{code, 0, "", why(reply.error(), daemon, context.cluster != nullptr)};
    }
    if (reply->status != 200)
        return base::Error{
            reply->status == 400 ? Errc::Invalid : Errc::Unavailable, 0, "",
            "the " + daemon.name + " answered " + std::to_string(reply->status) + " to " + path + ": " + first_line(reply->body)};
    return std::move(reply->body);
}

base::Result<Json> ask_json(const Context& context, const Daemon& daemon, const std::string& path) {
    const std::string body = TRY(ask(context, daemon, path));
    return parse_json(body, "the " + daemon.name + "'s answer to " + path);
}

base::Result<Json> agent_status(const Context& context) { return ask_json(context, agent_of(context), "/status"); }

base::Result<Json> config_dump(const Context& context, const std::string& file) {
    if (file.empty()) return ask_json(context, tunnel_of(context), "/config_dump");
    Json dump = TRY(parse_json(TRY(read_text_file(file)), file == "-" ? "standard input" : file));
    if (!dump.is_object())
        return base::invalid(file + " is no configuration dump: that is a JSON object, as `warren config-dump` prints it");
    return dump;
}

}  // namespace warren::tools
