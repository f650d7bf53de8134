// SPDX-License-Identifier: Apache-2.0
// What the HTTP/2 tests and fuzz targets stand on: an output that keeps its bytes in memory with the shape of the real one (gaps of a
// record each, a limit), streams and owners that write down what they hear, and two sessions joined by a wire.
#pragma once

#include "base/result.h"
#include "ztunnel/h2_session.h"
#include "ztunnel/sealed_output.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel::h2test {

// Limits as of the real output: sixteen records of 16 KiB, more only after a flush.
class MemoryOutput final : public SealedOutput {
  public:
    explicit MemoryOutput(size_t limit = 16 * 16384, size_t record = 16384) : limit_(limit), record_(record), scratch_(limit) {}

    bool reserve(size_t head, size_t max, Gaps& gaps) override {
        reserved_ = 0;
        if (limit_ - bytes_.size() <= head) return false;
        size_t room = std::min(max, limit_ - bytes_.size() - head);
        gaps = {};
        for (size_t at = 0; room > 0 && gaps.count < 16;) {
            const size_t n = std::min(room, record_);
            gaps.iov[static_cast<size_t>(gaps.count++)] = {scratch_.data() + at, n};
            at += n;
            room -= n;
            gaps.bytes += n;
        }
        reserved_ = gaps.bytes;
        head_ = head;
        return true;
    }
    void commit(std::span<const uint8_t> head, size_t n) override {
        if (head.size() != head_ || n > reserved_) misused_ = true;
        bytes_.insert(bytes_.end(), head.begin(), head.end());
        bytes_.insert(bytes_.end(), scratch_.begin(), scratch_.begin() + static_cast<ptrdiff_t>(n));
        reserved_ = head_ = 0;
    }
    bool append(std::span<const uint8_t> bytes) override {
        if (bytes.size() > limit_ - std::min(limit_, bytes_.size())) return false;
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return true;
    }
    base::Io flush(int) override { return {}; }
    [[nodiscard]] size_t pending() const override { return bytes_.size(); }

    // At most n bytes have left.
    std::vector<uint8_t> take(size_t n = SIZE_MAX) {
        n = std::min(n, bytes_.size());
        std::vector<uint8_t> out(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(n));
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(n));
        return out;
    }
    [[nodiscard]] bool misused() const { return misused_; }

  private:
    size_t limit_, record_, reserved_ = 0, head_ = 0;
    std::vector<uint8_t> scratch_, bytes_;
    bool misused_ = false;
};

// A byte of a stream's content by its position, different for every seed.
inline uint8_t content(uint64_t seed, uint64_t at) {
    uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15u + seed;
    x ^= x >> 29;
    return static_cast<uint8_t>((x * 0xbf58476d1ce4e5b9u) >> (8 * (at & 7)));
}

// Sends `to_send` bytes of its content, then END_STREAM when `finish`; checks what it receives against the other seed.
class TestStream final : public H2Stream {
  public:
    H2Session* h2 = nullptr;
    int32_t id = 0;
    uint64_t to_send = 0, sent = 0, seed = 1, expect_seed = 2;
    uint64_t received = 0, wrong = 0, credit_held = 0;
    size_t most_per_read = SIZE_MAX;
    bool finish = false;
    bool fail = false;     // read_payload fails
    bool hold = false;     // keeps the stream's credit
    bool in_input = true;  // every slice was inside the receiver's input
    int ends = 0, closes = 0, responses = 0, status = 0, after_close = 0, reads = 0;
    bool clean = false;
    H2Reset reset;
    std::string log;
    std::vector<std::pair<std::string, std::string>> headers;
    const std::vector<uint8_t>* input = nullptr;
    std::function<void()> when_response, when_data, when_end, when_closed, when_read;

    void on_response(const H2Response& response) override {
        note("response " + std::to_string(response.status));
        ++responses;
        status = response.status;
        for (const auto& [name, value] : response.headers) headers.emplace_back(name, value);
        if (when_response) when_response();
    }
    void on_data(std::span<uint8_t> data) override {
        if (closes > 0) ++after_close;
        if (input != nullptr) {
            const std::less_equal<const uint8_t*> before;
            in_input = in_input && before(input->data(), data.data()) && before(data.data() + data.size(), input->data() + input->size());
        }
        for (size_t i = 0; i < data.size(); ++i) wrong += data[i] != content(expect_seed, received + i) ? 1u : 0u;
        received += data.size();
        h2->consume_connection(data.size());
        if (hold) {
            credit_held += data.size();
        } else {
            h2->consume(id, data.size());
        }
        if (when_data) when_data();
    }
    void on_end() override {
        note("end");
        ++ends;
        if (when_end) when_end();
    }
    base::Io read_payload(std::span<const iovec> gaps) override {
        ++reads;
        if (closes > 0) ++after_close;
        if (when_read) when_read();
        if (fail) return {0, base::Io::State::Failed, ECONNRESET};
        size_t n = 0;
        for (const iovec& gap : gaps) {
            auto* out = static_cast<uint8_t*>(gap.iov_base);
            for (size_t i = 0; i < gap.iov_len && sent < to_send && n < most_per_read; ++i, ++n) out[i] = content(seed, sent++);
        }
        if (n > 0) return {n, base::Io::State::Ready, 0};
        return {0, finish ? base::Io::State::Eof : base::Io::State::WouldBlock, 0};
    }
    void on_closed(const H2Reset* why) override {
        note(why == nullptr ? "closed" : "reset " + std::to_string(why->code) + (why->local ? " local" : " peer"));
        ++closes;
        clean = why == nullptr;
        if (why != nullptr) reset = *why;
        if (when_closed) when_closed();
    }
    void release() { h2->consume(id, std::exchange(credit_held, 0)); }

  private:
    void note(const std::string& what) {
        if (closes > 0) ++after_close;
        log += log.empty() ? what : "; " + what;
    }
};

// One end: the session, its output and its owner. A server accepts every CONNECT unless `decide` says otherwise.
class End final : public H2Events {
  public:
    explicit End(H2Role role, H2Settings settings = {}, size_t output_limit = 16 * 16384) : output(output_limit) {
        auto made = H2Session::create(role, settings, *this);
        if (made) h2 = std::move(*made);
    }

    std::unique_ptr<H2Session> h2;
    MemoryOutput output;
    std::map<int32_t, std::unique_ptr<TestStream>> streams;  // of a server
    std::function<void(TestStream&)> prepare;                // before it is accepted
    std::function<H2Stream*(int32_t, const H2Request&)> decide;
    std::string method, authority, log;
    std::vector<std::pair<std::string, std::string>> headers;
    int requests = 0, pongs = 0, settings_seen = 0;
    uint32_t peer_limit = 0;
    base::Result<void> outcome;
    const std::vector<uint8_t>* input = nullptr;

    H2Stream* on_request(int32_t id, const H2Request& request) override {
        ++requests;
        method = request.method;
        authority = request.authority;
        headers.clear();
        for (const auto& [name, value] : request.headers) headers.emplace_back(name, value);
        if (decide) return decide(id, request);
        return take(id);
    }
    TestStream* take(int32_t id) {
        auto stream = std::make_unique<TestStream>();
        stream->h2 = h2.get();
        stream->id = id;
        stream->seed = 2;
        stream->expect_seed = 1;
        if (prepare) prepare(*stream);
        TestStream* raw = stream.get();
        streams[id] = std::move(stream);
        h2->accept(id, {});
        return raw;
    }
    void on_goaway(int32_t last_id, uint32_t code) override {
        log += "goaway " + std::to_string(last_id) + " " + std::to_string(code) + ";";
    }
    void on_pong() override { ++pongs; }
    void on_peer_settings(uint32_t limit) override {
        ++settings_seen;
        peer_limit = limit;
    }

    TestStream* connect(TestStream& stream, std::string_view to = "10.0.0.1:80", std::span<const Header> fields = {}) {
        auto id = h2->connect(to, fields, stream);
        stream.h2 = h2.get();
        if (!id) return nullptr;
        stream.id = *id;
        return &stream;
    }

  private:
};

// Frames that went over the wire, by type.
class FrameLog {
  public:
    explicit FrameLog(size_t skip) : skip_(skip) {}
    void see(std::span<const uint8_t> bytes) {
        for (const uint8_t b : bytes) {
            if (skip_ > 0) {
                --skip_;
                continue;
            }
            head_.push_back(b);
            if (head_.size() < 9) continue;
            const size_t length = static_cast<size_t>(head_[0]) << 16 | static_cast<size_t>(head_[1]) << 8 | head_[2];
            ++count[head_[3]];
            bytes_of[head_[3]] += length;
            longest[head_[3]] = std::max(longest[head_[3]], length);
            if (head_[3] == 0 && length == 0) ++empty_data;
            skip_ = length;
            head_.clear();
        }
    }
    std::map<uint8_t, uint64_t> count, bytes_of;
    std::map<uint8_t, size_t> longest;
    uint64_t empty_data = 0;

  private:
    size_t skip_;
    std::vector<uint8_t> head_;
};

// Moves what one end has to say to the other, at most `step` bytes a time; true when something moved.
inline bool carry(End& from, End& to, FrameLog& log, size_t step = SIZE_MAX) {
    if (!from.h2->wants_send() && from.output.pending() == 0) return false;
    auto sent = from.h2->send(from.output);
    if (!sent && from.outcome) from.outcome = std::move(sent).error();
    const std::vector<uint8_t> all = from.output.take();
    log.see(all);
    for (size_t at = 0; at < all.size();) {
        const size_t n = std::min(step, all.size() - at);
        std::vector<uint8_t> part(all.begin() + static_cast<ptrdiff_t>(at), all.begin() + static_cast<ptrdiff_t>(at + n));
        to.input = &part;
        for (auto& [id, stream] : to.streams) stream->input = &part;
        auto got = to.h2->receive(part);
        if (!got && to.outcome) to.outcome = std::move(got).error();
        for (auto& [id, stream] : to.streams) stream->input = nullptr;
        at += n;
    }
    return !all.empty();
}

struct Wire {
    explicit Wire(H2Settings client_settings = {}, H2Settings server_settings = {}, size_t limit = 16 * 16384)
        : client(H2Role::Client, client_settings, limit), server(H2Role::Server, server_settings, limit) {}
    // Until nothing moves any more; false when that takes too long.
    bool run(size_t step = SIZE_MAX, int most = 200'000) {
        for (int i = 0; i < most; ++i) {
            const bool out = carry(client, server, up, step);
            const bool back = carry(server, client, down, step);
            if (!out && !back) return true;
        }
        return false;
    }
    End client, server;
    FrameLog up{24}, down{0};  // the client's preface is not a frame
};

inline std::vector<uint8_t> frame(uint8_t type, uint8_t flags, uint32_t id, std::vector<uint8_t> payload = {}) {
    const auto n = static_cast<uint32_t>(payload.size());
    std::vector<uint8_t> out;
    for (const uint32_t b : {n >> 16, n >> 8, n, uint32_t{type}, uint32_t{flags}, id >> 24, id >> 16, id >> 8, id})
        out.push_back(static_cast<uint8_t>(b));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}
inline std::vector<uint8_t> number(uint32_t v) {
    return {static_cast<uint8_t>(v >> 24), static_cast<uint8_t>(v >> 16), static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)};
}
// Literal, not indexed, not compressed (RFC 7541 6.2.2).
inline void literal(std::vector<uint8_t>& block, std::string_view name, std::string_view value) {
    block.push_back(0);
    for (const std::string_view s : {name, value}) {
        if (s.size() < 127) {
            block.push_back(static_cast<uint8_t>(s.size()));
        } else {
            block.push_back(127);
            size_t rest = s.size() - 127;
            for (; rest >= 128; rest >>= 7) block.push_back(static_cast<uint8_t>(128 | (rest & 127)));
            block.push_back(static_cast<uint8_t>(rest));
        }
        block.insert(block.end(), s.begin(), s.end());
    }
}
inline std::vector<uint8_t> connect_block(std::string_view authority = "10.0.0.1:80") {
    std::vector<uint8_t> block;
    literal(block, ":method", "CONNECT");
    literal(block, ":authority", authority);
    return block;
}
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// A peer that is a script: one end, and bytes written by hand.
struct Scripted {
    explicit Scripted(H2Role role = H2Role::Server, H2Settings settings = {}, std::vector<uint8_t> says = {}) : end(role, settings) {
        if (role == H2Role::Server) give({kPreface.begin(), kPreface.end()});
        give(frame(4, 0, 0, std::move(says)));  // SETTINGS
        give(frame(4, 1, 0));                   // and the answer to ours, once it is out
    }
    // False once the session has had enough.
    bool give(std::vector<uint8_t> bytes) {
        drain();
        auto got = end.h2->receive(bytes);
        if (!got && end.outcome) end.outcome = std::move(got).error();
        return end.outcome.has_value();
    }
    void drain() {
        for (;;) {
            auto more = end.h2->send(end.output);
            const auto bytes = end.output.take();
            said.see(bytes);
            last = bytes.empty() ? last : bytes;
            if (!more || !*more) return;
        }
    }
    // The code of the GOAWAY that ends it, -1 without one.
    int goaway_code() {
        drain();
        for (size_t at = 0; at + 17 <= last.size();) {
            const size_t n = static_cast<size_t>(last[at]) << 16 | static_cast<size_t>(last[at + 1]) << 8 | last[at + 2];
            if (last[at + 3] == 7) return last[at + 16];
            at += 9 + n;
        }
        return -1;
    }
    End end;
    FrameLog said{0};
    std::vector<uint8_t> last;
};

}  // namespace warren::ztunnel::h2test
