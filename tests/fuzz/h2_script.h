// SPDX-License-Identifier: Apache-2.0
// What both HTTP/2 fuzz targets do: the first bytes of the input are a script of local actions, one taken whenever a piece of the rest has
// been received. Whatever the session says is read by a checker that knows nothing of it, only the order in which frames may come.
#pragma once

#include "tests/ztunnel/h2_harness.h"

#include <cstdlib>

namespace warren::ztunnel::h2test {

inline void require(bool ok) {
    if (!ok) std::abort();
}

class Script {
  public:
    Script(H2Role role, std::span<const uint8_t> input, H2Settings settings) : end_(role, settings, 3'000), role_(role) {
        const size_t steps = input.empty() ? 0 : std::min<size_t>(input[0] & 63, input.size() - 1);
        if (!input.empty()) input = input.subspan(1);
        actions_ = input.first(steps);
        bytes_ = input.subspan(steps);
        end_.decide = [this](int32_t id, const H2Request& request) { return decide(id, request); };
    }

    void run() {
        if (role_ == H2Role::Client) open();
        send();
        size_t at = 0;
        for (size_t turn = 0; at < bytes_.size() || turn < actions_.size(); ++turn) {
            const uint8_t action = turn < actions_.size() ? actions_[turn] : 0;
            const size_t n = std::min<size_t>(turn < actions_.size() ? 1u + 8u * (action >> 4) : bytes_.size() - at, bytes_.size() - at);
            std::vector<uint8_t> piece(bytes_.begin() + static_cast<ptrdiff_t>(at), bytes_.begin() + static_cast<ptrdiff_t>(at + n));
            at += n;
            act(action & 15);
            const bool good = end_.h2->receive(piece).has_value();
            send();
            if (!good) break;
        }
        end_.h2->abort();
        require(end_.h2->active_streams() == 0);
        require(!end_.output.misused());
        for (auto& [id, stream] : end_.streams) check(*stream, true);
        for (auto& stream : opened_) check(*stream, stream->id != 0);
    }

  private:
    static void check(const TestStream& s, bool was_open) {
        require(s.closes == (was_open ? 1 : 0));
        require(s.after_close == 0);
        require(s.ends <= 1);
        require(s.responses <= 1);
    }

    H2Stream* decide(int32_t id, const H2Request& request) {
        require(!request.method.empty());
        if (request.method != "CONNECT" || id % 8 == 7) {
            end_.h2->refuse(id, 400);
            return nullptr;
        }
        require(!request.authority.empty());
        TestStream* stream = end_.take(id);
        stream->to_send = static_cast<uint64_t>(id) * 700;
        stream->hold = id % 4 == 1;
        return stream;
    }
    void open() {
        opened_.push_back(std::make_unique<TestStream>());
        TestStream& s = *opened_.back();
        s.to_send = 500 * opened_.size();
        const Header fields[] = {{"baggage", "a=b"}, {"traceparent", "x"}};
        end_.connect(s, "10.0.0.1:80", fields);
    }
    TestStream* some() {
        if (role_ == H2Role::Client) return opened_[picks_++ % opened_.size()].get();
        if (end_.streams.empty()) return nullptr;
        return std::next(end_.streams.begin(), static_cast<ptrdiff_t>(picks_++ % end_.streams.size()))->second.get();
    }
    void act(int what) {
        TestStream* s = some();
        H2Session& h2 = *end_.h2;
        if (what == 1) return h2.ping();
        if (what == 2) return h2.goaway(true, 0);
        if (what == 3) return h2.tick();
        if (what == 4 && role_ == H2Role::Client) return open();
        if (what == 15) return h2.goaway(false, 2);
        if (s == nullptr) return;
        switch (what) {
            case 5: return h2.reset(s->id, 8);
            case 6: s->finish = true; return h2.resume(s->id);
            case 7: s->to_send += 5'000; return h2.resume(s->id);
            case 8: s->fail = true; return h2.resume(s->id);
            case 9: return s->h2 != nullptr ? s->release() : void();
            case 10: s->when_data = [&h2, s] { h2.reset(s->id, 2); }; return;
            case 11: return h2.refuse(s->id, 503);
            case 12: s->when_closed = [&h2] { h2.goaway(true, 0); }; return;
            case 13: s->when_response = [this] { open(); }; return;
            default: return;
        }
    }
    // The output has room for 3,000 bytes at a time, and is flushed.
    void send() {
        for (int i = 0; i < 200; ++i) {
            auto more = end_.h2->send(end_.output);
            require(more.has_value());
            const auto bytes = end_.output.take();
            check_frames(bytes);
            if (!*more) return;
        }
    }
    void check_frames(std::span<const uint8_t> bytes) {
        for (const uint8_t b : bytes) {
            if (role_ == H2Role::Client && magic_ < kPreface.size()) {
                require(b == static_cast<uint8_t>(kPreface[magic_++]));
                continue;
            }
            if (skip_ > 0) {
                --skip_;
                continue;
            }
            head_[have_++] = b;
            if (have_ < head_.size()) continue;
            have_ = 0;
            skip_ = static_cast<size_t>(head_[0]) << 16 | static_cast<size_t>(head_[1]) << 8 | head_[2];
            const uint8_t type = head_[3];
            const int32_t id = (head_[5] & 0x7f) << 24 | head_[6] << 16 | head_[7] << 8 | head_[8];
            require(type <= 9 && type != 2 && type != 5);
            require((id == 0) == (type == 4 || type == 6 || type == 7) || type == 8);
            require(!first_ || type == 4);
            first_ = false;
            if (type == 1) require(head_[4] & 4);
            if (type == 0) require(headed_[id] && !ended_[id]);
            if (type == 1) {
                require(!headed_[id]);
                headed_[id] = true;
            }
            if ((type == 0 || type == 1) && (head_[4] & 1) != 0) ended_[id] = true;
            if (type == 3) ended_[id] = true;
        }
    }

    End end_;
    H2Role role_;
    std::span<const uint8_t> actions_, bytes_;
    std::vector<std::unique_ptr<TestStream>> opened_;
    size_t picks_ = 0, magic_ = 0, skip_ = 0, have_ = 0;
    std::array<uint8_t, 9> head_{};
    std::map<int32_t, bool> headed_, ended_;
    bool first_ = true;
};

}  // namespace warren::ztunnel::h2test
