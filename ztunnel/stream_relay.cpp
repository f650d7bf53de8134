// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/stream_relay.h"

#include "ztunnel/last_bytes.h"
#include "ztunnel/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace warren::ztunnel {

namespace {
constexpr uint32_t kNoError = 0, kConnectError = 0xa;  // RFC 9113 7
}  // namespace

base::Result<void> StreamRelay::start_relay(std::chrono::milliseconds half_closed_timeout) {
    half_closed_timeout_ = half_closed_timeout;
    relaying_ = true;
    if (registered()) {
        TRY(loop_.modify(*this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));  // reports anew what came while it was connecting
    } else {
        TRY(loop_.add(fd_.get(), *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
    }
    if (queue_) flush_to_app();
    return {};
}

void StreamRelay::on_io(uint32_t events) {
    if (ended_) return;
    if (!relaying_) return on_dial_event(events);
    if ((events & EPOLLERR) != 0) return app_broke(connect_result(fd_.get()));
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) saw_hangup_ = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0 && !app_eof_) {
        readable_ = true;
        if (tunnel_ != nullptr) {
            tunnel_->h2().resume(stream_id_);
            tunnel_->wake();
        }
    }
    if ((events & EPOLLOUT) != 0) {
        blocked_ = false;
        if (queue_) flush_to_app();
    }
}

base::Io StreamRelay::read_payload(std::span<const iovec> gaps) {
    using State = base::Io::State;
    if (app_eof_) return {0, State::Eof, 0};
    if (!readable_) return {0, State::WouldBlock, 0};
    size_t room = 0;
    for (const iovec& gap : gaps) room += gap.iov_len;
    for (;;) {
        const ssize_t n = ::readv(fd_.get(), gaps.data(), static_cast<int>(gaps.size()));
        if (n > 0) {
            from_app_ += static_cast<size_t>(n);
            on_progress();
            if (static_cast<size_t>(n) < room && !saw_hangup_) readable_ = false;
            return {static_cast<size_t>(n), State::Ready, 0};
        }
        if (n == 0 && app_error_ == 0) {
            app_eof_ = true;
            readable_ = false;
            if (half_closed_timeout_.count() > 0) loop_.arm(idle_, half_closed_timeout_);
            return {0, State::Eof, 0};
        }
        int os = n < 0 ? errno : 0;
        if (os == EINTR) continue;
        readable_ = false;
        if (os == EAGAIN) return {0, State::WouldBlock, 0};
        if (app_error_ != 0) os = app_error_;
        // The session resets the stream with CONNECT_ERROR and on_closed ends the relay.
        error_ = base::os_error_of(os, "application").message();
        by_ = RelayEnd::By::Near;
        return {0, State::Failed, os};
    }
}

void StreamRelay::on_data(std::span<uint8_t> data) {
    if (app_error_ != 0) return tunnel_->h2().consume_connection(data.size());  // there is nobody to have it
    queue().push(tunnel_->current_chunk(), data);
    budget_.used += data.size();
    if (budget_.used <= budget_.limit) {
        tunnel_->h2().consume_connection(data.size());
    } else {
        owed_ += data.size();
        ++budget_.reached;
    }
    tunnel_->deliver_later(*this);
}

// n bytes wait no longer: their credit goes back.
void StreamRelay::left_queue(size_t n) {
    budget_.used -= n;
    const size_t pay = std::min(owed_, n);
    owed_ -= pay;
    if (pay > 0 && tunnel_ != nullptr) tunnel_->h2().consume_connection(pay);
}

void StreamRelay::deliver() {
    if (ended_) return;
    // Nothing waits any more where a reset in the same chunk has had it flushed already.
    if (relaying_ && !blocked_ && queue_) flush_to_app();
    if (queue_) queue_->settle();
}

void StreamRelay::flush_to_app() {
    const base::Io io = queue_->write_to(fd_.get());
    to_app_ += io.n;
    if (io.n > 0) left_queue(io.n);
    if (io.n > 0) on_progress();
    if (io.n > 0 && tunnel_ != nullptr) {
        tunnel_->h2().consume(stream_id_, io.n);
        tunnel_->wake();
    }
    if (io.state == base::Io::State::Failed) return app_broke(io.os);
    if (io.state == base::Io::State::WouldBlock) {
        blocked_ = true;
        return;
    }
    queue_.reset();
    if (stream_end_ && !shut_) {
        shut_ = true;
        if (!app_eof_) ::shutdown(fd_.get(), SHUT_WR);  // else the close that follows says the same
        if (early_end_) return begin_last_bytes();
        if (half_closed_timeout_.count() > 0 && !last_bytes_) loop_.arm(idle_, half_closed_timeout_);
        maybe_done();
    }
}

void StreamRelay::on_end() {
    stream_end_ = true;
    if (app_error_ != 0) return;
    queue();  // flush_to_app sees an empty queue, and passes the end on
    if (tunnel_ != nullptr) tunnel_->deliver_later(*this);
}

void StreamRelay::on_closed(const H2Reset* reset) {
    if (owed_ > 0 && tunnel_ != nullptr) tunnel_->h2().consume_connection(std::exchange(owed_, 0));
    const bool revoked = tunnel_ != nullptr && tunnel_->revoked();
    tunnel_ = nullptr;
    if (ended_) return;
    if (!error_.empty()) return end({false, error_, false, by_});
    if (app_error_ != 0) return fail_app(app_error_);
    if (reset == nullptr) {
        // Both sides ended; bytes may still wait for the application.
        if (!stream_end_) stream_end_ = true, queue();
        if (relaying_ && !blocked_ && queue_) flush_to_app();
        return maybe_done();
    }
    if (stream_end_ && reset->code == kNoError && !reset->local) {
        // The peer is done and wants no more: an orderly end (RFC 9113 8.1), once the application has what came before it.
        return begin_early_end();
    }
    reset_on_close(fd_.get());
    if (revoked) return end({false, "the peer's certificate is revoked or not trusted any more", true});
    error_ = reset->local ? "tunnel closed" : "stream reset by the peer, code " + std::to_string(reset->code);
    if (!reset->local) by_ = RelayEnd::By::Far;
    begin_last_bytes();
}

void StreamRelay::begin_early_end() {
    if (!relaying_) return end({true, {}});
    early_end_ = true;
    if (shut_) return begin_last_bytes();
    if (!blocked_) flush_to_app();
    if (!ended_ && !last_bytes_ && half_closed_timeout_.count() > 0) loop_.arm(idle_, half_closed_timeout_);
}

// A reset throws away what the kernel has not brought to the application yet, so the end waits for it. An early end may be one: the kernel
// makes it of a close where bytes of the application were left unread.
void StreamRelay::begin_last_bytes() {
    if (!relaying_) return end({false, error_, false, by_});
    last_bytes_ = true;
    progress_mark_ = UINT64_MAX;
    if (queue_ && !blocked_) flush_to_app();
    if (!ended_) wait_for_last_bytes();
}

void StreamRelay::wait_for_last_bytes() {
    const size_t missing = (queue_ ? queue_->bytes() : 0) + unacknowledged(fd_.get());
    const auto next = next_look(missing, progress_mark_, waited_ms_);
    if (!next) return end({error_.empty(), error_, false, by_});
    loop_.arm(idle_, std::chrono::milliseconds(*next));
}

// What it had sent before is in the socket still, and goes to the peer first. What waits for it goes nowhere.
void StreamRelay::app_broke(int os) {
    if (ended_ || app_error_ != 0) return;
    if (app_eof_ || last_bytes_ || tunnel_ == nullptr || unread(fd_.get()) == 0) return fail_app(os);
    app_error_ = os != 0 ? os : ECONNRESET;
    if (queue_) left_queue(queue_->bytes());
    queue_.reset();
    readable_ = saw_hangup_ = true;
    half_closed_timeout_ = kLastBytesWait;  // nobody is there any more whose other half may take its time
    loop_.arm(idle_, half_closed_timeout_);
    tunnel_->h2().resume(stream_id_);
    tunnel_->wake();
}

void StreamRelay::fail_app(int os) {
    if (ended_) return;
    if (last_bytes_ && !error_.empty()) return end({false, error_, false, by_});
    error_ = base::os_error_of(os != 0 ? os : ECONNRESET, "application").message();
    by_ = RelayEnd::By::Near;
    if (tunnel_ == nullptr) return end({false, error_, false, by_});
    tunnel_->h2().reset(stream_id_, kConnectError);
    tunnel_->wake();
}

void StreamRelay::cut(std::string why) {
    if (ended_) return;
    error_ = std::move(why);
    if (fd_.valid()) reset_on_close(fd_.get());
    if (tunnel_ == nullptr) return end({false, error_, false, by_});
    tunnel_->h2().reset(stream_id_, kConnectError);
    tunnel_->wake();
}

void StreamRelay::maybe_done() {
    if (!app_eof_ || !shut_ || tunnel_ != nullptr || ended_ || last_bytes_) return;
    end({true, {}});
}

// Half-closed and no byte either way for a whole period: nobody will finish this any more.
void StreamRelay::on_idle() {
    if (last_bytes_) return wait_for_last_bytes();
    const uint64_t now = from_app_ + to_app_;
    if (std::exchange(progress_mark_, now) != now) {
        loop_.arm(idle_, half_closed_timeout_);
        return;
    }
    by_ = RelayEnd::By::Idle;
    cut("half-closed without activity");
}

void StreamRelay::end(RelayEnd how) {
    if (ended_) return;
    ended_ = true;
    if (queue_) left_queue(queue_->bytes());
    loop_.disarm(idle_);
    loop_.remove(*this);
    fd_.reset();
    on_relay_end(how);
}

}  // namespace warren::ztunnel
