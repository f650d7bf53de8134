// SPDX-License-Identifier: Apache-2.0
// Relay: what a node agent does with what its control plane sends (architecture: only the agent holds the whole mesh). A Handler of the
// upstream Client that keeps every resource as the bytes it came in, for the Server that the node's tunnel asks, and passes each update on
// to the agent's own mesh. It does not read resources, so what the reference adds to them tomorrow still reaches the tunnel.
//
// Nothing is published before every type's first full state has arrived: a tunnel that reconnects to an agent that has just begun must
// keep what it has. What the agent's own mesh rejects is kept from the tunnel, too: both stay with the version before.
//
// apply() and the others are called on the client's thread; stats to any. The server and the next handler outlive it.
#pragma once

#include "agent/xds/client.h"
#include "agent/xds/mesh_names.h"
#include "agent/xds/resource_set.h"
#include "agent/xds/server.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

struct RelayOptions {
    std::vector<std::string> types = {std::string(kAddressType), std::string(kAuthorizationType)};  // to be complete before publication
    // Called for each accepted resource. Empty: no other names.
    std::function<OtherNames(std::string_view type_url, const Resource& resource)> names = {};
};

class Relay final : public Handler {
  public:
    Relay(RelayOptions options, Server& server, Handler* next = nullptr);

    std::vector<Rejection> apply(const Update& update) override;
    void synced(std::string_view type_url) override;
    void connected() override;
    void disconnected(Termination reason, std::string_view detail) override;

    [[nodiscard]] bool publishing() const { return publishing_; }
    [[nodiscard]] uint64_t resources() const { return resources_; }
    [[nodiscard]] uint64_t bytes() const { return bytes_; }

  private:
    void keep(ResourceSet& set, const Update& update, std::vector<Rejection>& rejections);
    void publish();

    const RelayOptions options_;
    Server& server_;
    Handler* const next_;
    Snapshot sets_;                         // of options_.types
    std::vector<std::string> outstanding_;  // types whose first full state has not arrived
    std::atomic<bool> publishing_{false};
    std::atomic<uint64_t> resources_{0}, bytes_{0};
};

}  // namespace warren::xds
