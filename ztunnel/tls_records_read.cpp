// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_records.h"

#include <algorithm>

namespace warren::ztunnel {

namespace {

constexpr uint8_t kAlertType = 21, kHandshakeType = 22, kDataType = 23;
constexpr uint8_t kNewSessionTicket = 4, kKeyUpdate = 24;
constexpr size_t kMaxTicket = 64 * 1024;

// The names of RFC 8446 6; by number when it has none.
std::string alert_name(uint8_t alert) {
    switch (alert) {
        case 10: return "unexpected_message";
        case 20: return "bad_record_mac";
        case 22: return "record_overflow";
        case 40: return "handshake_failure";
        case 42: return "bad_certificate";
        case 43: return "unsupported_certificate";
        case 44: return "certificate_revoked";
        case 45: return "certificate_expired";
        case 46: return "certificate_unknown";
        case 47: return "illegal_parameter";
        case 48: return "unknown_ca";
        case 49: return "access_denied";
        case 50: return "decode_error";
        case 51: return "decrypt_error";
        case 80: return "internal_error";
        case 109: return "missing_extension";
        case 116: return "certificate_required";
        case 120: return "no_application_protocol";
        default: return "alert " + std::to_string(alert);
    }
}

}  // namespace

bool RecordReader::start(TlsRole role, TlsSuite suite, std::span<const uint8_t> secret, uint64_t ask_after) {
    role_ = role;
    ask_after_ = ask_after;
    return key_.install(suite, Direction::Open, secret);
}

base::Error RecordReader::refuse(RecordWriter& writer, TlsAlert alert, std::string text) {
    failed_ = true;
    writer.finish(alert);
    return {base::Errc::Protocol, 0, "TLS record", std::move(text)};
}

// Judged before the whole record is there: a peer cannot make us wait for a record that will be refused.
base::Result<void> RecordReader::check_header(std::span<const uint8_t> in, RecordWriter& writer) {
    const size_t length = static_cast<size_t>(in[3]) << 8 | in[4];
    // After the handshake nothing travels in the clear, change_cipher_spec included (RFC 8446 5).
    if (in[0] != kDataType)
        return refuse(writer, TlsAlert::UnexpectedMessage, "type " + std::to_string(in[0]) + " is not expected after the handshake");
    if (length + kRecordHeader > kMaxRecord)
        return refuse(writer, TlsAlert::RecordOverflow, std::to_string(length) + " bytes are more than a record may have");
    if (length < kRecordTag + 1)
        return refuse(writer, TlsAlert::BadRecordMac, std::to_string(length) + " bytes are too few for a sealed record");
    return {};
}

base::Result<TlsOpened> RecordReader::open(std::span<uint8_t> in, RecordWriter& writer) {
    if (failed_) return base::Error{base::Errc::Protocol, 0, "TLS record", "the connection has failed before"};
    if (closed_) return TlsOpened{in.size(), {}, true};  // what follows close_notify is ignored (RFC 8446 6.1)
    TlsOpened opened;
    if (in.size() < kRecordHeader) return opened;
    TRY(check_header(in, writer));
    const size_t size = kRecordHeader + (static_cast<size_t>(in[3]) << 8 | in[4]);
    if (in.size() < size) return opened;
    if (!key_.records().open(in.first(size))) return refuse(writer, TlsAlert::BadRecordMac, "the record is not authentic");
    opened.consumed = size;

    const auto inner = in.subspan(kRecordHeader, size - kRecordHeader - kRecordTag);
    size_t n = inner.size();
    if (n > kMaxPlaintext + 1) return refuse(writer, TlsAlert::RecordOverflow, "the record's inner text is too long");
    while (n > 0 && inner[n - 1] == 0) --n;  // padding
    if (n == 0) return refuse(writer, TlsAlert::UnexpectedMessage, "the record holds padding only");
    TRY(on_inner(inner[n - 1], inner.first(n - 1), opened, writer));

    // A peer that never renews its key is asked to, once a key.
    if (!asked_ && key_.records().sequence() >= ask_after_) {
        asked_ = true;
        writer.update_key(true);
    }
    return opened;
}

base::Result<void> RecordReader::on_inner(uint8_t type, std::span<uint8_t> data, TlsOpened& opened, RecordWriter& writer) {
    if (type == kDataType && !data.empty() && !inside_message()) {
        idle_ = 0;
        opened.data = data;
        return {};
    }
    if (++idle_ > kMaxIdleRecords)
        return refuse(writer, TlsAlert::UnexpectedMessage,
                      "more than " + std::to_string(kMaxIdleRecords) + " records in a row without data");
    if (type == kHandshakeType) return on_handshake(data, writer);
    if (inside_message()) return refuse(writer, TlsAlert::UnexpectedMessage, "another record inside a handshake message");
    if (type == kAlertType) return on_alert(data, opened, writer);
    if (type == kDataType) return {};
    return refuse(writer, TlsAlert::UnexpectedMessage, "content type " + std::to_string(type) + " is not known");
}

base::Result<void> RecordReader::on_alert(std::span<const uint8_t> body, TlsOpened& opened, RecordWriter& writer) {
    if (body.size() != 2) return refuse(writer, TlsAlert::DecodeError, "an alert of " + std::to_string(body.size()) + " bytes");
    if (body[1] == static_cast<uint8_t>(TlsAlert::CloseNotify)) {
        closed_ = opened.closed = true;
        return {};
    }
    if (body[1] == static_cast<uint8_t>(TlsAlert::UserCanceled)) return {};  // close_notify follows
    // Every other alert ends the connection whatever level it claims, and is not answered (RFC 8446 6.2).
    failed_ = true;
    return base::Error{base::Errc::Protocol, 0, "TLS", "the peer ended the connection: " + alert_name(body[1])};
}

// Messages may share records and may be cut anywhere. Nothing is kept but a message's head: tickets are skipped.
base::Result<void> RecordReader::on_handshake(std::span<const uint8_t> body, RecordWriter& writer) {
    if (body.empty()) return refuse(writer, TlsAlert::UnexpectedMessage, "an empty handshake record");
    while (!body.empty()) {
        if (skip_ > 0) {
            const size_t n = std::min<size_t>(skip_, body.size());
            skip_ -= static_cast<uint32_t>(n);
            body = body.subspan(n);
            continue;
        }
        const uint8_t next = body[0];
        body = body.subspan(1);
        if (have_ < head_.size()) {
            head_[have_++] = next;
            if (have_ == head_.size()) TRY(on_message_head(writer));
            continue;
        }
        TRY(on_key_update(next, body.empty(), writer));
    }
    return {};
}

base::Result<void> RecordReader::on_message_head(RecordWriter& writer) {
    const uint32_t length = static_cast<uint32_t>(head_[1]) << 16 | static_cast<uint32_t>(head_[2]) << 8 | head_[3];
    if (head_[0] == kKeyUpdate) {
        if (length != 1) return refuse(writer, TlsAlert::DecodeError, "a key update of " + std::to_string(length) + " bytes");
        return {};  // its one byte follows
    }
    // Clients get tickets; we resume nothing, so they are thrown away. Nothing else has business after the handshake.
    if (head_[0] != kNewSessionTicket || role_ == TlsRole::Server)
        return refuse(writer, TlsAlert::UnexpectedMessage, "handshake message " + std::to_string(head_[0]) + " after the handshake");
    if (length == 0 || length > kMaxTicket)
        return refuse(writer, TlsAlert::DecodeError, "a ticket of " + std::to_string(length) + " bytes");
    skip_ = length;
    have_ = 0;
    return {};
}

base::Result<void> RecordReader::on_key_update(uint8_t request, bool last, RecordWriter& writer) {
    have_ = 0;
    if (request > 1) return refuse(writer, TlsAlert::IllegalParameter, "a key update that asks for " + std::to_string(request));
    // The next record has the new key, so nothing may follow in this one (RFC 8446 5.1).
    if (!last) return refuse(writer, TlsAlert::UnexpectedMessage, "a key update that does not end its record");
    if (!key_.update()) return refuse(writer, TlsAlert::InternalError, "the next key could not be made");
    ++key_updates_;
    asked_ = false;
    if (request == 1 && !writer.update_key(false)) return refuse(writer, TlsAlert::InternalError, "the next key could not be made");
    return {};
}

}  // namespace warren::ztunnel
