// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_records.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

namespace warren::ztunnel {

namespace {

constexpr uint8_t kAlertType = 21, kHandshakeType = 22, kDataType = 23;
// Kept free at the end of a chunk, so that a key update and an alert always find room behind the data: 27 and 24 bytes.
constexpr size_t kControlBytes = 512;
constexpr size_t kDataLimit = kChunkBytes - kControlBytes;
// A frame is not begun in less room than this while another chunk may be had.
constexpr size_t kLeastFrame = 4096;

}  // namespace

size_t RecordWriter::room(size_t at) {
    return at + kRecordOverhead >= kDataLimit ? 0 : std::min(kMaxPlaintext, kDataLimit - at - kRecordOverhead);
}

// Payload that fits behind what the part holds.
size_t RecordWriter::space(const Part& part) {
    const size_t first = room(part.end);
    if (first <= part.open) return 0;
    size_t bytes = first - part.open;
    const size_t at = part.end + kRecordOverhead + first;
    if (at >= kDataLimit) return bytes;
    const size_t rest = kDataLimit - at;
    bytes += rest / (kMaxPlaintext + kRecordOverhead) * kMaxPlaintext;
    const size_t tail = rest % (kMaxPlaintext + kRecordOverhead);
    return bytes + (tail > kRecordOverhead ? tail - kRecordOverhead : 0);
}

bool RecordWriter::add_part() {
    if (count_ == parts_.size()) return false;
    Chunk chunk = chunks_->take();
    if (!chunk) return false;
    if (count_ > 0) seal_open(kDataType);
    parts_[count_++] = Part{std::move(chunk), 0, 0, 0};
    return true;
}

bool RecordWriter::append_raw(std::span<const uint8_t> bytes) {
    assert(!sealing_);
    if (bytes.size() > raw_space()) return false;
    while (!bytes.empty()) {
        if ((count_ == 0 || last().end == kChunkBytes) && !add_part()) return false;
        Part& part = last();
        const size_t n = std::min(bytes.size(), kChunkBytes - part.end);
        std::memcpy(part.chunk.data() + part.end, bytes.data(), n);
        part.end += static_cast<uint32_t>(n);
        bytes = bytes.subspan(n);
    }
    return true;
}

size_t RecordWriter::raw_space() const {
    size_t bytes = (parts_.size() - count_) * kChunkBytes;
    if (count_ > 0) bytes += kChunkBytes - parts_[count_ - 1].end;
    return bytes;
}

bool RecordWriter::start(TlsSuite suite, std::span<const uint8_t> secret, uint64_t rekey_after) {
    rekey_after_ = std::max<uint64_t>(rekey_after, 2);
    sealing_ = key_.install(suite, Direction::Seal, secret);
    return sealing_;
}

// Makes what is open a record of its own.
void RecordWriter::seal_open(uint8_t type) {
    if (count_ == 0 || last().open == 0) return;
    Part& part = last();
    uint8_t* record = part.chunk.data() + part.end;
    record[kRecordHeader + part.open] = type;
    if (!key_.records().seal(record, part.open + 1)) failed_ = true;
    part.end += static_cast<uint32_t>(part.open + kRecordOverhead);
    part.open = 0;
}

// A record of its own for a few bytes that are not application data.
bool RecordWriter::control(uint8_t type, std::span<const uint8_t> body) {
    if (count_ == 0 && !add_part()) return false;
    seal_open(kDataType);
    if (last().end + body.size() + kRecordOverhead > kChunkBytes && !add_part()) return false;
    Part& part = last();
    std::memcpy(part.chunk.data() + part.end + kRecordHeader, body.data(), body.size());
    part.open = static_cast<uint32_t>(body.size());
    seal_open(type);
    return true;
}

bool RecordWriter::send_key_update(bool ask) {
    const std::array<uint8_t, 5> message{24, 0, 0, 1, ask};
    if (!control(kHandshakeType, message)) return false;
    if (!key_.update()) failed_ = true;
    ++key_updates_;
    update_due_ = ask_ = false;
    update_sent_at_ = sent_ + pending();
    return true;
}

bool RecordWriter::update_key(bool ask) {
    if (!sealing_ || finished_) return true;
    update_due_ = true;
    ask_ = ask_ || ask;
    emit_due();
    return !failed_;
}

// What waited for a chunk, or for the last KeyUpdate to leave: a peer that asks again and again and does not read gets one answer.
void RecordWriter::emit_due() {
    if (update_due_ && sent_ >= update_sent_at_) send_key_update(ask_);
    if (alert_due_) {
        const std::array<uint8_t, 2> body{static_cast<uint8_t>(alert_ == TlsAlert::CloseNotify ? 1 : 2), static_cast<uint8_t>(alert_)};
        alert_due_ = !control(kAlertType, body);
    }
}

void RecordWriter::finish(TlsAlert alert) {
    if (!sealing_ || finished_) return;
    finished_ = alert_due_ = true;
    alert_ = alert;
    emit_due();
}

// The last part has room for n bytes of payload and its key has records left.
bool RecordWriter::prepare(size_t n) {
    if (!sealing_ || finished_ || failed_) return false;
    if ((count_ == 0 || space(last()) < n) && !add_part()) return false;
    if (update_due_) emit_due();
    if (records_left() == 0) send_key_update(false);
    return !failed_ && space(last()) >= n;
}

bool RecordWriter::reserve(size_t head, size_t max, Gaps& gaps) {
    gaps.count = 0;
    gaps.bytes = 0;
    if (!prepare(head + std::min(max, kLeastFrame))) return false;
    const Part& part = last();
    size_t at = part.end, used = part.open;
    for (uint64_t records = records_left(); records > 0; --records) {
        const size_t size = room(at);
        if (size <= used) break;
        const size_t skip = std::min(head, size - used);
        head -= skip;
        used += skip;
        const size_t n = std::min(size - used, max - gaps.bytes);
        if (n > 0) {
            gaps.iov[static_cast<size_t>(gaps.count++)] = {part.chunk.data() + at + kRecordHeader + used, n};
            gaps.bytes += n;
        }
        if (head == 0 && (gaps.bytes == max || static_cast<size_t>(gaps.count) == gaps.iov.size())) return true;
        at += size + kRecordOverhead;
        used = 0;
    }
    return head == 0 && (max == 0 || gaps.bytes > 0);
}

// Copies into the open record and the ones after it; null: the bytes are in place already.
void RecordWriter::put(const uint8_t* from, size_t n) {
    Part& part = last();
    while (n > 0) {
        const size_t size = room(part.end);
        const size_t taken = std::min(n, size - part.open);
        if (from != nullptr) {
            std::memcpy(part.chunk.data() + part.end + kRecordHeader + part.open, from, taken);
            from += taken;
        }
        part.open += static_cast<uint32_t>(taken);
        n -= taken;
        if (part.open == size) seal_open(kDataType);
    }
}

void RecordWriter::commit(std::span<const uint8_t> head, size_t n) {
    put(head.data(), head.size());
    put(nullptr, n);
}

bool RecordWriter::append(std::span<const uint8_t> bytes) {
    if (bytes.empty()) return !finished_;
    // New keys may be due in between; such a record, and the data record it cuts short, take less than 64 bytes.
    const uint64_t updates = 1 + (bytes.size() / kMaxPlaintext + 2) / (rekey_after_ - 1);
    if (!prepare(bytes.size() + static_cast<size_t>(updates) * 64)) return false;
    while (!bytes.empty()) {
        if (records_left() == 0 && !send_key_update(false)) return false;
        const size_t size = room(last().end);
        const size_t n = std::min(bytes.size(), size - last().open);
        put(bytes.data(), n);
        bytes = bytes.subspan(n);
    }
    return true;
}

void RecordWriter::sent(size_t n) {
    sent_ += n;
    while (count_ > 0) {
        Part& part = parts_[0];
        const size_t taken = std::min<size_t>(n, part.end - part.begin);
        part.begin += static_cast<uint32_t>(taken);
        n -= taken;
        if (part.begin < part.end) return;
        if (part.open > 0) {
            // Only the open record is left, and it is the last part. It stays where it is.
            return;
        }
        parts_[0] = std::move(parts_[1]);
        parts_[1] = Part{};
        --count_;
    }
}

base::Io RecordWriter::flush(int fd) {
    size_t total = 0;
    if (update_due_ || alert_due_) emit_due();
    while (!failed_) {
        if (!blocked_) seal_open(kDataType);
        std::array<iovec, 2> iov;
        size_t n = 0, bytes = 0;
        for (uint8_t i = 0; i < count_; ++i) {
            const Part& part = parts_[i];
            if (part.end == part.begin) continue;
            iov[n++] = {part.chunk.data() + part.begin, part.end - part.begin};
            bytes += part.end - part.begin;
        }
        if (bytes == 0 && count_ > 0 && last().open > 0) {
            blocked_ = false;
            continue;
        }
        if (bytes == 0) return {total, base::Io::State::Ready, 0};
        msghdr message{};
        message.msg_iov = iov.data();
        message.msg_iovlen = n;
        const ssize_t k = n == 1 ? ::send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL) : ::sendmsg(fd, &message, MSG_NOSIGNAL);
        const int os = k < 0 ? errno : 0;
        if (k < 0 && os == EINTR) continue;
        if (k < 0 && os != EAGAIN) return {total, base::Io::State::Failed, os};
        if (k > 0) {
            total += static_cast<size_t>(k);
            sent(static_cast<size_t>(k));
        }
        // A short count means a full socket: it will tell when there is room.
        blocked_ = k < 0 || static_cast<size_t>(k) < bytes;
        if (blocked_) return {total, base::Io::State::WouldBlock, 0};
    }
    return {total, base::Io::State::Failed, EIO};
}

size_t RecordWriter::pending() const {
    size_t bytes = 0;
    for (uint8_t i = 0; i < count_; ++i)
        bytes += parts_[i].end - parts_[i].begin + (parts_[i].open > 0 ? parts_[i].open + kRecordOverhead : 0);
    return bytes;
}

}  // namespace warren::ztunnel
