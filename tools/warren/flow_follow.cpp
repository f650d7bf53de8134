// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_json.h"
#include "proto/flow.grpc.pb.h"
#include "tools/warren/cluster.h"
#include "tools/warren/flow_source.h"
#include "tools/warren/kubectl.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <unistd.h>

#include <cerrno>

namespace warren::tools {
namespace {

namespace v1 = flow::v1;
using base::Errc;
using base::Error;

Error no_stream(const std::string& path) {
    return Error{Errc::Unavailable, 0, "",
                 "the agent's flow stream does not answer on " + path +
                     ": is warren-agent running on this node, with that run_dir? --flows-socket names another one; see `warren check`"};
}

// False: enough.
base::Result<bool> deliver(const v1::FlowBatch& batch, const FlowReader& reader) {
    for (const v1::Flow& flow : batch.flows()) {
        Json json = TRY(parse_json(node::flow_json(flow), "a flow"));
        FlowRecord record = TRY(read_flow(json));
        if (!reader.flow(Flow{std::move(record), std::move(json)})) return false;
    }
    return batch.flows_size() != 0 || reader.history_over();
}

// The stream is a Unix socket of the node: the command runs there, and what it says is read here.
base::Result<void> follow_in_pod(const Context& context, const MeshPod& agent, const FlowReader& reader) {
    Child child = TRY(Child::start(
        kubectl(context, {"exec", "-n", agent.ns, agent.name, "-c", agent.container, "--", "warren", "flows", "--follow", "-o", "json"}),
        Child::Stderr::Shown));
    while (const auto line = TRY(child.line(std::nullopt)))
        for (Flow& flow : TRY(flows_of_text(*line + '\n', "the agent's flows")))
            if (!reader.flow(std::move(flow))) return {};
    return child.wait();
}

}  // namespace

base::Result<void> follow_flows(const Context& context, const FlowReader& reader) {
    if (Cluster* cluster = TRY(cluster_of(context))) return follow_in_pod(context, *TRY(cluster->pod(MeshPod::Part::Agent)), reader);
    const std::string& path = context.globals.flows_socket;
    if (::access(path.c_str(), R_OK | W_OK) != 0) {
        if (errno == EACCES || errno == EPERM)
            return base::os_error("open", path + " (run warren as root, or name this user in the agent's settings)");
        return no_stream(path);
    }
    const auto channel = grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials());
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(context.globals.timeout_s)))
        return no_stream(path);
    const auto stub = v1::FlowService::NewStub(channel);
    grpc::ClientContext call;
    const auto stream = stub->StreamFlows(&call, v1::StreamFlowsRequest());
    v1::FlowBatch batch;
    uint64_t lost = 0;
    while (stream->Read(&batch)) {
        if (batch.lost() > lost) reader.lost(lost = batch.lost());
        auto more = deliver(batch, reader);
        if (more && *more) continue;
        call.TryCancel();
        while (stream->Read(&batch)) continue;
        (void)stream->Finish();
        if (!more) return std::move(more).error();
        return {};
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return Error{Errc::Unavailable, 0, "", "the agent ended the flow stream: " + status.error_message()};
    return {};
}

}  // namespace warren::tools
