// SPDX-License-Identifier: Apache-2.0
#include "agent/node/zds_server.h"

#include "agent/node/process_start.h"
#include "agent/node/unix_acceptor.h"
#include "agent/node/zds_connection.h"
#include "base/log.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <utility>

namespace warren::node {
namespace {

const base::log::Area kZds("zds");

class Server final : public ZdsServer, public ZdsOwner {
  public:
    Server(base::Loop& loop, ZdsOptions options, TunnelEvents& events, UnixListener listener)
        : loop_(loop),
          options_(std::move(options)),
          events_(events),
          acceptor_(loop, std::move(listener), [this](UnixPeer peer) { take(std::move(peer)); }) {}
    ~Server() override {
        closing_ = true;
        while (!connections_.empty()) connections_.back()->end();
    }
    base::Result<void> start() { return acceptor_.start(); }

    void add(TunnelPod pod) override {
        const std::string uid = pod.uid;
        const auto found = pods_.find(uid);
        const bool replaced = found != pods_.end();
        if (replaced && *found->second.netns == *pod.netns) {
            // Told already; once more only where it was refused.
            if (!connections_.empty() && connections_.back()->refuses(uid)) connections_.back()->changed(uid, true);
            return;
        }
        pods_[uid] = std::move(pod);
        tell(uid, replaced);
    }
    void remove(const std::string& uid) override {
        if (pods_.erase(uid) != 0) tell(uid, false);
    }
    void complete() override {
        complete_ = true;
        for (size_t i = connections_.size(); i-- > 0;) {
            if (i < connections_.size()) connections_[i]->update();
        }
    }
    void cut(uint64_t id) override {
        for (ZdsConnection* c : connections_) {
            if (c->peer().id == id) return c->end();
        }
    }
    std::vector<TunnelStatus> tunnels() const override {
        std::vector<TunnelStatus> all;
        for (const ZdsConnection* c : connections_) all.push_back(c->status());
        std::reverse(all.begin(), all.end());
        return all;
    }
    ZdsStats stats() const override { return counts_; }

    base::Loop& loop() override { return loop_; }
    TunnelEvents& events() override { return events_; }
    ZdsStats& counts() override { return counts_; }
    const std::map<std::string, TunnelPod>& pods() override { return pods_; }
    std::chrono::milliseconds patience() override { return options_.patience; }
    bool newest(const ZdsConnection& connection) override { return !connections_.empty() && connections_.back() == &connection; }
    bool is_complete() override { return complete_; }
    bool begins_anew(const ZdsConnection& connection) override {
        if (!options_.anew_since) return false;
        const pid_t pid = connection.peer().pid;
        const bool older = process_start("/proc/" + std::to_string(pid)).value_or(0) < *options_.anew_since;
        return older && seen_.insert(pid).second;
    }
    void gone(ZdsConnection& connection) override {
        std::erase(connections_, &connection);
        if (closing_) return;
        events_.tunnel_gone(connection.peer());
        // The one before it takes over: it lacks what was added since.
        if (!connections_.empty()) connections_.back()->update();
    }

  private:
    void take(UnixPeer peer) {
        if (!peer.trusted() || connections_.size() >= options_.max_tunnels) {
            ++counts_.refused_peers;
            WARREN_LOG(kZds, base::log::Level::Warn, "connection to the pod socket refused",
                       {"why", connections_.size() >= options_.max_tunnels ? "too many tunnels" : "not root and not our user"},
                       {"pid", static_cast<int64_t>(peer.pid)}, {"uid", static_cast<uint64_t>(peer.uid)});
            return;
        }
        ZdsConnection* started = ZdsConnection::start(*this, std::move(peer.fd), TunnelPeer{++last_id_, peer.pid, peer.uid});
        if (started == nullptr) return;
        ++counts_.sessions;
        connections_.push_back(started);
    }
    void tell(const std::string& uid, bool replaced) {
        // A connection may end while it is told, so the list is not walked by iterator.
        for (size_t i = connections_.size(); i-- > 0;) {
            if (i < connections_.size()) connections_[i]->changed(uid, replaced);
        }
    }

    base::Loop& loop_;
    const ZdsOptions options_;
    TunnelEvents& events_;
    UnixAcceptor acceptor_;
    std::map<std::string, TunnelPod> pods_;
    std::vector<ZdsConnection*> connections_;  // oldest first
    std::set<pid_t> seen_;                     // processes that began anew
    ZdsStats counts_;
    uint64_t last_id_ = 0;
    bool complete_ = false;
    bool closing_ = false;
};

}  // namespace

base::Result<std::unique_ptr<ZdsServer>> ZdsServer::start(base::Loop& loop, ZdsOptions options, TunnelEvents& events) {
    UnixListener listener = TRY(UnixListener::take(options.path, SOCK_SEQPACKET));
    auto server = std::make_unique<Server>(loop, std::move(options), events, std::move(listener));
    TRY(server->start());
    return std::unique_ptr<ZdsServer>(std::move(server));
}

}  // namespace warren::node
