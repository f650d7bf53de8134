// SPDX-License-Identifier: Apache-2.0
// Who is let in (data-plane contract 4.4): each row shakes hands for real.
#include "tests/catch.h"
#include "tests/ztunnel/tls_ends.h"
#include "ztunnel/crl.h"

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {

const TestCa& root() {
    static const TestCa ca("root one");
    return ca;
}
const TestCa& other_root() {
    static const TestCa ca("root two");
    return ca;
}
LeafSpec of(std::vector<std::string> uris) { return LeafSpec{.uris = std::move(uris), .dns = {}, .eku = ""}; }

std::shared_ptr<const RevocationList> crl(const std::string& pem) { return RevocationList::parse(pem).value(); }

struct Outcome {
    std::string client, server;  // errors, empty when there is none
    std::string seen_by_server, seen_by_client;
};
Outcome shake(std::shared_ptr<const TlsContext> client, std::shared_ptr<const TlsContext> server,
              const std::vector<std::string>& expected) {
    std::vector<policy::Identity> identities;
    for (const auto& uri : expected) identities.push_back(identity(uri));
    Pair p(std::move(client), std::move(server), identities);
    settle(p.client, p.server);
    Outcome outcome;
    if (p.client.error) outcome.client = p.client.error->message();
    if (p.server.error) outcome.server = p.server.error->message();
    if (p.client.tls->established()) outcome.seen_by_client = p.client.tls->peer().identity.uri();
    if (p.server.tls->established()) outcome.seen_by_server = p.server.tls->peer().identity.uri();
    return outcome;
}
std::shared_ptr<const TlsContext> plain(const std::string& uri) { return make_context(root(), of({uri}), root().pem()); }

const std::string kElsewhere = "spiffe://other.example/ns/prod/sa/alice";

}  // namespace

TEST_CASE("TLS verification: the expected identity is accepted, whichever of the list it is") {
    const auto out = shake(plain(kAlice), plain(kBob), {kElsewhere, kBob});
    CHECK(out.client.empty());
    CHECK(out.server.empty());
    CHECK(out.seen_by_client == kBob);
    CHECK(out.seen_by_server == kAlice);
}

TEST_CASE("TLS verification: a server that is somebody else is refused, naming both") {
    const auto out = shake(plain(kAlice), plain(kBob), {kAlice});
    CHECK_THAT(out.client, Catch::Contains(std::string("expected '") + kAlice) && Catch::Contains(std::string("presented '") + kBob));
    CHECK_THAT(out.server, Catch::Contains("peer refused"));
}

TEST_CASE("TLS verification: an empty list of expected identities accepts nobody") {
    CHECK_THAT(shake(plain(kAlice), plain(kBob), {}).client, Catch::Contains("no identity is expected"));
}

TEST_CASE("TLS verification: any of the server's names may be the expected one, the first is who it is") {
    const auto server = make_context(root(), of({"spiffe://cluster.local/ns/prod/sa/first", "https://x/", kBob}), root().pem());
    const auto out = shake(plain(kAlice), server, {kBob});
    CHECK(out.client.empty());
    CHECK(out.seen_by_client == "spiffe://cluster.local/ns/prod/sa/first");
}

TEST_CASE("TLS verification: a client of another trust domain is refused unless it is an alias") {
    const auto client = make_context(root(), of({kElsewhere}), root().pem());
    const auto refused = shake(client, plain(kBob), {kBob});
    CHECK_THAT(refused.server, Catch::Contains("trust domain 'cluster.local'") && Catch::Contains(kElsewhere));
    // A client of TLS 1.3 is done before it is refused, and learns it from an alert.
    CHECK_THAT(refused.client, Catch::Contains("bad_certificate"));
    TlsSettings settings;
    settings.trust_domains = policy::TrustDomains({"other.example"});
    const auto accepted = shake(client, make_context(root(), of({kBob}), root().pem(), settings), {kBob});
    CHECK(accepted.server.empty());
    CHECK(accepted.seen_by_server == kElsewhere);
}

TEST_CASE("TLS verification: names that are not SPIFFE identities do not count") {
    ChunkPool chunks(2, 8);
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    const std::string name = GENERATE("", "https://cluster.local/ns/prod/sa/bob", "spiffe://cluster.local/ns/prod");
    // The plain side takes any certificate as its own; Warren's contexts refuse to start without an identity.
    End client;
    const std::vector<policy::Identity> expected{identity(kBob)};
    client.tls = TlsSession::create(plain(kAlice), TlsRole::Client, expected, chunks, TlsRecords::Warren).value();
    client.fd = fds.first.get();
    const LeafSpec spec{.uris = name.empty() ? std::vector<std::string>{} : std::vector<std::string>{name}, .dns = {"bob.prod"}, .eku = ""};
    const Leaf leaf = root().leaf(spec);
    SslEnd server(true, fds.second.get(), root(), "");
    const BioPtr cert(BIO_new_mem_buf(leaf.cert_pem.data(), -1)), key(BIO_new_mem_buf(leaf.key_pem.data(), -1));
    const X509Ptr x(PEM_read_bio_X509(cert.get(), nullptr, nullptr, nullptr));
    const KeyPtr k(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    REQUIRE(SSL_use_certificate(server.ssl.get(), x.get()) == 1);
    REQUIRE(SSL_use_PrivateKey(server.ssl.get(), k.get()) == 1);
    settle(client, server);
    REQUIRE(client.error.has_value());
    CHECK_THAT(client.error->message(), Catch::Contains("presented " + (name.empty() ? "no URI name" : "'" + name + "'")));
    client.tls.reset();
}

TEST_CASE("TLS verification: a context without a SPIFFE identity is refused") {
    const auto context = TlsContext::create(root().credential(LeafSpec{.uris = {}, .dns = {"x"}, .eku = ""}, root().pem()), nullptr, {});
    REQUIRE_FALSE(context.has_value());
    CHECK_THAT(context.error().message(), Catch::Contains("spiffe://"));
}

TEST_CASE("TLS verification: cert_expiration: certificates outside their time are refused on both sides") {
    const auto expired =
        make_context(root(), LeafSpec{.uris = {kBob}, .dns = {}, .not_before = -7200, .not_after = -3600, .eku = ""}, root().pem());
    const auto early =
        make_context(root(), LeafSpec{.uris = {kBob}, .dns = {}, .not_before = 3600, .not_after = 7200, .eku = ""}, root().pem());
    CHECK_THAT(shake(plain(kAlice), expired, {kBob}).client, Catch::Contains("expired") && Catch::Contains(kBob));
    CHECK_THAT(shake(plain(kAlice), early, {kBob}).client, Catch::Contains("not yet valid"));
    const auto out = shake(expired, plain(kAlice), {kAlice});
    CHECK_THAT(out.server, Catch::Contains("expired"));
    CHECK_THAT(out.client, Catch::Contains("certificate_expired"));
}

TEST_CASE("TLS verification: multi_root: only the anchors of the own certificate count, several during a rotation") {
    const auto stranger = make_context(other_root(), of({kBob}), root().pem() + other_root().pem());
    CHECK_THAT(shake(plain(kAlice), stranger, {kBob}).client, Catch::Contains("not among the trust anchors"));
    const auto rotating = make_context(root(), of({kAlice}), root().pem() + other_root().pem());
    const auto out = shake(rotating, stranger, {kBob});
    CHECK(out.client.empty());
    CHECK(out.server.empty());
}

TEST_CASE("TLS verification: multi_root: two roots of one name are told apart by what they signed, in either order") {
    // Certificates of tests name no key of their issuer, as those of some authorities.
    const TestCa before("one name"), after("one name");
    const TestCa middle("middle", &after);
    for (const std::string& roots : {before.pem() + after.pem(), after.pem() + before.pem()}) {
        const auto old = make_context(before, of({kAlice}), roots), renewed = make_context(after, of({kBob}), roots);
        const auto below = make_context(middle, of({kBob}), roots);
        for (const auto& server : {renewed, below}) {
            const auto out = shake(old, server, {kBob});
            CHECK(out.client.empty());
            CHECK(out.server.empty());
        }
        Pair p(old, below, {identity(kBob)});
        settle(p.client, p.server);
        REQUIRE(p.client.tls->established());
        CHECK(old->recheck(p.client.tls->peer().chain_der, std::chrono::system_clock::now()));
        const TestCa impostor("one name");
        CHECK_THAT(shake(old, make_context(impostor, of({kBob}), roots), {kBob}).client, Catch::Contains("not among the trust anchors"));
    }
}

TEST_CASE("TLS verification: intermediates are sent and followed, and may be anchors themselves") {
    const TestCa middle("middle", &root());
    const auto server = make_context(middle, of({kBob}), root().pem());
    Pair p(plain(kAlice), server, {identity(kBob)});
    settle(p.client, p.server);
    REQUIRE(p.client.tls->established());
    CHECK(p.client.tls->peer().chain_der.size() == 2);
    CHECK(shake(make_context(middle, of({kAlice}), middle.pem()), server, {kBob}).client.empty());
}

TEST_CASE("TLS verification: extended key usage counts when there is one") {
    const auto with = [](const char* eku) { return make_context(root(), LeafSpec{.uris = {kBob}, .dns = {}, .eku = eku}, root().pem()); };
    CHECK(shake(plain(kAlice), with("serverAuth,clientAuth"), {kBob}).client.empty());
    CHECK(shake(with("clientAuth"), plain(kBob), {kBob}).server.empty());
    CHECK_FALSE(shake(plain(kAlice), with("clientAuth"), {kBob}).client.empty());
    CHECK_FALSE(shake(with("serverAuth"), plain(kBob), {kBob}).server.empty());
}

TEST_CASE(
    "TLS verification: outbound_rejects_revoked_server_cert, crl_outbound_rejects_revoked_cert and _inbound: a revoked leaf is refused "
    "both ways, by an expired list too") {
    const bool expired = GENERATE(false, true);
    const auto list = crl(root().crl_pem({77, 78}, expired));
    const auto revoked = make_context(root(), LeafSpec{.uris = {kBob}, .dns = {}, .eku = "", .serial = 77}, root().pem());
    const auto careful = make_context(root(), of({kAlice}), root().pem(), {}, list);
    CHECK_THAT(shake(careful, revoked, {kBob}).client, Catch::Contains("revoked") && Catch::Contains(kBob));
    const auto out = shake(revoked, careful, {kAlice});
    CHECK_THAT(out.server, Catch::Contains("revoked"));
    CHECK_THAT(out.client, Catch::Contains("certificate_revoked"));
    CHECK(shake(careful, plain(kBob), {kBob}).client.empty());
}

TEST_CASE("TLS verification: outbound_rejects_revoked_intermediate_cert: a revoked intermediate takes everything under it along") {
    const TestCa middle("middle", &root(), 501);
    const auto server = make_context(middle, of({kBob}), root().pem());
    const auto careful = make_context(root(), of({kAlice}), root().pem(), {}, crl(root().crl_pem({501})));
    CHECK_THAT(shake(careful, server, {kBob}).client, Catch::Contains("revoked"));
    // A list of another authority of that serial says nothing.
    const auto unconcerned = make_context(root(), of({kAlice}), root().pem(), {}, crl(other_root().crl_pem({501})));
    CHECK(shake(unconcerned, server, {kBob}).client.empty());
}

TEST_CASE("TLS verification: a list that names the certificate under a wrong signature refuses too") {
    const TestCa impostor("root one");  // same name, other key
    const auto revoked = make_context(root(), LeafSpec{.uris = {kBob}, .dns = {}, .eku = "", .serial = 88}, root().pem());
    const auto careful = make_context(root(), of({kAlice}), root().pem(), {}, crl(impostor.crl_pem({88})));
    CHECK_THAT(shake(careful, revoked, {kBob}).client, Catch::Contains("signature does not verify"));
}

TEST_CASE("TLS verification: live connections are judged again by a new list and new roots, not by the clock") {
    const TestCa middle("middle", &root(), 601);
    Pair p(plain(kAlice), make_context(middle, LeafSpec{.uris = {kBob}, .dns = {}, .eku = "", .serial = 99}, root().pem()),
           {identity(kBob)});
    settle(p.client, p.server);
    REQUIRE(p.client.tls->established());
    const auto& chain = p.client.tls->peer().chain_der;
    const auto now = std::chrono::system_clock::now();
    const auto judge = [&](const std::string& roots, std::shared_ptr<const RevocationList> list) {
        const auto result = make_context(root(), of({kAlice}), roots, {}, std::move(list))->recheck(chain, now);
        return result ? std::string() : result.error().message();
    };
    CHECK(judge(root().pem(), nullptr).empty());
    CHECK(judge(root().pem(), crl(middle.crl_pem({98}))).empty());
    CHECK_THAT(judge(root().pem(), crl(middle.crl_pem({99}))), Catch::Contains("revoked"));
    CHECK_THAT(judge(root().pem(), crl(root().crl_pem({601}))), Catch::Contains("revoked"));
    CHECK_THAT(judge(other_root().pem(), nullptr), Catch::Contains("trust anchors"));
    const auto context = plain(kAlice);
    CHECK_FALSE(context->recheck(chain, now + std::chrono::hours(48)).has_value());
    CHECK_FALSE(context->recheck({}, now).has_value());
    CHECK_FALSE(context->recheck({"junk"}, now).has_value());
    // Its certificate has expired since: it lives on.
    const auto old = root().leaf(LeafSpec{.uris = {kBob}, .dns = {}, .not_before = -7200, .not_after = -3600, .eku = ""});
    CHECK(context->recheck({pem_to_der(old.cert_pem)}, now - std::chrono::seconds(5000)).has_value());
}

TEST_CASE("TLS verification: a client without a certificate is refused") {
    ChunkPool chunks(2, 8);
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    SslEnd client(false, fds.second.get(), root(), "");
    End server;
    server.tls = TlsSession::create(plain(kBob), TlsRole::Server, {}, chunks, TlsRecords::Warren).value();
    server.fd = fds.first.get();
    settle(server, client);
    REQUIRE(server.error.has_value());
    CHECK_THAT(server.error->message(), Catch::Contains("did not return a certificate"));
    CHECK(client.failed);
    server.tls.reset();
}

TEST_CASE("TLS verification: a client of other protocols is refused, one that names none is accepted") {
    ChunkPool chunks(2, 8);
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    const std::string offer = GENERATE(std::string(), std::string("\x08http/1.1"), std::string("\x08http/1.1\x02h2"));
    SslEnd client(false, fds.second.get(), root(), kAlice);
    if (!offer.empty())
        SSL_set_alpn_protos(client.ssl.get(), reinterpret_cast<const unsigned char*>(offer.data()), static_cast<unsigned>(offer.size()));
    End server;
    server.tls = TlsSession::create(plain(kBob), TlsRole::Server, {}, chunks, TlsRecords::Warren).value();
    server.fd = fds.first.get();
    settle(server, client);
    if (offer.size() == 9) {
        REQUIRE(server.error.has_value());
        CHECK_THAT(server.error->message(), Catch::Contains("'http/1.1'") && Catch::Contains("'h2'"));
    } else {
        CHECK(server.tls->established());
    }
    server.tls.reset();
}

TEST_CASE("TLS verification: the client offers h2 and sends no server name") {
    ChunkPool chunks(2, 8);
    base::FdPair fds = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK).value();
    SslEnd server(true, fds.second.get(), root(), kBob);
    static thread_local std::string offered;
    offered.clear();
    SSL_CTX_set_alpn_select_cb(
        server.ctx.get(),
        [](SSL*, const unsigned char** out, unsigned char* n, const unsigned char* in, unsigned int size, void*) {
            offered.assign(reinterpret_cast<const char*>(in), size);
            *out = in + 1;
            *n = in[0];
            return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    End client;
    const std::vector<policy::Identity> expected{identity(kBob)};
    client.tls = TlsSession::create(plain(kAlice), TlsRole::Client, expected, chunks, TlsRecords::Warren).value();
    client.fd = fds.first.get();
    settle(client, server);
    CHECK(client.tls->established());
    CHECK(offered == "\x02h2");
    CHECK(SSL_get_servername(server.ssl.get(), TLSEXT_NAMETYPE_host_name) == nullptr);
    client.tls.reset();
}
