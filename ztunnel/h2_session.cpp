// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_session.h"

#include "ztunnel/h2_impl.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace warren::ztunnel {

namespace {

constexpr size_t kMostHeaderBytes = 15 * 1024;  // of one request or response of ours: fits one frame of any peer, whatever it contains
constexpr size_t kMostAcks = 200;               // answers to PING and SETTINGS that wait for a peer which does not read
constexpr int64_t kMostWindow = 0x7fffffff;     // RFC 9113 6.9.1
constexpr uint32_t kMinFrame = 16'384, kMaxFrame = 16'777'215;  // RFC 9113 6.5.2
constexpr uint32_t kDefaultWindow = 65'535;

H2Impl& self(void* user) { return *static_cast<H2Impl*>(user); }
std::string_view view(const uint8_t* at, size_t n) { return {reinterpret_cast<const char*>(at), n}; }

// One set of callbacks and of options per role serves every session; nghttp2 copies them.
const nghttp2_session_callbacks* callbacks() {
    static const nghttp2_session_callbacks* const all = [] {
        nghttp2_session_callbacks* c = nullptr;
        if (nghttp2_session_callbacks_new(&c) != 0) return c;
        nghttp2_session_callbacks_set_on_begin_headers_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, void* u) { return self(u).on_begin_headers(*f); });
        nghttp2_session_callbacks_set_on_header_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, const uint8_t* name, size_t name_len, const uint8_t* value, size_t value_len,
                  uint8_t, void* u) { return self(u).on_header(*f, view(name, name_len), view(value, value_len), true); });
        nghttp2_session_callbacks_set_on_invalid_header_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, const uint8_t* name, size_t name_len, const uint8_t* value, size_t value_len,
                  uint8_t, void* u) { return self(u).on_header(*f, view(name, name_len), view(value, value_len), false); });
        nghttp2_session_callbacks_set_on_frame_recv_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, void* u) { return self(u).on_frame(*f); });
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
            c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t n, void* u) { return self(u).on_chunk(id, data, n); });
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, int why, void* u) { return self(u).on_invalid_frame(*f, why); });
        nghttp2_session_callbacks_set_on_stream_close_callback(
            c, [](nghttp2_session*, int32_t id, uint32_t code, void* u) { return self(u).on_stream_close(id, code); });
        nghttp2_session_callbacks_set_data_source_read_length_callback(
            c, [](nghttp2_session*, uint8_t, int32_t, int32_t, int32_t, uint32_t frame, void*) -> ssize_t {
                return static_cast<ssize_t>(std::min<size_t>(frame, H2Session::kMostPayload));
            });
        nghttp2_session_callbacks_set_send_data_callback(c, [](nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t n,
                                                               nghttp2_data_source*, void* u) { return self(u).on_data({head, 9}, n); });
        nghttp2_session_callbacks_set_on_frame_send_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, void* u) { return self(u).on_sent(*f); });
        nghttp2_session_callbacks_set_on_frame_not_send_callback(
            c, [](nghttp2_session*, const nghttp2_frame* f, int why, void* u) { return self(u).on_not_sent(*f, why); });
        return c;
    }();
    return all;
}

const nghttp2_option* options() {
    static const nghttp2_option* const all = [] {
        nghttp2_option* o = nullptr;
        if (nghttp2_option_new(&o) != 0) return o;
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_peer_max_concurrent_streams(o, 100);  // until its SETTINGS arrive (contract 4.2)
        nghttp2_option_set_max_reserved_remote_streams(o, 0);
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_send_header_block_length(o, 2 * kMostHeaderBytes);
        // The library's limits per second know nothing of how much useful traffic there is. h2_floods.h does.
        nghttp2_option_set_stream_reset_rate_limit(o, uint64_t{1} << 40, uint64_t{1} << 20);
        nghttp2_option_set_max_outbound_ack(o, kMostAcks);
        nghttp2_option_set_max_settings(o, H2Floods::kMaxSettingsEntries);
        // Counted anew for every part of a frame head that arrives by itself, nine at most.
        nghttp2_option_set_max_continuations(o, 9 * H2Floods::kMaxContinuations);
        return o;
    }();
    return all;
}

nghttp2_nv field(std::string_view name, std::string_view value) {
    // Different on every stream: of no use in the peer's table, and it would push out what is.
    const bool unique = name == "forwarded" || name == "traceparent";
    auto bytes = [](std::string_view s) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(s.data())); };  // only read
    return {bytes(name), bytes(value), name.size(), value.size(),
            static_cast<uint8_t>(unique ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)};
}

bool sendable(const Header& header) {
    const nghttp2_nv f = field(header.first, header.second);
    return nghttp2_check_header_name(f.name, f.namelen) != 0 && header.first[0] != ':' &&
           nghttp2_check_header_value_rfc9113(f.value, f.valuelen) != 0;
}

nghttp2_data_provider payload() {
    nghttp2_data_provider p{};
    p.read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t most, uint32_t* flags, nghttp2_data_source*, void* u) {
        return self(u).on_read(id, most, *flags);
    };
    return p;
}

base::Result<void> check(const H2Settings& s) {
    auto bad = [](const char* name, uint64_t value, const char* fix) {
        return base::invalid(std::string("HTTP/2 ") + name + " " + std::to_string(value) + ": " + fix);
    };
    if (s.stream_window == 0 || s.stream_window > kMostWindow) return bad("stream window", s.stream_window, "use 1 to 2147483647");
    if (s.connection_window < kDefaultWindow || s.connection_window > kMostWindow)
        return bad("connection window", s.connection_window, "use 65535 to 2147483647");
    if (s.max_frame < kMinFrame || s.max_frame > kMaxFrame) return bad("frame size", s.max_frame, "use 16384 to 16777215");
    if (s.max_header_list < 1024) return bad("header list", s.max_header_list, "use 1024 or more");
    if (s.max_concurrent_streams == 0) return bad("concurrent streams", 0, "use 1 or more");
    return {};
}

}  // namespace

base::Result<std::unique_ptr<H2Session>> H2Session::create(H2Role role, const H2Settings& settings, H2Events& events) {
    TRY(check(settings));
    auto session = std::make_unique<H2Impl>(role, settings, events);
    TRY(session->start());
    return std::unique_ptr<H2Session>(std::move(session));
}

H2Impl::H2Impl(H2Role role, const H2Settings& settings, H2Events& events)
    : role_(role), settings_(settings), events_(events), floods_(role == H2Role::Server, settings.max_header_list) {}

H2Impl::~H2Impl() { nghttp2_session_del(session_); }

base::Result<void> H2Impl::start() {
    nghttp2_mem mem{
        .mem_user_data = &memory_,
        .malloc = [](size_t n, void* m) { return static_cast<H2Memory*>(m)->allocate(n); },
        .free = [](void* at, void* m) { static_cast<H2Memory*>(m)->release(at); },
        .calloc = [](size_t count, size_t n, void* m) { return static_cast<H2Memory*>(m)->allocate_zeroed(count, n); },
        .realloc = [](void* at, size_t n, void* m) { return static_cast<H2Memory*>(m)->resize(at, n); },
    };
    auto create = role_ == H2Role::Client ? nghttp2_session_client_new3 : nghttp2_session_server_new3;
    std::vector<nghttp2_settings_entry> entries{
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings_.stream_window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings_.max_frame},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings_.max_header_list},
    };
    if (role_ == H2Role::Client) {
        entries.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
    } else {
        entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings_.max_concurrent_streams});
    }
    int rc = callbacks() == nullptr || options() == nullptr ? NGHTTP2_ERR_NOMEM : create(&session_, callbacks(), this, options(), &mem);
    if (rc == 0) rc = nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
    if (rc == 0) {
        rc = nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(settings_.connection_window));
    }
    if (rc != 0) return base::Error{base::Errc::Exhausted, 0, "", std::string("HTTP/2 session: ") + nghttp2_strerror(rc)};
    return {};
}

H2Impl::Stream* H2Impl::find(int32_t id) {
    auto found = streams_.find(id);
    return found == streams_.end() ? nullptr : &found->second;
}

uint32_t H2Impl::peer_limit() const { return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS); }

// Has nghttp2 decided to end the connection? It does not say so until the GOAWAY leaves, but from then on it takes no other GOAWAY: one
// with a last stream id that can never be right (of our own parity) is answered with 0 instead of an error, and is never queued.
bool H2Impl::terminating() const {
    const int32_t never = role_ == H2Role::Client ? 1 : 2;
    return nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, never, NGHTTP2_NO_ERROR, nullptr, 0) == 0;
}

bool H2Impl::wants_send() const {
    if (aborted_) return false;
    return !unsent_.empty() || !closing_.empty() || !again_.empty() || nghttp2_session_want_write(session_) != 0;
}

bool H2Impl::finished() const {
    if (aborted_) return true;
    return !wants_send() && nghttp2_session_want_read(session_) == 0;
}

base::Result<int32_t> H2Impl::connect(std::string_view authority, std::span<const Header> headers, H2Stream& stream) {
    if (role_ != H2Role::Client) return base::Error{base::Errc::Internal, 0, "", "a server does not open streams"};
    if (aborted_ || failed_ || cut_ || draining_ || peer_goaway_)
        return base::Error{base::Errc::Unavailable, 0, "", "connection is closing"};
    if (nghttp2_session_get_next_stream_id(session_) > INT32_MAX) return base::Error{base::Errc::Exhausted, 0, "", "no stream ids left"};
    if (nghttp2_session_check_request_allowed(session_) == 0) return base::Error{base::Errc::Unavailable, 0, "", "connection is closing"};
    if (streams_.size() >= peer_limit())
        return base::Error{base::Errc::Exhausted, 0, "", "the peer allows " + std::to_string(peer_limit()) + " concurrent streams"};
    const nghttp2_nv target = field(":authority", authority);
    if (authority.empty() || nghttp2_check_authority(target.value, target.valuelen) == 0)
        return base::invalid("authority \"" + std::string(authority) + "\": not a host and port");
    std::vector<nghttp2_nv> fields{field(":method", "CONNECT"), target};
    size_t bytes = authority.size();
    for (const Header& header : headers) {
        if (!sendable(header)) return base::invalid("header \"" + std::string(header.first) + "\": not valid in HTTP/2");
        bytes += header.first.size() + header.second.size();
        fields.push_back(field(header.first, header.second));
    }
    if (bytes > kMostHeaderBytes)
        return base::invalid("headers of " + std::to_string(bytes) + " bytes: use at most " + std::to_string(kMostHeaderBytes));
    const nghttp2_data_provider provider = payload();
    const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
    if (id < 0) return base::Error{base::Errc::Exhausted, 0, "", std::string("HTTP/2 request: ") + nghttp2_strerror(id)};
    streams_[id].owner = &stream;
    ++counters_.streams_opened;
    return id;
}

void H2Impl::accept(int32_t id, std::span<const Header> headers) {
    if (Stream* stream = find(id); stream != nullptr) respond(id, *stream, 200, headers);
}

void H2Impl::refuse(int32_t id, int status) {
    Stream* stream = find(id);
    if (stream == nullptr || stream->responded) return;
    stream->refused = true;
    ++counters_.refused;
    respond(id, *stream, status, {});
}

void H2Impl::respond(int32_t id, Stream& stream, int status, std::span<const Header> headers) {
    if (role_ != H2Role::Server || stream.responded || stream.local_reset) return;
    stream.responded = true;
    std::array<char, 12> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), status).ptr;
    std::vector<nghttp2_nv> fields{field(":status", {text.data(), end})};
    size_t bytes = 0;
    for (const Header& header : headers) {
        bytes += header.first.size() + header.second.size();
        if (sendable(header) && bytes <= kMostHeaderBytes)
            fields.push_back(field(header.first, header.second));  // informational, all of them
    }
    const nghttp2_data_provider provider = payload();
    if (nghttp2_submit_response(session_, id, fields.data(), fields.size(), stream.refused ? nullptr : &provider) != 0)
        reset(id, NGHTTP2_INTERNAL_ERROR);
}

void H2Impl::resume(int32_t id) {
    Stream* stream = aborted_ ? nullptr : find(id);
    if (stream == nullptr || stream->deaf()) return;
    if (stream->reading) stream->resumed = true;
    nghttp2_session_resume_data(session_, id);  // not deferred: it will be asked anyhow
}

void H2Impl::consume(int32_t id, size_t n) {
    if (!aborted_ && n > 0) nghttp2_session_consume_stream(session_, id, n);
}

void H2Impl::consume_connection(size_t n) {
    if (!aborted_ && n > 0) nghttp2_session_consume_connection(session_, n);
}

void H2Impl::reset(int32_t id, uint32_t code) {
    Stream* stream = aborted_ ? nullptr : find(id);
    if (stream == nullptr || stream->local_reset) return;
    stream->local_reset = true;
    stream->reset_code = code;
    closing_.push_back(id);
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code);
}

void H2Impl::goaway(bool graceful, uint32_t code) {
    if (aborted_ || cut_ || (graceful && draining_)) return;
    draining_ = true;
    if (!graceful) {
        cut_ = true;
        for (auto& [id, stream] : streams_) {
            if (std::exchange(stream.local_reset, true)) continue;
            stream.reset_code = code;
            closing_.push_back(id);
        }
        nghttp2_session_terminate_session(session_, code);
        return;
    }
    if (role_ == H2Role::Client) {
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
        return;
    }
    nghttp2_submit_shutdown_notice(session_);
    const std::array<uint8_t, 8> opaque{'d', 'r', 'a', 'i', 'n'};
    drain_pinged_ = nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, opaque.data()) == 0;
}

void H2Impl::ping() {
    if (aborted_ || pinged_) return;
    ++pings_;
    std::array<uint8_t, 8> opaque{'p'};
    std::memcpy(opaque.data() + 1, &pings_, opaque.size() - 1);
    pinged_ = nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, opaque.data()) == 0;
}

void H2Impl::abort() {
    if (std::exchange(aborted_, true)) return;
    auto streams = std::move(streams_);
    streams_.clear();
    closing_.clear();
    again_.clear();
    while (!streams.empty()) close(streams.extract(streams.begin()), NGHTTP2_CANCEL, true);
}

void H2Impl::close(std::unordered_map<int32_t, Stream>::node_type node, uint32_t code, bool local) {
    const Stream& stream = node.mapped();
    const bool clean = stream.ended && !stream.local_reset && !stream.peer_reset && code == NGHTTP2_NO_ERROR;
    const H2Reset reset{stream.local_reset ? stream.reset_code : code, local || stream.local_reset};
    if (!clean) ++counters_.streams_reset;
    if (stream.owner != nullptr) stream.owner->on_closed(clean ? nullptr : &reset);
}

}  // namespace warren::ztunnel
