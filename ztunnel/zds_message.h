// SPDX-License-Identifier: Apache-2.0
// ZDS packets (data-plane contract 8.1, 8.2): one protobuf message a packet, a network namespace's descriptor beside each Add. Foreign
// bytes in, a value or an error out; pure but for closing descriptors that do not belong.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace warren::ztunnel {

struct ZdsAdd {
    std::string uid;
    std::string name, ns, service_account;
    base::Fd netns;
};
struct ZdsKeep {
    std::string uid;
};
struct ZdsDel {
    std::string uid;
};
struct ZdsSnapshotSent {};
using ZdsRequest = std::variant<ZdsAdd, ZdsKeep, ZdsDel, ZdsSnapshotSent>;

// fds: what came with the packet. Exactly one goes with an Add and none with anything else; more are an error, and all are closed.
[[nodiscard]] base::Result<ZdsRequest> parse_zds_request(std::span<const uint8_t> packet, std::vector<base::Fd> fds);
[[nodiscard]] std::string zds_hello();
[[nodiscard]] std::string zds_ack(const std::string& error);

}  // namespace warren::ztunnel
