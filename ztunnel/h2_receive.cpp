// SPDX-License-Identifier: Apache-2.0
// The half of H2Impl that turns received bytes into calls of the owners.
#include "ztunnel/h2_impl.h"

#include <charconv>
#include <cstring>
#include <functional>

namespace warren::ztunnel {

namespace {

constexpr int kEnd = NGHTTP2_ERR_CALLBACK_FAILURE;  // stop, the connection is over
constexpr size_t kFieldOverhead = 32;               // RFC 9113 6.5.2
constexpr size_t kBombFactor = 4;                   // a header list this many times too long ends the connection, not only its stream

bool has(const nghttp2_frame& frame, uint8_t flag) { return (frame.hd.flags & flag) != 0; }

}  // namespace

void H2Impl::HeaderBlock::forget() {
    text = {};
    fields = {};
    method = {};
    authority = {};
}

base::Result<void> H2Impl::receive(std::span<uint8_t> plaintext) {
    if (inside_) return base::Error{base::Errc::Internal, 0, "", "receive() called from a callback"};
    if (failed_) return *failed_;
    if (aborted_ || cut_) return {};
    const size_t fit = floods_.inspect(plaintext);
    ssize_t rc = 0;
    {
        Inside inside(*this);
        input_ = plaintext;
        rc = nghttp2_session_mem_recv(session_, plaintext.data(), fit);
        input_ = {};
    }
    if (aborted_ || cut_) return {};
    if (floods_.abuse() != H2Abuse::None) return flooded();
    switch (rc) {
        case NGHTTP2_ERR_FLOODED: floods_.blame(H2Abuse::Ping); return flooded();
        case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: floods_.blame(H2Abuse::Continuation); return flooded();
        case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
            return fail({base::Errc::Protocol, 0, "", "the peer does not speak HTTP/2"}, NGHTTP2_PROTOCOL_ERROR);
        default: break;
    }
    if (rc < 0) {
        return fail({base::Errc::Internal, 0, "", std::string("HTTP/2 receive: ") + nghttp2_strerror(static_cast<int>(rc))},
                    NGHTTP2_INTERNAL_ERROR);
    }
    if (terminating()) {
        return fail({base::Errc::Protocol, 0, "", std::string("HTTP/2: ") + nghttp2_strerror(broken_ != 0 ? broken_ : NGHTTP2_ERR_PROTO)},
                    NGHTTP2_PROTOCOL_ERROR);
    }
    return {};
}

base::Error H2Impl::flooded() {
    ++counters_.floods;
    return fail({base::Errc::Protocol, 0, "", std::string("HTTP/2 flood of ") + to_string(floods_.abuse())}, NGHTTP2_ENHANCE_YOUR_CALM);
}

// The first reason counts, and so does the first GOAWAY: nghttp2 may have queued its own.
base::Error H2Impl::fail(base::Error error, uint32_t code) {
    nghttp2_session_terminate_session(session_, code);
    failed_ = error;
    return error;
}

int H2Impl::on_begin_headers(const nghttp2_frame& frame) {
    if (aborted_) return kEnd;
    block_ = std::make_unique<HeaderBlock>();
    const int32_t id = frame.hd.stream_id;
    if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) {
        const Stream* stream = find(id);
        block_->keep = role_ == H2Role::Client && stream != nullptr && !stream->answered && !stream->deaf();
        return 0;
    }
    if (final_goaway_) {  // its number of the last stream is on the way already
        block_->doomed = true;
        ++counters_.refused;
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    streams_[id] = {};
    ++counters_.streams_opened;
    return 0;
}

int H2Impl::on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value, bool valid) {
    if (aborted_) return kEnd;
    if (!block_) return 0;
    HeaderBlock& block = *block_;
    block.size += name.size() + value.size() + kFieldOverhead;
    if (block.size > kBombFactor * settings_.max_header_list) {
        floods_.header_bomb();
        return kEnd;
    }
    if (block.size > settings_.max_header_list && !block.doomed) doom(frame.hd.stream_id);
    if (block.doomed || !block.keep || !valid) return 0;
    if (name == ":method") {
        block.method = value;
    } else if (name == ":authority") {
        block.authority = value;
    } else if (name == ":status") {
        (void)std::from_chars(value.data(), value.data() + value.size(), block.status);  // three digits, nghttp2 has checked
    } else if (name.empty() || name[0] != ':') {
        block.fields.push_back(
            {static_cast<uint32_t>(block.text.size()), static_cast<uint32_t>(name.size()), static_cast<uint32_t>(value.size())});
        block.text.append(name).append(value);
    }
    return 0;
}

// The header list of this stream is too long. There is no status for that (contract 4.5), and nobody has seen the stream yet.
void H2Impl::doom(int32_t id) {
    block_->doomed = true;
    block_->forget();
    floods_.stream_wasted();
    if (find(id) != nullptr) {
        reset(id, NGHTTP2_ENHANCE_YOUR_CALM);
    } else {
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
    }
}

int H2Impl::on_frame(const nghttp2_frame& frame) {
    if (aborted_) return kEnd;
    const int32_t id = frame.hd.stream_id;
    switch (frame.hd.type) {
        case NGHTTP2_HEADERS:
            if (block_ == nullptr || block_->doomed) break;
            if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
                deliver_request(id, has(frame, NGHTTP2_FLAG_END_STREAM));
            } else if (block_->keep) {
                deliver_response(id, has(frame, NGHTTP2_FLAG_END_STREAM));
            } else if (has(frame, NGHTTP2_FLAG_END_STREAM)) {  // trailers
                end_of_stream(id);
            }
            block_.reset();
            break;
        case NGHTTP2_DATA:
            if (has(frame, NGHTTP2_FLAG_END_STREAM)) end_of_stream(id);
            break;
        case NGHTTP2_RST_STREAM:
            if (Stream* stream = find(id); stream != nullptr) {
                stream->peer_reset = true;
                if (role_ == H2Role::Server && !stream->answered) floods_.stream_wasted();
            }
            break;
        case NGHTTP2_SETTINGS:
            if (!has(frame, NGHTTP2_FLAG_ACK)) events_.on_peer_settings(peer_limit());
            break;
        case NGHTTP2_PING:
            if (has(frame, NGHTTP2_FLAG_ACK)) on_ping(frame);
            break;
        case NGHTTP2_GOAWAY:
            peer_goaway_ = true;
            events_.on_goaway(frame.goaway.last_stream_id, frame.goaway.error_code);
            break;
        default: break;
    }
    if (floods_.abuse() != H2Abuse::None) return kEnd;
    return aborted_ ? kEnd : 0;
}

void H2Impl::deliver_request(int32_t id, bool end) {
    const std::unique_ptr<HeaderBlock> block = std::move(block_);
    std::vector<Header> headers;
    headers.reserve(block->fields.size());
    const std::string_view text = block->text;
    for (const auto& f : block->fields)
        headers.emplace_back(text.substr(f.name_at, f.name_bytes), text.substr(f.name_at + f.name_bytes, f.value_bytes));
    H2Stream* owner = events_.on_request(id, {block->method, block->authority, headers});
    Stream* stream = find(id);
    if (stream == nullptr) return;
    stream->owner = owner;
    if (owner == nullptr && !stream->refused) reset(id, NGHTTP2_INTERNAL_ERROR);  // nobody took it and nobody answered
    if (end) end_of_stream(id);
}

void H2Impl::deliver_response(int32_t id, bool end) {
    const std::unique_ptr<HeaderBlock> block = std::move(block_);
    if (block->status < 200) return;  // 1xx; nghttp2 allows no END_STREAM with it
    Stream* stream = find(id);
    if (stream == nullptr) return;
    stream->answered = true;
    floods_.stream_answered();
    std::vector<Header> headers;
    headers.reserve(block->fields.size());
    const std::string_view text = block->text;
    for (const auto& f : block->fields)
        headers.emplace_back(text.substr(f.name_at, f.name_bytes), text.substr(f.name_at + f.name_bytes, f.value_bytes));
    if (!stream->deaf()) stream->owner->on_response({block->status, headers});
    if (end) end_of_stream(id);
}

void H2Impl::end_of_stream(int32_t id) {
    Stream* stream = find(id);
    if (stream == nullptr || stream->ended) return;
    stream->ended = true;
    if (!stream->deaf()) stream->owner->on_end();
}

void H2Impl::on_ping(const nghttp2_frame& frame) {
    if (frame.ping.opaque_data[0] == 'd' && drain_pinged_) {
        // Everything the peer sent before it knew of the notice is here: this is the last stream.
        drain_pinged_ = false;
        final_goaway_ = true;
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
    } else if (frame.ping.opaque_data[0] == 'p' && pinged_ && std::memcmp(frame.ping.opaque_data + 1, &pings_, 7) == 0) {
        pinged_ = false;
        events_.on_pong();
    }
}

int H2Impl::on_chunk(int32_t id, const uint8_t* data, size_t n) {
    if (aborted_) return kEnd;
    Stream* stream = find(id);
    if (stream == nullptr || stream->deaf()) {
        nghttp2_session_consume_connection(session_, n);
        return 0;
    }
    // nghttp2 hands DATA on where it found it; owners rely on that to keep slices of the chunk alive.
    const std::less_equal<const uint8_t*> before;
    if (!before(input_.data(), data) || !before(data + n, input_.data() + input_.size())) return kEnd;
    stream->owner->on_data(input_.subspan(static_cast<size_t>(data - input_.data()), n));
    return aborted_ ? kEnd : 0;
}

// nghttp2 refuses a frame: of a stream, which it resets, or of the connection, which it ends.
int H2Impl::on_invalid_frame(const nghttp2_frame& frame, int why) {
    broken_ = why;
    if (frame.hd.stream_id == 0) return 0;
    if (why == NGHTTP2_ERR_REFUSED_STREAM) ++counters_.refused;
    if (Stream* stream = find(frame.hd.stream_id); stream != nullptr) stream->blamed = true;
    floods_.stream_wasted();
    return floods_.abuse() != H2Abuse::None ? kEnd : 0;
}

int H2Impl::on_stream_close(int32_t id, uint32_t code) {
    auto node = aborted_ ? decltype(streams_)::node_type{} : streams_.extract(id);
    if (node.empty()) return aborted_ ? kEnd : 0;
    // After the peer's GOAWAY nghttp2 ends with REFUSED_STREAM what the peer will not look at.
    const bool by_peer = node.mapped().peer_reset || (role_ == H2Role::Client && code == NGHTTP2_REFUSED_STREAM);
    close(std::move(node), code, !by_peer);
    return aborted_ ? kEnd : 0;
}

}  // namespace warren::ztunnel
