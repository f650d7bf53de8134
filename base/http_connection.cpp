// SPDX-License-Identifier: Apache-2.0
#include "base/http_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

namespace warren::base {
namespace {

constexpr auto kLinger = std::chrono::seconds(1);
constexpr size_t kReadsPerTurn = 16;  // of 4 KiB: more than a request may have

HttpResponse refusal(int status) {
    HttpResponse r;
    r.status = status;
    r.body = status == 431   ? "the request head is larger than 8 KiB\n"
             : status == 413 ? "the request body is larger than 64 KiB\n"
             : status == 501 ? "transfer encodings are not taken\n"
                             : "not an HTTP/1.1 request\n";
    return r;
}

// Nothing may escape into the loop; a dump that finds no memory is an answer too.
HttpResponse call(const HttpServer::Handler& handler, const HttpRequest& request) {
    try {
        return handler(request);
    } catch (const std::exception& e) {
        return {500, "text/plain; charset=utf-8", std::string("internal error: ") + e.what() + "\n", {}, {}};
    }
}

}  // namespace

HttpConnection::HttpConnection(HttpShared& shared, Fd fd)
    : shared_(shared), fd_(std::move(fd)), timer_(Timer::of<&HttpConnection::on_timer>(*this)) {}

void HttpConnection::start(HttpShared& shared, Fd fd) {
    auto* self = new HttpConnection(shared, std::move(fd));
    shared.connections.push_back(*self);
    ++shared.open;
    if (!shared.loop->add(self->fd_.get(), *self, EPOLLIN)) return self->end();
    shared.loop->arm(self->timer_, shared.options.head_timeout);
}

void HttpConnection::end() {
    if (std::exchange(stage_, Stage::Gone) == Stage::Gone) return;
    shared_.loop->remove(*this);
    shared_.loop->disarm(timer_);
    fd_.reset();
    LinkList<HttpConnection>::remove(*this);
    --shared_.open;
    shared_.loop->bury(std::unique_ptr<Buried>(this));
}

void HttpConnection::on_timer() {
    shared_.timeouts.fetch_add(1, std::memory_order_relaxed);
    end();
}

void HttpConnection::stay(std::chrono::milliseconds patience) {
    shared_.loop->arm(timer_, patience);
    LinkList<HttpConnection>::remove(*this);
    shared_.connections.push_back(*this);
}

void HttpConnection::on_io(uint32_t) {
    if (stage_ == Stage::Gone) return;
    if (stage_ != Stage::Writing && !read_some()) return end();
    step();
}

// False: nothing more will come.
bool HttpConnection::read_some() {
    for (size_t i = 0; i < kReadsPerTurn && in_.size() < kMaxHttpHead + kMaxHttpBody; ++i) {
        char bytes[4096];
        const ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        if (n == 0) return false;
        if (stage_ != Stage::Lingering) in_.append(bytes, static_cast<size_t>(n));
        if (static_cast<size_t>(n) < sizeof bytes) break;
    }
    // The head's time runs from its first byte; a client that trickles does not get more.
    if (stage_ == Stage::Reading && !in_.empty() && !std::exchange(head_timed_, true)) stay(shared_.options.head_timeout);
    return true;
}

// As far as it goes without waiting; each turn answers one request.
void HttpConnection::step() {
    for (;;) {
        if (stage_ == Stage::Reading && !take_request()) return;
        if (stage_ == Stage::Skipping) {
            const size_t n = std::min(skip_, in_.size());
            in_.erase(0, n);
            skip_ -= n;
            if (skip_ > 0) return;
            answer();
        }
        if (stage_ != Stage::Writing || !write_some()) return;
        after_write();
    }
}

// False: more bytes are needed.
bool HttpConnection::take_request() {
    HttpHead head = parse_http_head(in_);
    if (head.state == HttpHead::State::NeedMore) return false;
    if (head.state == HttpHead::State::Refused) {
        shared_.refused_requests.fetch_add(1, std::memory_order_relaxed);
        keep_ = false;
        queue(refusal(head.status), false);
        return true;
    }
    in_.erase(0, head.consumed);
    request_ = std::move(head.request);
    skip_ = head.body;
    keep_ = request_.keep_alive;
    stage_ = Stage::Skipping;
    if (head.expects_100 && in_.size() < skip_) {
        // Few bytes into an empty socket buffer: what does not fit is a client that does not read.
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        if (::send(fd_.get(), kContinue.data(), kContinue.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) keep_ = false;
    }
    return true;
}

void HttpConnection::answer() {
    shared_.requests.fetch_add(1, std::memory_order_relaxed);
    queue(call(shared_.handler, request_), request_.method == "HEAD");
}

void HttpConnection::queue(const HttpResponse& response, bool head_only) {
    out_ = to_wire(response, head_only, keep_);
    written_ = 0;
    stage_ = Stage::Writing;
    stay(shared_.options.write_timeout);
}

// True: all of it is out.
bool HttpConnection::write_some() {
    while (written_ < out_.size()) {
        const ssize_t n = ::send(fd_.get(), out_.data() + written_, out_.size() - written_, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) return end(), false;
        if (n < 0) {
            if (!std::exchange(want_out_, true) && !shared_.loop->modify(*this, EPOLLOUT)) end();
            return false;
        }
        written_ += static_cast<size_t>(n);
        stay(shared_.options.write_timeout);
    }
    return true;
}

void HttpConnection::after_write() {
    std::string().swap(out_);  // a dump may be a hundred megabytes
    if (std::exchange(want_out_, false) && !shared_.loop->modify(*this, EPOLLIN)) return end();
    if (!keep_) {
        stage_ = Stage::Lingering;
        in_.clear();
        ::shutdown(fd_.get(), SHUT_WR);
        return stay(kLinger);
    }
    stage_ = Stage::Reading;
    head_timed_ = !in_.empty();
    stay(head_timed_ ? shared_.options.head_timeout : shared_.options.idle_timeout);
}

}  // namespace warren::base
