// SPDX-License-Identifier: Apache-2.0
// MeshSource: where the agent has the mesh from, a control plane over xDS or a watched local file, and where the node's tunnel has it from:
// the agent is the node's only client of the control plane and serves what it got, byte for byte, over a local Unix socket (or TLS on
// loopback to a stock tunnel). A file takes the same way: it is put into resources first, so that there is one path to test.
//
// start and the destructor belong to main; snapshots are told on the threads of the source; the rest is for any thread.
#pragma once

#include "agent/node/node_join.h"
#include "agent/node/revocation_file.h"
#include "agent/node/settings.h"
#include "agent/xds/client.h"
#include "agent/xds/server.h"
#include "base/file_watch.h"
#include "base/result.h"
#include "policy/snapshot.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace warren::node {

struct MeshSourceStatus {
    std::string kind;                  // "xds" or "file"
    std::string from;                  // address or path
    bool synced = false;               // the whole mesh has been here once
    bool connected = false;            // xds: a stream is open; file: the last reading was good
    std::optional<std::string> error;  // of the last reading of a file
    uint64_t reloads = 0, failures = 0;
    xds::Stats upstream;                          // xds only
    xds::ServerStats local;                       // towards the tunnel
    size_t tunnels = 0;                           // connected to the local server
    std::optional<NodeJoinStatus> join;           // where the node joins with a token
    std::optional<RevocationStatus> revocations;  // where the node keeps them
};

class MeshSource {
  public:
    // Called once for each change, one call at a time; synced says whether the mesh is complete.
    using OnSnapshot = std::function<void(std::shared_ptr<const policy::Snapshot>, bool synced)>;

    // gRPC makes threads: after the last fork(). watcher outlives the source.
    static base::Result<std::unique_ptr<MeshSource>> start(const Settings& settings, base::FileWatcher& watcher, OnSnapshot on_snapshot);
    virtual ~MeshSource() = default;

    [[nodiscard]] virtual std::shared_ptr<const policy::Snapshot> snapshot() const = 0;
    [[nodiscard]] virtual MeshSourceStatus status() const = 0;
};

}  // namespace warren::node
