// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/load_server.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tools/bench/load_protocol.h"
#include "tools/bench/load_socket.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <list>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

constexpr size_t kMostHeldBytes = 4 << 20;  // of an echo whose client does not read
constexpr int kTurns = 4;                   // chunks of one connection before the next has its turn

// Shared by a thread's connections: what is read is dealt with before the next read.
struct Scratch {
    std::vector<char> in = std::vector<char>(kLoadChunkBytes), out = std::vector<char>(kLoadChunkBytes, 'g');
};

class Peer final : public base::IoHandler, public base::Buried {
  public:
    Peer(base::Loop& loop, base::Fd fd, Scratch& scratch, std::list<std::unique_ptr<Peer>>& all)
        : loop_(loop), fd_(std::move(fd)), scratch_(scratch), all_(all) {}
    void begin(std::list<std::unique_ptr<Peer>>::iterator self) {
        self_ = self;
        without_delay(fd_.get());
        if (!loop_.add(fd_.get(), *this, EPOLLIN)) end();
    }
    void on_io(uint32_t) override {
        if (!take() || !give()) return end();
        const bool sending = known_ && (kind_ == LoadKind::Give || !held_.empty());
        if (eof_ && held_.empty()) return end();
        const uint32_t wanted = (eof_ || held_.size() > kMostHeldBytes ? 0u : EPOLLIN) | (sending ? EPOLLOUT : 0u);
        if (wanted != events_ && !loop_.modify(*this, wanted)) return end();
        events_ = wanted;
    }

  private:
    // false: the connection is dead.
    bool take() {
        for (int turn = 0; turn < kTurns && !eof_ && held_.size() <= kMostHeldBytes; ++turn) {
            const ssize_t n = ::recv(fd_.get(), scratch_.in.data(), scratch_.in.size(), 0);
            if (n < 0) return errno == EAGAIN;
            if (n == 0) return at_end();
            size_t from = 0;
            if (!known_) kind_ = static_cast<LoadKind>(scratch_.in[0]), known_ = true, from = 1;
            const auto came = static_cast<size_t>(n);
            taken_ += came - from;
            if (kind_ == LoadKind::Echo || kind_ == LoadKind::Once) held_.append(scratch_.in.data() + from, came - from);
            if (kind_ == LoadKind::Once && !held_.empty()) eof_ = true;
            if (came < scratch_.in.size()) return true;
        }
        return true;
    }
    bool at_end() {
        if (kind_ == LoadKind::Give) return false;
        eof_ = true;
        if (kind_ != LoadKind::Take) return true;
        std::array<uint8_t, kTakenBytes> count{};
        base::store_be<uint64_t>(count, taken_);
        held_.append(reinterpret_cast<const char*>(count.data()), count.size());
        return true;
    }
    bool give() {
        while (!held_.empty()) {
            const ssize_t n = ::send(fd_.get(), held_.data(), held_.size(), MSG_NOSIGNAL);
            if (n < 0) return errno == EAGAIN;
            held_.erase(0, static_cast<size_t>(n));
        }
        for (int turn = 0; known_ && kind_ == LoadKind::Give && turn < kTurns; ++turn)
            if (::send(fd_.get(), scratch_.out.data(), scratch_.out.size(), MSG_NOSIGNAL) < 0) return errno == EAGAIN;
        return true;
    }
    void end() {
        loop_.remove(*this);
        fd_.reset();  // now, not after the batch: a client is waiting for it
        std::unique_ptr<Peer> me = std::move(*self_);
        all_.erase(self_);
        loop_.bury(std::move(me));
    }

    base::Loop& loop_;
    base::Fd fd_;
    Scratch& scratch_;
    std::list<std::unique_ptr<Peer>>& all_;
    std::list<std::unique_ptr<Peer>>::iterator self_;
    std::string held_;  // to be sent back
    uint64_t taken_ = 0;
    uint32_t events_ = EPOLLIN;
    LoadKind kind_ = LoadKind::Echo;
    bool known_ = false, eof_ = false;
};

class Acceptor final : public base::IoHandler {
  public:
    Acceptor(base::Loop& loop, int listener, Scratch& scratch, std::list<std::unique_ptr<Peer>>& peers)
        : loop_(loop), listener_(listener), scratch_(scratch), peers_(peers) {}
    // One at a time: whichever thread is free takes the next.
    void on_io(uint32_t) override {
        base::Fd fd(::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) return;
        peers_.push_back(std::make_unique<Peer>(loop_, std::move(fd), scratch_, peers_));
        peers_.back()->begin(std::prev(peers_.end()));
    }

  private:
    base::Loop& loop_;
    int listener_;
    Scratch& scratch_;
    std::list<std::unique_ptr<Peer>>& peers_;
};

base::Result<void> serve_thread(const std::vector<base::Fd>& listeners) {
    const std::unique_ptr<base::Loop> loop = TRY(base::Loop::create());
    Scratch scratch;
    std::list<std::unique_ptr<Peer>> peers;
    std::list<Acceptor> acceptors;
    for (const base::Fd& listener : listeners) {
        acceptors.emplace_back(*loop, listener.get(), scratch, peers);
        TRY(loop->add(listener.get(), acceptors.back(), EPOLLIN | EPOLLEXCLUSIVE));
    }
    return loop->run();
}

}  // namespace

base::Result<std::string> serve_load(const ServeOptions& options) {
    raise_descriptor_limit();
    base::SockAddr at = TRY(base::SockAddr::parse(options.listen));
    std::vector<base::Fd> listeners;
    for (uint32_t i = 0; i < options.ports; ++i, ++at.port) listeners.push_back(TRY(listen_on(at)));
    std::puts("listening");
    (void)std::fflush(stdout);
    std::vector<std::thread> others;
    for (uint32_t i = 1; i < options.threads; ++i) {
        others.emplace_back([&] {
            if (const auto ended = serve_thread(listeners); !ended)
                std::fprintf(stderr, "warren-bench: %s\n", ended.error().message().c_str());
        });
    }
    auto ended = serve_thread(listeners);
    for (std::thread& other : others) other.join();
    TRY(std::move(ended));
    return std::string();
}

}  // namespace warren::bench
