// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/relay.h"

#include "base/ip.h"
#include "base/loop.h"
#include "tools/bench/load_protocol.h"
#include "tools/bench/load_socket.h"
#include "tools/bench/relay_end.h"

#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr int kTurns = 8;  // chunks of one direction before the other has its turn

// What goes one way.
struct Way {
    std::vector<char> chunk = std::vector<char>(kLoadChunkBytes);
    size_t from = 0, to = 0;
    bool eof = false;
};

// A stream: two ends and what is on its way between them. Owns itself; the loop destroys it after the batch.
class Stream final : public base::Buried {
  public:
    Stream(base::Loop& loop, RelayEnd in, RelayEnd out) : loop_(loop), in_(std::move(in)), out_(std::move(out)) {}
    static void begin(std::unique_ptr<Stream> stream) {
        Stream* s = stream.get();
        if (!s->loop_.add(s->in_.fd(), s->in_events_, kEvents) || !s->loop_.add(s->out_.fd(), s->out_events_, kEvents)) return;
        (void)stream.release();  // from now on it ends itself in on_event()
    }

  private:
    struct Events final : base::IoHandler {
        explicit Events(Stream& s) : stream(s) {}
        void on_io(uint32_t) override { stream.on_event(); }
        Stream& stream;
    };

    // Edge-triggered: both ways until nothing moves.
    void on_event() {
        bool moved = true;
        while (moved) {
            moved = false;
            if (!pump(in_, out_, there_, moved) || !pump(out_, in_, back_, moved)) return end();
        }
        if (in_.finished() && out_.finished()) end();
    }

    // false: the stream is dead.
    static bool pump(RelayEnd& from, RelayEnd& to, Way& way, bool& moved) {
        for (int turn = 0; turn < kTurns; ++turn) {
            if (way.from == way.to && !way.eof) {
                const base::Io io = from.read(way.chunk.data(), way.chunk.size());
                if (io.state == base::Io::State::WouldBlock) return true;
                if (io.state == base::Io::State::Failed) return false;
                way.eof = io.state == base::Io::State::Eof;
                way.from = 0;
                way.to = io.n;
                moved = true;
            }
            while (way.from < way.to) {
                const base::Io io = to.write(way.chunk.data() + way.from, way.to - way.from);
                if (io.state == base::Io::State::WouldBlock) return true;
                if (io.state != base::Io::State::Ready) return false;
                way.from += io.n;
                moved = true;
            }
            if (way.eof) {
                if (!to.finished()) to.finish();
                return true;
            }
        }
        return true;
    }

    void end() {
        loop_.remove(in_events_);
        loop_.remove(out_events_);
        loop_.bury(std::unique_ptr<Stream>(this));
    }

    base::Loop& loop_;
    RelayEnd in_, out_;
    Way there_, back_;
    Events in_events_{*this}, out_events_{*this};
};

class Listener final : public base::IoHandler {
  public:
    Listener(base::Loop& loop, base::Fd fd, base::SockAddr to, ssl_ctx_st* in, ssl_ctx_st* out)
        : loop_(loop), fd_(std::move(fd)), to_(to), in_(in), out_(out) {}
    base::Result<void> begin() { return loop_.add(fd_.get(), *this, EPOLLIN); }
    void on_io(uint32_t) override {
        base::Fd accepted(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!accepted) return;
        without_delay(accepted.get());
        auto connecting = begin_connect(to_);
        if (!connecting) return;
        auto in = RelayEnd::make(std::move(accepted), in_, RelayEnd::Role::Server);
        auto out = RelayEnd::make(std::move(*connecting), out_, RelayEnd::Role::Client);
        if (in && out) Stream::begin(std::make_unique<Stream>(loop_, std::move(*in), std::move(*out)));
    }

  private:
    base::Loop& loop_;
    base::Fd fd_;
    base::SockAddr to_;
    ssl_ctx_st *in_, *out_;
};

}  // namespace

base::Result<std::string> run_relay(const RelayOptions& options) {
    (void)std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    raise_descriptor_limit();
    const base::SockAddr at = TRY(base::SockAddr::parse(options.listen)), to = TRY(base::SockAddr::parse(options.to));
    RelayTlsContext server, client;
    if (options.tls_in) server = TRY(relay_server_context());
    if (options.tls_out) client = TRY(relay_client_context());
    const std::unique_ptr<base::Loop> loop = TRY(base::Loop::create());
    Listener listener(*loop, TRY(listen_on(at)), to, server.get(), client.get());
    TRY(listener.begin());
    std::puts("listening");
    (void)std::fflush(stdout);
    TRY(loop->run());
    return std::string();
}

}  // namespace warren::bench
