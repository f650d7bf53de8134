// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/verified_chains.h"

#include "tests/catch.h"
#include "tests/ztunnel/tls_ends.h"
#include "ztunnel/crl.h"
#include "ztunnel/tls_library.h"
#include "ztunnel/tls_verify.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {

X509Ptr certificate(const std::string& pem) { return parse_certificate(pem_to_der(pem)).value(); }

// What is presented, as OpenSSL hands it over in a handshake.
struct Presented {
    X509Ptr leaf;
    X509ChainPtr sent{sk_X509_new_null()};
    X509StorePtr anchors;
    X509StoreCtxPtr ctx{X509_STORE_CTX_new()};

    Presented(const Leaf& shown, const std::vector<std::string>& intermediates, const std::string& root)
        : leaf(certificate(shown.cert_pem)) {
        for (const auto& pem : intermediates) sk_X509_push(sent.get(), certificate(pem).release());
        std::vector<X509Ptr> roots;
        roots.push_back(certificate(root));
        anchors = make_anchor_store(roots).value();
        REQUIRE(X509_STORE_CTX_init(ctx.get(), anchors.get(), leaf.get(), sent.get()) == 1);
    }
};

std::vector<std::string> names(X509_STORE_CTX* ctx) {
    std::vector<std::string> found;
    for (int i = 0; i < sk_X509_num(X509_STORE_CTX_get0_chain(ctx)); ++i)
        found.push_back(to_der(sk_X509_value(X509_STORE_CTX_get0_chain(ctx), i)));
    return found;
}

X509Ptr self_signed(EVP_PKEY* key) {
    X509Ptr made(X509_new());
    X509_gmtime_adj(X509_getm_notBefore(made.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 60);
    REQUIRE(X509_set_pubkey(made.get(), key) == 1);
    const bool plain = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
    REQUIRE(X509_sign(made.get(), key, plain ? nullptr : EVP_sha256()) > 0);
    return made;
}

}  // namespace

TEST_CASE("verified chains: what passed is known again with the same chain, and nothing else is") {
    const TestCa root("root"), middle("middle", &root);
    const Leaf leaf = middle.leaf(kAlice), other = middle.leaf(kAlice);
    VerifiedChains known;
    Presented first(leaf, {middle.pem()}, root.pem());
    CHECK_FALSE(known.recall(first.ctx.get()));
    REQUIRE(verify_chain(first.ctx.get()));
    known.remember(first.ctx.get());

    Presented again(leaf, {middle.pem()}, root.pem());
    REQUIRE(known.recall(again.ctx.get()));
    CHECK(names(again.ctx.get()) == names(first.ctx.get()));
    CHECK(names(again.ctx.get()).size() == 3);
    CHECK(X509_STORE_CTX_get0_chain(again.ctx.get()) != X509_STORE_CTX_get0_chain(first.ctx.get()));

    Presented bare(leaf, {}, root.pem()), twice(leaf, {middle.pem(), middle.pem()}, root.pem()),
        stranger(other, {middle.pem()}, root.pem());
    CHECK_FALSE(known.recall(bare.ctx.get()));
    CHECK_FALSE(known.recall(twice.ctx.get()));
    CHECK_FALSE(known.recall(stranger.ctx.get()));
}

TEST_CASE("verified chains: a chain is known while all of it is valid") {
    const TestCa root("root");
    const Leaf leaf = root.leaf(LeafSpec{.uris = {kAlice}, .dns = {}, .not_before = -100, .not_after = 100, .eku = ""});
    VerifiedChains known;
    Presented shown(leaf, {}, root.pem());
    REQUIRE(verify_chain(shown.ctx.get()));
    const time_t now = std::time(nullptr);
    for (const long away : {-200L, 200L}) {
        known.remember(shown.ctx.get());
        Presented in_time(leaf, {}, root.pem()), too_late(leaf, {}, root.pem()), afterwards(leaf, {}, root.pem());
        CHECK(known.recall(in_time.ctx.get(), now));
        CHECK_FALSE(known.recall(too_late.ctx.get(), now + away));
        CHECK_FALSE(known.recall(afterwards.ctx.get(), now));  // forgotten: it is verified again
    }
}

TEST_CASE("verified chains: revocation is looked up each time") {
    const TestCa root("root");
    const auto list = RevocationList::parse(root.crl_pem({91})).value();
    const auto careful = make_context(root, LeafSpec{.uris = {kAlice}, .dns = {}, .eku = ""}, root.pem(), {}, list);
    const auto revoked = make_context(root, LeafSpec{.uris = {kBob}, .dns = {}, .eku = "", .serial = 91}, root.pem());
    for (int round = 0; round < 3; ++round) {
        Pair p(careful, revoked, {identity(kBob)});
        settle(p.client, p.server);
        REQUIRE(p.client.error.has_value());
        CHECK_THAT(p.client.error->message(), Catch::Contains("revoked"));
    }
}

TEST_CASE("verified chains: whom a known chain names is looked at each time") {
    const TestCa root("root");
    const auto alice = make_context(root, kAlice), bob = make_context(root, kBob);
    for (int round = 0; round < 3; ++round) {
        Pair welcome(alice, bob, {identity(kBob)}), mistaken(alice, bob, {identity(kAlice)});
        settle(welcome.client, welcome.server);
        settle(mistaken.client, mistaken.server);
        CHECK(welcome.client.tls->established());
        CHECK(welcome.client.tls->peer().chain_der.size() == 1);
        REQUIRE(mistaken.client.error.has_value());
        CHECK_THAT(mistaken.client.error->message(), Catch::Contains("expected"));
    }
}

TEST_CASE("TLS library: keys of every kind that certificates of a mesh have are read, and verify") {
    const char* const kind = GENERATE("EC", "RSA", "ED25519", "ED448");
    INFO(kind);
    const KeyPtr key(std::string(kind) == "EC"    ? EVP_EC_gen("P-384")
                     : std::string(kind) == "RSA" ? EVP_RSA_gen(2048)
                                                  : EVP_PKEY_Q_keygen(nullptr, nullptr, kind));
    REQUIRE(key);
    const X509Ptr read = parse_certificate(to_der(self_signed(key.get()).get())).value();
    REQUIRE(X509_get0_pubkey(read.get()) != nullptr);
    CHECK(X509_verify(read.get(), X509_get0_pubkey(read.get())) == 1);
    CHECK(EVP_PKEY_eq(X509_get0_pubkey(read.get()), key.get()) == 1);
}

TEST_CASE("TLS library: where OpenSSL is slow to read keys, a context of its own is used") {
    const bool slow = OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 2;
    CHECK((tls_library() != nullptr) == slow);
}
