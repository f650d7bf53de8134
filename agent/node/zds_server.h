// SPDX-License-Identifier: Apache-2.0
// ZdsServer: hands the node's pods to the tunnel, Warren's or a stock one (data-plane contract 8.1 to 8.3; Kubernetes contract 1.7). The
// agent listens on a SOCK_SEQPACKET Unix socket, the tunnel connects; one request is outstanding at a time, the namespace's descriptor
// goes with each Add. Several tunnels may be connected while one succeeds another: Adds go to the newest, Dels to all.
//
// The socket is taken over by rename: of two agents that overlap the later one owns the path, and only its owner removes it at the end.
//
// Threads: the loop's. Waits: 5 s for a hello, a write and an answer each; a tunnel that lets them pass is cut and comes back.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/netns.h"
#include "base/result.h"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace warren::node {

// What the tunnel is told of a pod.
struct TunnelPod {
    std::string uid;
    std::string name, ns, service_account;
    std::shared_ptr<const base::Netns> netns;
};

// The other end, as the kernel names it.
struct TunnelPeer {
    uint64_t id = 0;  // of the connection, never used twice
    pid_t pid = 0;
    uid_t uid = 0;
};

// Calls come on the loop's thread and may call the server, but not destroy it.
class TunnelEvents {
  public:
    virtual ~TunnelEvents() = default;
    // After its hello, before it hears of any pod: where the agent gets hold of its cgroup. An error cuts it off, with the reason logged.
    virtual base::Result<void> tunnel_connected(const TunnelPeer& peer) = 0;
    // It has answered for every pod there was; refused ones included.
    virtual void tunnel_synced(const TunnelPeer& peer) = 0;
    virtual void tunnel_gone(const TunnelPeer& peer) = 0;
    // Once for each Add sent. An error: the tunnel could not take the pod; it keeps trying by itself (8.3).
    virtual void pod_taken(const std::string& uid, const base::Result<void>& outcome) = 0;
};

struct TunnelStatus {
    TunnelPeer peer;
    base::MonoTime since;
    bool synced = false;
    size_t pods = 0;                             // it answered for without an error
    size_t waiting = 0;                          // messages for it
    std::map<std::string, std::string> refused;  // uid -> its error
};

struct ZdsStats {
    uint64_t sessions = 0;
    uint64_t refused_peers = 0;  // neither root nor our own user, or too many at once
    uint64_t protocol_errors = 0;
    uint64_t timeouts = 0;
    uint64_t refused_pods = 0;
};

struct ZdsOptions {
    std::string path;
    std::chrono::milliseconds patience = std::chrono::seconds(5);
    size_t max_tunnels = 8;
    // The kernel's maps are new since then (process_start.h): a tunnel that is older listens where no program saw it begin to. Each such
    // process is first told that there are no pods, once, so that it listens anew. One whose age is not to be seen counts as older.
    std::optional<uint64_t> anew_since = {};
};

class ZdsServer {
  public:
    // The directory must exist and be ours to write. loop and events outlive the server.
    static base::Result<std::unique_ptr<ZdsServer>> start(base::Loop& loop, ZdsOptions options, TunnelEvents& events);
    virtual ~ZdsServer() = default;

    // Adding a known uid again with another namespace replaces it.
    virtual void add(TunnelPod pod) = 0;
    virtual void remove(const std::string& uid) = 0;
    // Every pod of the node has been added. Until then no tunnel is told that this was all: what it serves and is not named it would drop.
    virtual void complete() = 0;
    // Cuts a tunnel: it connects again and is told everything anew.
    virtual void cut(uint64_t id) = 0;

    [[nodiscard]] virtual std::vector<TunnelStatus> tunnels() const = 0;  // newest first
    [[nodiscard]] virtual ZdsStats stats() const = 0;
};

}  // namespace warren::node
