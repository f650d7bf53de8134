// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_json.h"
#include "proto/flow.grpc.pb.h"
#include "tools/warren/flow_source.h"

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

}  // namespace

base::Result<void> follow_flows(const Context& context, const FlowReader& reader) {
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
