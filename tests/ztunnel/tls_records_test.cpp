// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_records.h"

#include "base/fd.h"
#include "tests/catch.h"

#include <algorithm>
#include <string>
#include <vector>

#include <sys/socket.h>

using namespace warren;
using namespace warren::ztunnel;

namespace {

constexpr TlsSuite kSuite{Aead::Aes128Gcm, TlsHash::Sha256};
const std::vector<uint8_t> kThere(32, 0x11), kBack(32, 0x22);
using Bytes = std::vector<uint8_t>;

// A reader with a writer for its answers, and a hand that seals whatever it likes.
struct Rig {
    ChunkPool chunks{2, 8};
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    RecordWriter writer{chunks};
    RecordReader reader;
    TrafficKey hand;    // what the peer seals with
    TrafficKey answer;  // what the peer opens with

    explicit Rig(TlsRole role = TlsRole::Client, uint64_t limit = kRekeyRecords) {
        REQUIRE(reader.start(role, kSuite, kThere, limit));
        REQUIRE(writer.start(kSuite, kBack, limit));
        REQUIRE(hand.install(kSuite, Direction::Seal, kThere));
        REQUIRE(answer.install(kSuite, Direction::Open, kBack));
    }
    Bytes seal(uint8_t type, const Bytes& body, size_t padding = 0) {
        Bytes record(kRecordHeader + body.size() + 1 + padding + kRecordTag);
        std::copy(body.begin(), body.end(), record.begin() + 5);
        record[5 + body.size()] = type;
        REQUIRE(hand.records().seal(record.data(), body.size() + 1 + padding));
        return record;
    }
    base::Result<TlsOpened> open(Bytes& record) { return reader.open(record, writer); }
    base::Result<TlsOpened> open(Bytes&& record) { return reader.open(kept = std::move(record), writer); }
    // What the writer sends next: inner type and body of each record; follows key updates.
    struct Out {
        uint8_t type;
        Bytes body;
    };
    std::vector<Out> sent() {
        (void)writer.flush(fds.first.get());
        Bytes more(1 << 20);
        const ssize_t n = ::recv(fds.second.get(), more.data(), more.size(), 0);
        if (n > 0) wire.insert(wire.end(), more.begin(), more.begin() + n);
        std::vector<Out> out;
        size_t at = 0;
        while (at + 5 <= wire.size()) {
            const size_t size = 5 + (size_t{wire[at + 3]} << 8 | wire[at + 4]);
            if (at + size > wire.size()) break;
            REQUIRE(answer.records().open({wire.data() + at, size}));
            const size_t inner = size - 5 - 16;
            out.push_back({wire[at + 5 + inner - 1],
                           Bytes(wire.begin() + static_cast<long>(at) + 5, wire.begin() + static_cast<long>(at + 5 + inner - 1))});
            if (out.back().type == 22) REQUIRE(answer.update());
            at += size;
        }
        wire.erase(wire.begin(), wire.begin() + static_cast<long>(at));
        return out;
    }
    // The alert the reader's refusal queued.
    int alert() {
        const auto out = sent();
        return out.size() == 1 && out[0].type == 21 && out[0].body.size() == 2 && out[0].body[0] == 2 ? out[0].body[1] : -1;
    }
    Bytes kept, wire;
};

void fails(Rig& rig, Bytes record, int alert, const char* text) {
    const auto result = rig.open(record);
    REQUIRE_FALSE(result.has_value());
    CHECK_THAT(result.error().message(), Catch::Contains(text));
    CHECK(rig.alert() == alert);
    CHECK_FALSE(rig.open(Bytes{}).has_value());  // final
}

const Bytes kUpdate{24, 0, 0, 1, 0}, kUpdateAsk{24, 0, 0, 1, 1};

}  // namespace

TEST_CASE("TLS records: data is opened in place and padding is taken off") {
    Rig rig;
    Bytes record = rig.seal(23, {1, 2, 3}, 200);
    const auto opened = rig.open(record);
    REQUIRE(opened.has_value());
    CHECK(opened->consumed == record.size());
    CHECK(opened->data.data() == record.data() + 5);
    CHECK(Bytes(opened->data.begin(), opened->data.end()) == Bytes{1, 2, 3});
}

TEST_CASE("TLS records: an incomplete record takes nothing and changes nothing") {
    Rig rig;
    const Bytes record = rig.seal(23, Bytes(100, 7));
    for (size_t n = 0; n < record.size(); ++n) {
        Bytes part(record.begin(), record.begin() + static_cast<long>(n));
        const auto opened = rig.open(part);
        REQUIRE(opened.has_value());
        REQUIRE(opened->consumed == 0);
    }
    Bytes whole = record;
    CHECK(rig.open(whole)->data.size() == 100);
}

TEST_CASE("TLS records: a bad tag, a cut, a swapped and a replayed record are not authentic") {
    Rig rig;
    Bytes first = rig.seal(23, {1}), second = rig.seal(23, {2});
    SECTION("bad tag") {
        first.back() ^= 1;
        fails(rig, first, 20, "not authentic");
    }
    SECTION("cut and its length made to fit") {
        first.pop_back();
        first[4] = static_cast<uint8_t>(first[4] - 1);
        first.insert(first.end(), second.begin(), second.end());
        fails(rig, first, 20, "");
    }
    SECTION("swapped") { fails(rig, second, 20, "not authentic"); }
    SECTION("replayed") {
        Bytes again = first;
        REQUIRE(rig.open(first).has_value());
        fails(rig, again, 20, "not authentic");
    }
    SECTION("too short to be sealed") { fails(rig, {23, 3, 3, 0, 16}, 20, "too few"); }
}

TEST_CASE("TLS records: a record too long is refused at its header, an inner text too long after opening") {
    Rig rig;
    SECTION("header") { fails(rig, {23, 3, 3, 0x41, 0x01}, 22, "more than a record may have"); }
    SECTION("inner, padded beyond the limit") { fails(rig, rig.seal(23, Bytes(16000, 1), 385), 22, "too long"); }
    SECTION("as long as it may be") {
        CHECK(rig.open(rig.seal(23, Bytes(16384, 1)))->data.size() == 16384);
        CHECK(rig.open(rig.seal(23, Bytes(16000, 1), 384))->data.size() == 16000);
    }
}

TEST_CASE("TLS records: what has no place after the handshake is an unexpected message") {
    Rig rig(TlsRole::Server);
    SECTION("change_cipher_spec") { fails(rig, {20, 3, 3, 0, 1, 1}, 10, "type 20"); }
    SECTION("a handshake record in the clear") { fails(rig, {22, 3, 3, 0, 1, 1}, 10, "type 22"); }
    SECTION("an alert in the clear") { fails(rig, {21, 3, 3, 0, 2, 2, 40}, 10, "type 21"); }
    SECTION("change_cipher_spec inside") { fails(rig, rig.seal(20, {1}), 10, "content type 20"); }
    SECTION("padding only") { fails(rig, rig.seal(0, Bytes(20, 0)), 10, "padding only"); }
    SECTION("an empty handshake record") { fails(rig, rig.seal(22, {}), 10, "empty handshake"); }
    SECTION("a client hello") { fails(rig, rig.seal(22, {1, 0, 0, 0}), 10, "handshake message 1"); }
    SECTION("a ticket from a client") { fails(rig, rig.seal(22, {4, 0, 0, 1, 0}), 10, "handshake message 4"); }
    SECTION("a certificate request") { fails(rig, rig.seal(22, {13, 0, 0, 1, 0}), 10, "handshake message 13"); }
    SECTION("data inside a handshake message") {
        REQUIRE(rig.open(rig.seal(22, {24, 0})).has_value());
        fails(rig, rig.seal(23, {1}), 10, "inside a handshake message");
    }
}

TEST_CASE("TLS records: key updates must be well formed and end their record") {
    Rig rig;
    SECTION("length") { fails(rig, rig.seal(22, {24, 0, 0, 2, 0, 0}), 50, "key update of 2"); }
    SECTION("value") { fails(rig, rig.seal(22, {24, 0, 0, 1, 2}), 47, "asks for 2"); }
    SECTION("followed by more") { fails(rig, rig.seal(22, {24, 0, 0, 1, 0, 4}), 10, "does not end its record"); }
    SECTION("the old key afterwards") {
        Bytes update = rig.seal(22, kUpdate), late = rig.seal(23, {1});
        REQUIRE(rig.open(update).has_value());
        fails(rig, late, 20, "not authentic");
    }
}

TEST_CASE("TLS records: a key update is followed, also in pieces, and answered once when asked") {
    Rig rig;
    for (const uint8_t byte : kUpdateAsk) REQUIRE(rig.open(rig.seal(22, {byte})).has_value());
    REQUIRE(rig.hand.update());
    CHECK(rig.open(rig.seal(23, {5}))->data.size() == 1);
    CHECK(rig.reader.key_updates() == 1);
    auto out = rig.sent();
    REQUIRE(out.size() == 1);
    CHECK(out[0].type == 22);
    CHECK(out[0].body == kUpdate);
    // Data after it has the new key.
    REQUIRE(rig.writer.append(Bytes{9}));
    out = rig.sent();
    REQUIRE(out.size() == 1);
    CHECK(out[0].body == Bytes{9});
    // Not asked, not answered.
    REQUIRE(rig.open(rig.seal(22, kUpdate)).has_value());
    CHECK(rig.sent().empty());
}

TEST_CASE("TLS records: a peer that asks for key updates and does not read gets one answer") {
    Rig rig;
    for (int i = 0; i < 2000; ++i) {
        REQUIRE(rig.open(rig.seal(22, kUpdateAsk)).has_value());
        REQUIRE(rig.hand.update());
        REQUIRE(rig.open(rig.seal(23, {1})).has_value());
    }
    CHECK(rig.writer.pending() == 27);
    CHECK(rig.sent().size() == 1);
    CHECK(rig.sent().size() == 1);  // the second answer, for all that came meanwhile
    CHECK(rig.sent().empty());
}

TEST_CASE("TLS records: a peer that never renews its key is asked to, trap 36 from the other side") {
    Rig rig(TlsRole::Client, 5);
    for (int i = 0; i < 5; ++i) REQUIRE(rig.open(rig.seal(23, {1})).has_value());
    auto out = rig.sent();
    REQUIRE(out.size() == 1);
    CHECK(out[0].body == kUpdateAsk);
    REQUIRE(rig.open(rig.seal(23, {1})).has_value());
    CHECK(rig.sent().empty());  // asked once
    REQUIRE(rig.open(rig.seal(22, kUpdate)).has_value());
    REQUIRE(rig.hand.update());
    for (int i = 0; i < 5; ++i) REQUIRE(rig.open(rig.seal(23, {1})).has_value());
    CHECK(rig.sent().size() == 1);
}

TEST_CASE("TLS records: tickets are skipped, however they are cut") {
    Rig rig;
    Bytes ticket(4 + 300, 0xab);
    ticket[0] = 4;
    ticket[1] = 0;
    ticket[2] = 300 >> 8;
    ticket[3] = 300 & 0xff;
    Bytes two = ticket;
    two.insert(two.end(), ticket.begin(), ticket.end());
    for (size_t at = 0; at < two.size(); at += 100)
        REQUIRE(rig.open(rig.seal(22, Bytes(two.begin() + static_cast<long>(at),
                                            two.begin() + static_cast<long>(std::min(at + 100, two.size())))))
                    .has_value());
    CHECK(rig.open(rig.seal(23, {1}))->data.size() == 1);
    SECTION("not without end") { fails(rig, rig.seal(22, {4, 1, 0, 1}), 50, "ticket of 65537"); }
}

TEST_CASE("TLS records: records without data are bounded in a row") {
    Rig rig;
    const Bytes kind = GENERATE(Bytes{}, kUpdate);
    auto idle = [&] {
        auto result = rig.open(rig.seal(kind.empty() ? 23 : 22, kind));
        if (result && !kind.empty()) REQUIRE(rig.hand.update());
        return result;
    };
    for (uint32_t i = 0; i < kMaxIdleRecords; ++i) REQUIRE(idle().has_value());
    REQUIRE(rig.open(rig.seal(23, {1})).has_value());
    for (uint32_t i = 0; i < kMaxIdleRecords; ++i) REQUIRE(idle().has_value());
    const auto result = idle();
    REQUIRE_FALSE(result.has_value());
    CHECK_THAT(result.error().message(), Catch::Contains("in a row"));
}

TEST_CASE("TLS records: alerts end the connection with their name, close_notify ends it well") {
    Rig rig;
    SECTION("fatal") {
        const auto result = rig.open(rig.seal(21, {2, 45}));
        REQUIRE_FALSE(result.has_value());
        CHECK_THAT(result.error().message(), Catch::Contains("certificate_expired"));
        CHECK(rig.sent().empty());
    }
    SECTION("a warning is no less an end") { CHECK_FALSE(rig.open(rig.seal(21, {1, 40})).has_value()); }
    SECTION("malformed") { fails(rig, rig.seal(21, {1}), 50, "alert of 1 bytes"); }
    SECTION("close_notify, and what follows is ignored") {
        REQUIRE(rig.open(rig.seal(21, {1, 90})).has_value());
        auto opened = rig.open(rig.seal(21, {1, 0}));
        REQUIRE(opened.has_value());
        CHECK(opened->closed);
        opened = rig.open(Bytes{1, 2, 3});
        REQUIRE(opened.has_value());
        CHECK(opened->closed);
        CHECK(opened->consumed == 3);
    }
}

TEST_CASE("TLS records: small writes share a record and a full reserve is sixteen of them") {
    Rig rig;
    REQUIRE(rig.writer.append(Bytes{1}));
    REQUIRE(rig.writer.append(Bytes{2, 3}));
    Gaps gaps;
    REQUIRE(rig.writer.reserve(2, 3, gaps));
    REQUIRE(gaps.bytes == 3);
    std::fill_n(static_cast<uint8_t*>(gaps.iov[0].iov_base), 3, uint8_t{7});
    rig.writer.commit(Bytes{4, 5}, 2);  // less than reserved
    CHECK(rig.writer.pending() == 7 + kRecordOverhead);
    const auto out = rig.sent();
    REQUIRE(out.size() == 1);
    CHECK(out[0].body == Bytes{1, 2, 3, 4, 5, 7, 7});
    CHECK(rig.chunks.out() == 0);

    REQUIRE(rig.writer.reserve(9, 1 << 20, gaps));
    CHECK(gaps.bytes >= 16 * kMaxPlaintext - 9);
    CHECK(gaps.count <= 17);
    for (int i = 0; i < gaps.count; ++i)
        std::fill_n(static_cast<uint8_t*>(gaps.iov[static_cast<size_t>(i)].iov_base), gaps.iov[static_cast<size_t>(i)].iov_len, uint8_t{1});
}

TEST_CASE("TLS records: two chunks queue, no more, and all of it arrives") {
    Rig rig;
    size_t total = 0;
    Gaps gaps;
    while (rig.writer.reserve(9, 100000, gaps)) {
        for (int i = 0; i < gaps.count; ++i)
            std::fill_n(static_cast<uint8_t*>(gaps.iov[static_cast<size_t>(i)].iov_base), gaps.iov[static_cast<size_t>(i)].iov_len,
                        uint8_t{3});
        rig.writer.commit(Bytes(9, 2), gaps.bytes);
        total += 9 + gaps.bytes;
        REQUIRE(total < 600000);
    }
    CHECK(rig.chunks.out() == 2);
    CHECK(total > 2 * 15 * kMaxPlaintext);
    // Full as it is, an answer and an alert still find room.
    REQUIRE(rig.open(rig.seal(22, kUpdateAsk)).has_value());
    rig.writer.finish(TlsAlert::CloseNotify);
    size_t data = 0;
    int updates = 0, alerts = 0;
    for (;;) {
        const auto out = rig.sent();
        if (out.empty()) break;
        for (const auto& record : out) {
            if (record.type == 23) data += record.body.size();
            updates += record.type == 22;
            alerts += record.type == 21;
        }
    }
    CHECK(data == total);
    CHECK(updates == 1);
    CHECK(alerts == 1);
    CHECK(rig.chunks.out() == 0);
    CHECK(rig.writer.pending() == 0);
}

TEST_CASE("TLS records: an exhausted pool refuses and nothing is lost") {
    Rig rig;
    std::vector<Chunk> held;
    while (Chunk chunk = rig.chunks.take()) held.push_back(chunk);
    Gaps gaps;
    CHECK_FALSE(rig.writer.reserve(9, 100, gaps));
    CHECK_FALSE(rig.writer.append(Bytes{1}));
    // The answer to a key update waits until there is a chunk, ahead of the next data.
    REQUIRE(rig.open(rig.seal(22, kUpdateAsk)).has_value());
    CHECK(rig.writer.pending() == 0);
    CHECK(rig.writer.flush(rig.fds.first.get()).state == base::Io::State::Ready);
    held.clear();
    REQUIRE(rig.writer.append(Bytes{1}));
    const auto out = rig.sent();
    REQUIRE(out.size() == 2);
    CHECK(out[0].type == 22);
    CHECK(out[1].body == Bytes{1});
}

TEST_CASE("TLS records: trap 36, no key seals more records than its limit, its farewell included") {
    const uint64_t limit = GENERATE(uint64_t{2}, uint64_t{3}, uint64_t{5});
    Rig rig(TlsRole::Client, limit);
    Bytes text;
    uint64_t most = 0;
    for (size_t i = 0; i < 29; ++i) {
        REQUIRE(rig.writer.append(Bytes(i * 997 + 1, static_cast<uint8_t>(i))));
        text.insert(text.end(), i * 997 + 1, static_cast<uint8_t>(i));
        most = std::max(most, rig.writer.sequence());
    }
    Bytes got;
    uint64_t under_key = 0;
    for (;;) {
        const auto out = rig.sent();
        if (out.empty()) break;
        for (const auto& record : out) {
            CHECK(++under_key <= limit);
            if (record.type == 22) {
                CHECK(under_key == limit);
                under_key = 0;
            } else {
                got.insert(got.end(), record.body.begin(), record.body.end());
            }
        }
    }
    CHECK(got == text);
    CHECK(most < limit);
    CHECK(rig.writer.key_updates() >= 24 / limit);
}

TEST_CASE("TLS records: while the socket is full small writes gather in one record") {
    Rig rig;
    const int tiny = 4096;
    REQUIRE(::setsockopt(rig.fds.first.get(), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny) == 0);
    REQUIRE(rig.writer.append(Bytes(60000, 1)));
    REQUIRE(rig.writer.flush(rig.fds.first.get()).state == base::Io::State::WouldBlock);
    const size_t before = rig.writer.pending();
    for (int i = 0; i < 100; ++i) {
        REQUIRE(rig.writer.append(Bytes{2}));
        REQUIRE(rig.writer.flush(rig.fds.first.get()).state == base::Io::State::WouldBlock);
    }
    CHECK(rig.writer.pending() == before + 100 + kRecordOverhead);
}

TEST_CASE("TLS records: a closed socket fails with its errno and without a signal") {
    Rig rig;
    rig.fds.second.reset();
    REQUIRE(rig.writer.append(Bytes{1}));
    const base::Io io = rig.writer.flush(rig.fds.first.get());
    CHECK(io.state == base::Io::State::Failed);
    CHECK(io.os == EPIPE);
}
