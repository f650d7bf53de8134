// SPDX-License-Identifier: Apache-2.0
// The half of H2Impl that writes frames.
#include "ztunnel/h2_impl.h"

#include <cassert>

namespace warren::ztunnel {

base::Result<bool> H2Impl::send(SealedOutput& output) {
    if (aborted_) return false;
    if (inside_) return true;  // a callback wants bytes out now; whoever is further up sends them
    Inside inside(*this);
    output_ = &output;
    full_ = false;
    base::Result<bool> more = false;
    for (;;) {
        close_reset_streams();
        if (aborted_) break;
        if (!unsent_.empty()) {
            if (!output.append(unsent_)) {
                more = true;
                break;
            }
            unsent_ = {};
        }
        const uint8_t* data = nullptr;
        const ssize_t n = nghttp2_session_mem_send(session_, &data);
        if (aborted_) break;
        if (n < 0 || read_) {
            more = fail({base::Errc::Internal, 0, "", std::string("HTTP/2 send: ") + nghttp2_strerror(static_cast<int>(n))},
                        NGHTTP2_INTERNAL_ERROR);
            break;
        }
        if (n > 0) {
            unsent_ = {data, static_cast<size_t>(n)};
        } else if (full_) {
            more = true;
            break;
        } else if (closing_.empty() && !next_round()) {
            break;
        }
    }
    output_ = nullptr;
    read_.reset();
    return more;
}

void H2Impl::close_reset_streams() {
    while (!closing_.empty()) {
        const int32_t id = closing_.back();
        closing_.pop_back();
        if (auto node = streams_.extract(id); !node.empty()) close(std::move(node), NGHTTP2_NO_ERROR, true);
    }
}

// Streams take turns, a DATA frame each. Left alone, nghttp2 does as the peer wishes: a stream that depends on another waits until that
// one has nothing to send (RFC 7540 5.3). Who has had its turn is deferred, and resumed here once everybody else is served.
bool H2Impl::next_round() {
    if (again_.empty()) return false;
    ++round_;
    for (const int32_t id : again_) {
        Stream* stream = find(id);
        if (stream == nullptr) continue;
        stream->again = false;
        nghttp2_session_resume_data(session_, id);
    }
    again_.clear();
    return true;
}

// nghttp2 asks for the payload of one DATA frame, and then at once, with nothing in between, for that frame to be written (on_data). The
// bytes go into space reserved in the output; the frame's head is put in front when its length is known.
ssize_t H2Impl::on_read(int32_t id, size_t most, uint32_t& flags) {
    Stream* stream = find(id);
    if (aborted_ || output_ == nullptr) return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream == nullptr || stream->deaf()) return NGHTTP2_ERR_DEFERRED;  // its reset is queued
    if (stream->round == round_ && streams_.size() > 1) {
        if (!stream->again) again_.push_back(id);
        stream->again = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    Gaps gaps;
    if (!output_->reserve(kFrameHead, most, gaps) || gaps.bytes == 0) {
        full_ = true;
        return NGHTTP2_ERR_PAUSE;
    }
    const base::Io io = read_from(id, {gaps.iov.data(), static_cast<size_t>(gaps.count)});
    if (aborted_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    stream = find(id);
    switch (io.state) {
        case base::Io::State::WouldBlock: return NGHTTP2_ERR_DEFERRED;
        case base::Io::State::Failed: return fail_read(id);
        case base::Io::State::Eof: flags |= NGHTTP2_DATA_FLAG_EOF; break;
        case base::Io::State::Ready:
            assert(io.n > 0 && io.n <= gaps.bytes);
            if (io.n == 0 || io.n > gaps.bytes) return fail_read(id);
            break;
    }
    const size_t n = io.state == base::Io::State::Ready ? io.n : 0;
    if (stream != nullptr) stream->round = round_;
    flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    read_ = n;
    return static_cast<ssize_t>(n);
}

base::Io H2Impl::read_from(int32_t id, std::span<const iovec> gaps) {
    base::Io io;
    for (int tries = 0; tries < 2; ++tries) {
        Stream* stream = find(id);
        if (stream == nullptr || stream->deaf()) return {0, base::Io::State::WouldBlock, 0};
        stream->reading = true;
        stream->resumed = false;
        io = stream->owner->read_payload(gaps);
        stream = find(id);
        if (stream == nullptr) return io;
        stream->reading = false;
        if (io.state != base::Io::State::WouldBlock || !stream->resumed) return io;
    }
    return io;
}

ssize_t H2Impl::fail_read(int32_t id) {
    reset(id, NGHTTP2_CONNECT_ERROR);
    return NGHTTP2_ERR_DEFERRED;
}

int H2Impl::on_data(std::span<const uint8_t> head, size_t n) {
    if (aborted_ || output_ == nullptr || read_ != n) return NGHTTP2_ERR_CALLBACK_FAILURE;
    read_.reset();
    output_->commit(head, n);
    if (n > 0) floods_.data_sent(n);
    return 0;
}

int H2Impl::on_sent(const nghttp2_frame& frame) {
    const int32_t id = frame.hd.stream_id;
    Stream* stream = find(id);
    if (stream == nullptr) return 0;
    switch (frame.hd.type) {
        case NGHTTP2_HEADERS:
            if (role_ != H2Role::Server) break;
            stream->answered = true;
            floods_.stream_answered();
            // The answer is complete; a peer that goes on sending would keep the stream for ever (RFC 9113 8.1).
            if (stream->refused && nghttp2_session_get_stream_remote_close(session_, id) == 0)
                nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
            break;
        case NGHTTP2_RST_STREAM:  // of nghttp2's own, for credit that was overdrawn, for example
            if (!stream->local_reset && !stream->refused && !stream->blamed) floods_.stream_wasted();
            break;
        default: break;
    }
    return 0;
}

int H2Impl::on_not_sent(const nghttp2_frame& frame, int why) {
    if (frame.hd.type != NGHTTP2_HEADERS) return 0;
    Stream* stream = find(frame.hd.stream_id);
    if (stream == nullptr || stream->local_reset || why == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED) return 0;
    if (why == NGHTTP2_ERR_STREAM_CLOSED || why == NGHTTP2_ERR_STREAM_CLOSING || why == NGHTTP2_ERR_SESSION_CLOSING) return 0;
    reset(frame.hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

}  // namespace warren::ztunnel
