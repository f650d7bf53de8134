// SPDX-License-Identifier: Apache-2.0
// H2Floods: how much useless work a peer may cause on one HTTP/2 connection. It reads the frame heads of everything received, before
// nghttp2 acts on them, and keeps two budgets:
//   noise   frames that cost us something and move nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, CONTINUATION, unknown
//           types, header blocks by size). DATA in either direction and answered streams earn it back, so a busy connection never runs dry.
//   resets  streams the peer opened and reset before our answer had left (CVE-2023-44487), and streams that nghttp2 had to reset for the
//           peer's mistakes. Answered streams earn it back.
// The session has no clock; its owner calls tick() about every ten seconds, which is what lets an idle peer send keep-alive PINGs for ever.
// Part of one H2Session, one worker thread. Plain counting: no allocation, no failure, no nghttp2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace warren::ztunnel {

enum class H2Abuse : uint8_t {
    None,
    Continuation,  // a header block in too many pieces
    HeaderBlock,   // a header block far larger than the list we allow
    Headers,
    Settings,
    Ping,
    WindowUpdate,
    Priority,
    EmptyData,
    Goaway,
    Unknown,  // frame types nobody defined
    Reset,    // RST_STREAM frames
    Streams,  // streams reset unanswered, or broken
};
[[nodiscard]] const char* to_string(H2Abuse abuse) noexcept;

class H2Floods {
  public:
    // 20,000 PINGs of one burst cost a core about 10 ms; a peer that speaks HTTP/2 normally stays above 19,000.
    static constexpr int64_t kNoiseStart = 20'000;
    static constexpr int64_t kNoiseMost = 200'000;  // 16 MiB of credit, returned by the peer in steps of 512 bytes a frame
    static constexpr int64_t kNoisePerTick = 5'000;
    static constexpr int64_t kResetsMost = 1'000;
    static constexpr int64_t kResetsPerTick = 300;
    static constexpr uint32_t kMaxSettingsEntries = 32;
    static constexpr uint32_t kMaxContinuations = 32;  // 64 KiB of headers are 4 of the smallest maximum frame

    // max_header_list: what our SETTINGS allow. A block of twice that, compressed, is not a mistake any more.
    H2Floods(bool expect_preface, uint32_t max_header_list) noexcept
        : skip_(expect_preface ? kPrefaceBytes : 0), max_block_(2 * uint64_t{max_header_list}) {}

    // How many bytes of the plaintext, in order, may be acted on: all of them, or those before the frame that was too much.
    [[nodiscard]] size_t inspect(std::span<const uint8_t> plaintext) noexcept;

    void data_sent(size_t bytes) noexcept { earn(4 + static_cast<int64_t>(bytes / kBytesPerNoise)); }
    void stream_answered() noexcept;
    // Opened and reset before it was answered, or reset by us for a mistake of the peer.
    void stream_wasted() noexcept;
    void header_bomb() noexcept { blame(H2Abuse::HeaderBlock); }
    void blame(H2Abuse abuse) noexcept {
        if (abuse_ == H2Abuse::None) abuse_ = abuse;
    }
    void tick() noexcept;

    // Stays once it is set.
    [[nodiscard]] H2Abuse abuse() const noexcept { return abuse_; }
    [[nodiscard]] int64_t noise_left() const noexcept { return noise_; }
    [[nodiscard]] int64_t resets_left() const noexcept { return resets_; }

  private:
    static constexpr size_t kPrefaceBytes = 24;    // RFC 9113 3.4
    static constexpr size_t kBytesPerNoise = 512;  // the finest step in which peers are known to return credit, halved

    void on_frame(uint32_t length, uint8_t type, uint8_t flags) noexcept;
    void header_part(uint32_t length) noexcept;
    void spend(int64_t cost, H2Abuse abuse) noexcept;
    void earn(int64_t gain) noexcept { noise_ = noise_ + gain < kNoiseMost ? noise_ + gain : kNoiseMost; }

    size_t skip_;         // payload bytes until the next frame head
    uint64_t max_block_;  // bytes of one header block, compressed
    uint64_t block_ = 0;  // bytes of the current one
    int64_t noise_ = kNoiseStart;
    int64_t resets_ = kResetsMost;
    uint32_t continuations_ = 0;
    std::array<uint8_t, 9> head_{};  // a frame head of which only a part has arrived
    uint8_t have_ = 0;
    H2Abuse abuse_ = H2Abuse::None;
};

}  // namespace warren::ztunnel
