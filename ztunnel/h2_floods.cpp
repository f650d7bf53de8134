// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/h2_floods.h"

#include <algorithm>

namespace warren::ztunnel {

namespace {

// RFC 9113 section 6, RFC 9218 7.1
enum FrameType : uint8_t {
    kData = 0,
    kHeaders = 1,
    kPriority = 2,
    kRstStream = 3,
    kSettings = 4,
    kPushPromise = 5,
    kPing = 6,
    kGoaway = 7,
    kWindowUpdate = 8,
    kContinuation = 9,
    kPriorityUpdate = 0x10,
};
constexpr uint8_t kAck = 1, kEndStream = 1, kPadded = 8;

constexpr uint32_t kMostPadding = 256;         // a padded frame of up to this size may carry nothing
constexpr uint32_t kBlockBytesPerNoise = 128;  // decoding a byte of header block costs about a hundred times what carrying it does

}  // namespace

const char* to_string(H2Abuse abuse) noexcept {
    switch (abuse) {
        case H2Abuse::None: return "none";
        case H2Abuse::Continuation: return "CONTINUATION frames";
        case H2Abuse::HeaderBlock: return "header bytes";
        case H2Abuse::Headers: return "HEADERS frames";
        case H2Abuse::Settings: return "SETTINGS frames";
        case H2Abuse::Ping: return "PING frames";
        case H2Abuse::WindowUpdate: return "WINDOW_UPDATE frames";
        case H2Abuse::Priority: return "PRIORITY frames";
        case H2Abuse::EmptyData: return "empty DATA frames";
        case H2Abuse::Goaway: return "GOAWAY frames";
        case H2Abuse::Unknown: return "frames of unknown type";
        case H2Abuse::Reset: return "RST_STREAM frames";
        case H2Abuse::Streams: return "streams reset before their answer";
    }
    return "";
}

size_t H2Floods::inspect(std::span<const uint8_t> plaintext) noexcept {
    size_t at = 0;
    while (at < plaintext.size() && abuse_ == H2Abuse::None) {
        if (skip_ > 0) {
            const size_t n = std::min(skip_, plaintext.size() - at);
            skip_ -= n;
            at += n;
            continue;
        }
        const size_t n = std::min<size_t>(head_.size() - have_, plaintext.size() - at);
        std::copy_n(plaintext.begin() + static_cast<ptrdiff_t>(at), n, head_.begin() + have_);
        have_ = static_cast<uint8_t>(have_ + n);
        if (have_ == head_.size()) {
            have_ = 0;
            const uint32_t length = static_cast<uint32_t>(head_[0]) << 16 | static_cast<uint32_t>(head_[1]) << 8 | head_[2];
            on_frame(length, head_[3], head_[4]);
            if (abuse_ != H2Abuse::None) return at;
            skip_ = length;
        }
        at += n;
    }
    return at;
}

void H2Floods::on_frame(uint32_t length, uint8_t type, uint8_t flags) noexcept {
    switch (type) {
        case kData:
            if (length == 0) {
                if ((flags & kEndStream) == 0) spend(1, H2Abuse::EmptyData);
            } else if ((flags & kPadded) != 0 && length <= kMostPadding) {
                spend(1, H2Abuse::EmptyData);
            } else {
                earn(4 + static_cast<int64_t>(length / kBytesPerNoise));
            }
            return;
        case kHeaders:
        case kPushPromise:
            block_ = 0;
            continuations_ = 0;
            spend(1, H2Abuse::Headers);
            return header_part(length);
        case kContinuation:
            if (++continuations_ > kMaxContinuations) blame(H2Abuse::Continuation);
            spend(length == 0 ? 20 : 1, H2Abuse::Continuation);
            return header_part(length);
        case kSettings:
            if (length > 6 * kMaxSettingsEntries) blame(H2Abuse::Settings);
            // Each may visit every stream (INITIAL_WINDOW_SIZE) and must be answered.
            if ((flags & kAck) == 0) spend(20, H2Abuse::Settings);
            return;
        case kPing: return spend(1, H2Abuse::Ping);
        case kWindowUpdate: return spend(1, H2Abuse::WindowUpdate);
        case kPriority:
        case kPriorityUpdate: return spend(1, H2Abuse::Priority);
        case kRstStream: return spend(1, H2Abuse::Reset);
        case kGoaway: return spend(10 + length / kBlockBytesPerNoise, H2Abuse::Goaway);
        default: return spend(1 + length / kBytesPerNoise, H2Abuse::Unknown);
    }
}

void H2Floods::header_part(uint32_t length) noexcept {
    block_ += length;
    if (block_ > max_block_) return blame(H2Abuse::HeaderBlock);
    spend(length / kBlockBytesPerNoise, H2Abuse::HeaderBlock);
}

void H2Floods::spend(int64_t cost, H2Abuse abuse) noexcept {
    noise_ -= cost;
    if (noise_ < 0) blame(abuse);
}

void H2Floods::stream_answered() noexcept {
    earn(16);  // its HEADERS, a reset, and credit
    resets_ = std::min(resets_ + 1, kResetsMost);
}

void H2Floods::stream_wasted() noexcept {
    if (--resets_ < 0) blame(H2Abuse::Streams);
}

void H2Floods::tick() noexcept {
    if (noise_ < kNoiseStart) noise_ = std::min(noise_ + kNoisePerTick, kNoiseStart);
    resets_ = std::min(resets_ + kResetsPerTick, kResetsMost);
}

}  // namespace warren::ztunnel
