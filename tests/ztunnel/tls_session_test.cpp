// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_session.h"

#include "tests/catch.h"
#include "tests/ztunnel/tls_ends.h"
#include "ztunnel/record_cipher.h"

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {

constexpr size_t kSizes[] = {0, 1, 63, 16383, 16384, 16385, 1024 * 1024};

const TestCa& ca() {
    static const TestCa authority("mesh root");
    return authority;
}
std::shared_ptr<const TlsContext> alice() {
    static const auto context = make_context(ca(), kAlice);
    return context;
}
std::shared_ptr<const TlsContext> bob() {
    static const auto context = make_context(ca(), kBob);
    return context;
}

// One Warren session and plain OpenSSL across a socket pair.
struct Mixed {
    ChunkPool chunks{4, 16};
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    End ours;
    SslEnd theirs;
    Mixed(TlsRole role, TlsRecords records, const char* suite, const TlsSettings& settings = {})
        : theirs(role == TlsRole::Client, fds.second.get(), ca(), kBob, suite) {
        const std::vector<policy::Identity> expected{identity(kBob)};
        auto context = make_context(ca(), LeafSpec{.uris = {kAlice}, .dns = {}, .eku = ""}, ca().pem(), settings);
        ours.tls = TlsSession::create(std::move(context), role, expected, chunks, records).value();
        ours.fd = fds.first.get();
    }
    ~Mixed() { ours.tls.reset(); }
};

}  // namespace

TEST_CASE("TLS session: Warren and OpenSSL agree in both roles, modes and suites for every size") {
    const auto role = GENERATE(TlsRole::Client, TlsRole::Server);
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    const auto suite = GENERATE("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384");
    Mixed m(role, records, suite);
    settle(m.ours, m.theirs);
    REQUIRE(m.ours.tls->established());
    REQUIRE(m.theirs.done);
    CHECK(m.ours.tls->peer().identity.uri() == kBob);
    CHECK(m.ours.tls->peer().cipher == suite);
    CHECK(m.ours.tls->peer().group == "X25519");
    CHECK(m.ours.tls->peer().chain_der.size() == 1);
    std::string sent;
    for (const size_t n : kSizes) {
        const std::string text = pattern(n);
        sent += text;
        m.ours.to_send = text;
        m.theirs.to_send = text;
        settle(m.ours, m.theirs);
        REQUIRE_FALSE(m.ours.error.has_value());
        REQUIRE(m.theirs.got == sent);
        REQUIRE(m.ours.got == sent);
    }
    CHECK(m.chunks.out() == 0);
}

TEST_CASE("TLS session: all four combinations of record layers, one byte at a time") {
    const auto client = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    const auto server = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    Pair p(alice(), bob(), {identity(kBob)}, client, server);
    p.client.read_size = p.server.read_size = 1;
    settle(p.client, p.server);
    REQUIRE(p.client.tls->established());
    REQUIRE(p.server.tls->established());
    CHECK(p.server.tls->peer().identity.uri() == kAlice);
    p.client.to_send = pattern(3000);
    p.server.to_send = pattern(2000);
    settle(p.client, p.server);
    CHECK(p.server.got == pattern(3000));
    CHECK(p.client.got == pattern(2000));
}

TEST_CASE("TLS session: a small socket buffer delays and loses nothing") {
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    Pair p(alice(), bob(), {identity(kBob)}, records, records);
    const int tiny = 2048;
    REQUIRE(::setsockopt(p.client.fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny) == 0);
    REQUIRE(::setsockopt(p.server.fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny) == 0);
    p.client.read_size = p.server.read_size = 777;
    settle(p.client, p.server);
    p.client.to_send = pattern(900000);
    p.server.to_send = pattern(700000);
    settle(p.client, p.server);
    CHECK(p.server.got == pattern(900000));
    CHECK(p.client.got == pattern(700000));
    CHECK(p.chunks.out() == 0);
}

TEST_CASE("TLS session: close_notify is seen and a bare end of stream is not mistaken for it") {
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    Pair p(alice(), bob(), {identity(kBob)}, records, records);
    settle(p.client, p.server);
    SECTION("close_notify") {
        p.client.to_send = "last words";
        p.client.step();
        p.client.tls->close();
        settle(p.client, p.server);
        CHECK(p.server.got == "last words");
        CHECK(p.server.closed);
        Gaps gaps;
        CHECK_FALSE(p.client.tls->output().reserve(0, 10, gaps));
        CHECK_FALSE(p.client.tls->output().append(std::vector<uint8_t>(4)));
        // The other direction is still open.
        p.server.to_send = "answer";
        settle(p.client, p.server);
        CHECK(p.client.got == "answer");
    }
    SECTION("the socket just ends") {
        ::shutdown(p.client.fd, SHUT_WR);
        settle(p.client, p.server);
        CHECK(p.server.eof);
        CHECK_FALSE(p.server.closed);
        CHECK_FALSE(p.server.error.has_value());
    }
}

TEST_CASE("TLS session: OpenSSL understands our close_notify and we understand its") {
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    Mixed m(TlsRole::Server, records, "TLS_AES_128_GCM_SHA256");
    settle(m.ours, m.theirs);
    m.ours.tls->close();
    SSL_shutdown(m.theirs.ssl.get());
    settle(m.ours, m.theirs);
    CHECK(m.ours.closed);
    CHECK((SSL_get_shutdown(m.theirs.ssl.get()) & SSL_RECEIVED_SHUTDOWN) != 0);
}

TEST_CASE("TLS session: trap 36, keys are updated before the record limit, tested by a lowered one") {
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    const uint64_t limit = GENERATE(uint64_t{2}, uint64_t{3}, uint64_t{17});
    TlsSettings settings;
    settings.rekey_records = limit;
    Mixed m(TlsRole::Client, records, "TLS_AES_256_GCM_SHA384", settings);
    settle(m.ours, m.theirs);
    REQUIRE(m.ours.tls->established());
    static thread_local int updates;
    updates = 0;
    SSL_set_msg_callback(m.theirs.ssl.get(), [](int writing, int, int type, const void* data, size_t n, SSL*, void*) {
        if (writing == 0 && type == SSL3_RT_HANDSHAKE && n == 5 && *static_cast<const uint8_t*>(data) == SSL3_MT_KEY_UPDATE) ++updates;
    });
    std::string sent;
    for (int i = 0; i < 60; ++i) {
        const std::string text = pattern(static_cast<size_t>(i) * 1500);
        sent += text;
        m.ours.to_send = text;
        m.theirs.to_send = "x";
        settle(m.ours, m.theirs);
        REQUIRE_FALSE(m.theirs.failed);
    }
    CHECK(m.theirs.got == sent);
    CHECK(m.ours.got == std::string(60, 'x'));
    // About 230 records were needed; each key seals at most `limit`, its own farewell included.
    CHECK(updates >= static_cast<int>(200 / limit));
}

TEST_CASE("TLS session: key updates from OpenSSL are followed and answered when asked for") {
    const auto records = GENERATE(TlsRecords::Warren, TlsRecords::OpenSsl);
    const auto ask = GENERATE(SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED);
    Mixed m(TlsRole::Server, records, "TLS_AES_128_GCM_SHA256");
    settle(m.ours, m.theirs);
    for (int i = 0; i < 50; ++i) {
        REQUIRE(SSL_key_update(m.theirs.ssl.get(), ask) == 1);
        m.theirs.to_send = "ping";
        settle(m.ours, m.theirs);
        m.ours.to_send = "pong";
        settle(m.ours, m.theirs);
        REQUIRE_FALSE(m.ours.error.has_value());
        REQUIRE_FALSE(m.theirs.failed);
    }
    CHECK(m.ours.got.size() == 200);
    CHECK(m.theirs.got.size() == 200);
}

TEST_CASE("TLS session: nothing is resumed and no ticket is sent") {
    Mixed m(TlsRole::Server, TlsRecords::Warren, "TLS_AES_128_GCM_SHA256");
    static thread_local int tickets;
    tickets = 0;
    SSL_CTX_set_session_cache_mode(m.theirs.ctx.get(), SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(m.theirs.ctx.get(), [](SSL*, SSL_SESSION*) { return ++tickets, 0; });
    settle(m.ours, m.theirs);
    m.ours.to_send = m.theirs.to_send = "x";
    settle(m.ours, m.theirs);
    CHECK(m.theirs.got == "x");
    CHECK(tickets == 0);
}

TEST_CASE("TLS session: tickets of a stock OpenSSL server are ignored") {
    // The server end of SslEnd keeps OpenSSL's default of two tickets.
    Mixed m(TlsRole::Client, TlsRecords::Warren, "TLS_AES_128_GCM_SHA256");
    settle(m.ours, m.theirs);
    CHECK(SSL_get_num_tickets(m.theirs.ssl.get()) == 2);
    m.theirs.to_send = "after the tickets";
    settle(m.ours, m.theirs);
    CHECK(m.ours.got == "after the tickets");
}

TEST_CASE("TLS session: what is left of the input when the handshake ends belongs to the connection") {
    Pair p(alice(), bob(), {identity(kBob)});
    // The client's last flight and its first data reach the server in one piece.
    p.client.to_send = "early bird";
    settle(p.client, p.server);
    CHECK(p.server.got == "early bird");
}

TEST_CASE("TLS session: a peer that does not speak TLS is named") {
    ChunkPool chunks(1, 4);
    auto session = TlsSession::create(bob(), TlsRole::Server, {}, chunks, TlsRecords::Warren).value();
    std::string request = "GET / HTTP/1.1\r\n\r\n";
    const auto result = session->handshake({reinterpret_cast<uint8_t*>(request.data()), request.size()});
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().message().find("does not speak TLS") != std::string::npos);
    CHECK(result.error().message().find("GET /") != std::string::npos);
    CHECK_FALSE(session->handshake({reinterpret_cast<uint8_t*>(request.data()), request.size()}).has_value());
}

TEST_CASE("TLS session: a flood of handshake bytes ends before 64 KiB, an oversize record at its header") {
    ChunkPool chunks(1, 4);
    auto session = TlsSession::create(bob(), TlsRole::Server, {}, chunks, TlsRecords::Warren).value();
    SECTION("flood") {
        // A client hello that claims to go on and on: one message cut into many records.
        std::vector<uint8_t> record(5 + 1000, 0);
        record[0] = 22;
        record[1] = record[2] = 3;
        record[3] = 1000 >> 8;
        record[4] = 1000 & 0xff;
        std::vector<uint8_t> first = record;
        first[5] = 1;
        first[6] = 1;  // 128 KiB, which OpenSSL alone would take
        first[7] = 0xff;
        size_t taken = 0;
        base::Result<size_t> result = session->handshake(first);
        while (result.has_value() && taken < 200000) {
            taken += 1005;
            result = session->handshake(record);
        }
        REQUIRE_FALSE(result.has_value());
        CHECK(taken <= 65536);
        CHECK(result.error().code == base::Errc::Exhausted);
    }
    SECTION("oversize") {
        std::vector<uint8_t> header{22, 3, 1, 0x50, 0x00};
        const auto result = session->handshake(header);
        REQUIRE_FALSE(result.has_value());
        CHECK(result.error().message().find("too long") != std::string::npos);
    }
}

TEST_CASE("TLS session: an exhausted pool fails the handshake with that reason") {
    ChunkPool none(0, 0);
    auto session = TlsSession::create(alice(), TlsRole::Client, {}, none, TlsRecords::Warren).value();
    const auto result = session->handshake({});
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == base::Errc::Exhausted);
}

TEST_CASE("TLS session: TLS 1.2 is refused unless it is allowed, then it works through OpenSSL") {
    const bool allowed = GENERATE(false, true);
    TlsSettings settings;
    settings.tls12 = allowed;
    ChunkPool chunks(2, 8);
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    SslEnd old(false, fds.second.get(), ca(), kAlice, "", TLS1_2_VERSION);
    End ours;
    auto context = make_context(ca(), LeafSpec{.uris = {kBob}, .dns = {}, .eku = ""}, ca().pem(), settings);
    ours.tls = TlsSession::create(std::move(context), TlsRole::Server, {}, chunks, TlsRecords::Warren).value();
    ours.fd = fds.first.get();
    old.to_send = "old";
    settle(ours, old);
    CHECK(ours.tls->established() == allowed);
    CHECK(ours.got == (allowed ? "old" : ""));
    if (!allowed) CHECK_THAT(ours.error->message(), Catch::Contains("unsupported protocol"));
    ours.tls.reset();
}

TEST_CASE("TLS session: a post-quantum policy without such a library is refused clearly") {
    TlsSettings settings;
    settings.post_quantum_only = true;
    const auto context = TlsContext::create(ca().credential(LeafSpec{.uris = {kBob}, .dns = {}, .eku = ""}, ca().pem()), nullptr, settings);
    if (OPENSSL_VERSION_NUMBER < 0x30500000L) {
        REQUIRE_FALSE(context.has_value());
        CHECK(context.error().code == base::Errc::Unsupported);
        CHECK(context.error().message().find("X25519MLKEM768") != std::string::npos);
    } else {
        CHECK(context.has_value());
    }
}
