// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_feed_server.h"

#include "agent/node/unix_acceptor.h"
#include "base/log.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

namespace warren::node {
namespace {

const base::log::Area kFlows("flows");

constexpr size_t kMaxPacket = 64 * 1024;
constexpr int kPacketsPerTurn = 64;
constexpr size_t kMaxFeeds = 8;

class Feed;

class Server final : public FlowFeedServer {
  public:
    Server(base::Loop& loop, FlowFeedEvents& events, UnixListener listener)
        : loop_(loop),
          events_(events),
          acceptor_(loop, std::move(listener), [this](UnixPeer peer) { take(std::move(peer)); }),
          packet_(kMaxPacket) {}
    ~Server() override;
    base::Result<void> start() { return acceptor_.start(); }
    FlowFeedStats stats() const override {
        return {counts_.sessions,  counts_.refused_peers, counts_.packets,  counts_.flows,
                counts_.malformed, counts_.lost,          counts_.connected};
    }

  private:
    friend class Feed;
    void take(UnixPeer peer);

    base::Loop& loop_;
    FlowFeedEvents& events_;
    UnixAcceptor acceptor_;
    std::vector<char> packet_;
    std::vector<Feed*> feeds_;
    struct {
        std::atomic<uint64_t> sessions = 0, refused_peers = 0, packets = 0, flows = 0, malformed = 0, lost = 0;
        std::atomic<size_t> connected = 0;
    } counts_;
    uint64_t last_id_ = 0;
};

class Feed final : public base::IoHandler, public base::Buried {
  public:
    Feed(Server& server, base::Fd fd, uint64_t id) : server_(server), fd_(std::move(fd)), id_(id) {}
    base::Result<void> watch() { return server_.loop_.add(fd_.get(), *this, EPOLLIN); }
    void end() {
        if (std::exchange(gone_, true)) return;
        server_.loop_.remove(*this);
        fd_.reset();
        std::erase(server_.feeds_, this);
        --server_.counts_.connected;
        server_.events_.feed_ended(id_);
        server_.loop_.bury(std::unique_ptr<base::Buried>(this));
    }

  private:
    void on_io(uint32_t) override {
        for (int i = 0; i < kPacketsPerTurn && !gone_; ++i) {
            const ssize_t n = ::recv(fd_.get(), server_.packet_.data(), server_.packet_.size(), MSG_DONTWAIT | MSG_TRUNC);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
            if (n <= 0) return end();
            take(static_cast<size_t>(n));
        }
    }
    void take(size_t size) {
        ++server_.counts_.packets;
        flow::v1::FlowBatch batch;
        if (size > server_.packet_.size() || !batch.ParseFromArray(server_.packet_.data(), static_cast<int>(size))) {
            ++server_.counts_.malformed;
            return;
        }
        // lost goes on over a tunnel's reconnects: what it said before this agent listened is not this agent's loss.
        const uint64_t before = sequence_ == 0 ? batch.lost() : lost_;
        if (batch.lost() > before) {
            server_.counts_.lost += batch.lost() - before;
            server_.events_.feed_lost(batch.lost() - before);
        }
        lost_ = std::max(lost_, batch.lost());
        sequence_ = batch.sequence();
        for (const flow::v1::Flow& flow : batch.flows()) {
            ++server_.counts_.flows;
            server_.events_.feed_flow(id_, flow);
        }
    }

    Server& server_;
    base::Fd fd_;
    const uint64_t id_;
    uint64_t sequence_ = 0, lost_ = 0;
    bool gone_ = false;
};

Server::~Server() {
    while (!feeds_.empty()) feeds_.back()->end();
}

void Server::take(UnixPeer peer) {
    if (!peer.trusted() || feeds_.size() >= kMaxFeeds) {
        ++counts_.refused_peers;
        WARREN_LOG(kFlows, base::log::Level::Warn, "connection to the flow feed refused", {"pid", static_cast<int64_t>(peer.pid)},
                   {"uid", static_cast<uint64_t>(peer.uid)});
        return;
    }
    auto feed = std::make_unique<Feed>(*this, std::move(peer.fd), ++last_id_);
    if (!feed->watch()) return;
    ++counts_.sessions;
    ++counts_.connected;
    feeds_.push_back(feed.release());
}

}  // namespace

base::Result<std::unique_ptr<FlowFeedServer>> FlowFeedServer::start(base::Loop& loop, const std::string& path, FlowFeedEvents& events) {
    auto server = std::make_unique<Server>(loop, events, TRY(UnixListener::take(path, SOCK_SEQPACKET)));
    TRY(server->start());
    return std::unique_ptr<FlowFeedServer>(std::move(server));
}

}  // namespace warren::node
