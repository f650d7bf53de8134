// SPDX-License-Identifier: Apache-2.0
// The record layer of an established TLS 1.3 connection (RFC 8446 4.6, 5, 6): RecordWriter is the output of a session, first for the
// handshake's bytes as they are, then sealing; RecordReader opens records in place and answers what is not application data.
//
// Writer: at most two chunks queue. Records lie back to back in a chunk; only the last one is open, a full one is sealed at once while
// it is in the cache, so there is no table of records and an idle writer holds no memory. Keys are updated before a key has sealed
// `rekey_after` records. Errors of the reader are final; the alert is in the writer then.
// Both belong to one worker thread. Bytes in, bytes out; the only I/O is flush().
#pragma once

#include "base/result.h"
#include "ztunnel/chunk.h"
#include "ztunnel/key_schedule.h"
#include "ztunnel/sealed_output.h"
#include "ztunnel/tls_session.h"

#include <array>
#include <cstdint>
#include <span>

namespace warren::ztunnel {

// RFC 8446 6.
enum class TlsAlert : uint8_t {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
    UserCanceled = 90,
};

// RFC 8446 5.5 allows 2^24.5 full records under one AES-GCM key.
inline constexpr uint64_t kRekeyRecords = uint64_t{1} << 24;
// Records in a row that bring no application data: empty ones, tickets, key updates, parts of them.
inline constexpr uint32_t kMaxIdleRecords = 32;

class RecordWriter final : public SealedOutput {
  public:
    explicit RecordWriter(ChunkPool& chunks) : chunks_(&chunks) {}

    // Before start(): bytes as they are. False: full or the pool is exhausted; nothing taken.
    bool append_raw(std::span<const uint8_t> bytes);
    [[nodiscard]] size_t raw_space() const;

    // From now on everything is sealed. rekey_after: at least 2.
    [[nodiscard]] bool start(TlsSuite suite, std::span<const uint8_t> secret, uint64_t rekey_after = kRekeyRecords);
    // A KeyUpdate, then the next key. `ask`: the peer shall do the same. At most one waits unsent; with no chunk to be had it is sent
    // ahead of the next record. False: the key could not be made.
    bool update_key(bool ask);
    // Queues the alert; nothing may be written afterwards. Dropped when the pool is exhausted even at flush: the peer then sees an end
    // without close_notify, which is what an overloaded node owes nobody.
    void finish(TlsAlert alert);
    [[nodiscard]] bool finished() const { return finished_; }
    [[nodiscard]] uint64_t key_updates() const { return key_updates_; }
    [[nodiscard]] uint64_t sequence() const { return key_.records().sequence(); }

    bool reserve(size_t head, size_t max, Gaps& gaps) override;
    void commit(std::span<const uint8_t> head, size_t n) override;
    bool append(std::span<const uint8_t> bytes) override;
    base::Io flush(int fd) override;
    [[nodiscard]] size_t pending() const override;

  private:
    // Bytes [begin, end) of the chunk are final; an open record with `open` bytes of payload starts at end.
    struct Part {
        Chunk chunk;
        uint32_t begin = 0;
        uint32_t end = 0;
        uint32_t open = 0;
    };
    [[nodiscard]] Part& last() { return parts_[count_ - 1]; }
    // How much payload the record at this offset may hold.
    [[nodiscard]] static size_t room(size_t at);
    [[nodiscard]] static size_t space(const Part& part);
    [[nodiscard]] uint64_t records_left() const { return rekey_after_ - 1 - key_.records().sequence(); }
    bool add_part();
    bool prepare(size_t n);
    void put(const uint8_t* from, size_t n);
    void seal_open(uint8_t type);
    bool control(uint8_t type, std::span<const uint8_t> body);
    bool send_key_update(bool ask);
    void emit_due();
    void sent(size_t n);

    ChunkPool* chunks_;
    std::array<Part, 2> parts_;
    TrafficKey key_;
    uint64_t rekey_after_ = kRekeyRecords;
    uint64_t key_updates_ = 0;
    uint64_t sent_ = 0;            // bytes the socket took
    uint64_t update_sent_at_ = 0;  // sent_ when the last KeyUpdate will have left
    uint8_t count_ = 0;            // parts in use
    bool sealing_ = false;
    bool finished_ = false;
    bool blocked_ = false;     // the socket was full: fill the open record instead of sealing small ones
    bool failed_ = false;      // the cipher failed: nothing more may leave
    bool update_due_ = false;  // waits for a chunk
    bool ask_ = false;
    bool alert_due_ = false;  // waits for a chunk
    TlsAlert alert_ = TlsAlert::CloseNotify;
};

class RecordReader {
  public:
    [[nodiscard]] bool start(TlsRole role, TlsSuite suite, std::span<const uint8_t> secret, uint64_t ask_after = kRekeyRecords);
    // One record from the front of the input.
    base::Result<TlsOpened> open(std::span<uint8_t> in, RecordWriter& writer);
    [[nodiscard]] uint64_t key_updates() const { return key_updates_; }

  private:
    base::Result<void> check_header(std::span<const uint8_t> in, RecordWriter& writer);
    base::Result<void> on_inner(uint8_t type, std::span<uint8_t> data, TlsOpened& opened, RecordWriter& writer);
    base::Result<void> on_alert(std::span<const uint8_t> body, TlsOpened& opened, RecordWriter& writer);
    base::Result<void> on_handshake(std::span<const uint8_t> body, RecordWriter& writer);
    base::Result<void> on_message_head(RecordWriter& writer);
    base::Result<void> on_key_update(uint8_t request, bool last, RecordWriter& writer);
    base::Error refuse(RecordWriter& writer, TlsAlert alert, std::string text);
    [[nodiscard]] bool inside_message() const { return have_ > 0 || skip_ > 0; }

    TrafficKey key_;
    uint64_t ask_after_ = kRekeyRecords;
    uint64_t key_updates_ = 0;
    uint32_t idle_ = 0;              // records in a row without application data
    uint32_t skip_ = 0;              // what is left of a ticket
    std::array<uint8_t, 4> head_{};  // of a handshake message that is not complete
    uint8_t have_ = 0;
    TlsRole role_ = TlsRole::Client;
    bool asked_ = false;  // the peer was asked for a new key
    bool closed_ = false;
    bool failed_ = false;
};

}  // namespace warren::ztunnel
