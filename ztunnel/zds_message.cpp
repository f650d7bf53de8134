// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/zds_message.h"

#include "proto/zds.pb.h"

namespace warren::ztunnel {

namespace zds = istio::workload::zds;

base::Result<ZdsRequest> parse_zds_request(std::span<const uint8_t> packet, std::vector<base::Fd> fds) {
    auto refuse = [](std::string why) { return base::Error{base::Errc::Protocol, 0, "ZDS", std::move(why)}; };
    zds::WorkloadRequest request;
    if (!request.ParseFromArray(packet.data(), static_cast<int>(packet.size()))) return refuse("packet is not a WorkloadRequest");
    if (fds.size() > 1) return refuse("more than one descriptor came with a packet");
    if (request.payload_case() == zds::WorkloadRequest::kAdd) {
        if (fds.empty()) return refuse("AddWorkload came without a network namespace");
        const zds::AddWorkload& add = request.add();
        if (add.uid().empty()) return refuse("AddWorkload has no uid");
        if (!add.has_workload_info()) return refuse("AddWorkload has no workload_info");
        const zds::WorkloadInfo& info = add.workload_info();
        return ZdsRequest(ZdsAdd{add.uid(), info.name(), info.namespace_(), info.service_account(), std::move(fds.front())});
    }
    if (!fds.empty()) return refuse("a descriptor came with a message other than AddWorkload");
    switch (request.payload_case()) {
        case zds::WorkloadRequest::kKeep: return ZdsRequest(ZdsKeep{request.keep().uid()});
        case zds::WorkloadRequest::kDel: return ZdsRequest(ZdsDel{request.del().uid()});
        case zds::WorkloadRequest::kSnapshotSent: return ZdsRequest(ZdsSnapshotSent{});
        default: return refuse("WorkloadRequest has no known payload");
    }
}

std::string zds_hello() {
    zds::ZdsHello hello;
    hello.set_version(zds::V1);
    return hello.SerializeAsString();
}

std::string zds_ack(const std::string& error) {
    zds::WorkloadResponse response;
    response.mutable_ack()->set_error(error);
    return response.SerializeAsString();
}

}  // namespace warren::ztunnel
