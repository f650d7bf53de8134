// SPDX-License-Identifier: Apache-2.0
#include "tests/ztunnel/cert_fakes.h"
#include "tests/ztunnel/mini_authority.h"
#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"
#include "ztunnel/certificate_text.h"
#include "ztunnel/crl.h"
#include "ztunnel/file_signer.h"
#include "ztunnel/local_signer.h"

#include <atomic>
#include <thread>

using namespace warren;
using namespace warren::tests;
using ztunnel::FileSigner;
using ztunnel::LocalSigner;

namespace {

const auto kSoon = [] { return std::chrono::steady_clock::now() + 10s; };

// As WARREN_LOCAL_CA wants them.
void write_authority(const TempDir& dir, const MiniAuthority& authority) {
    dir.write("ca.pem", authority.pem());
    dir.write("ca.key", authority.key_pem());
}

ztunnel::X509Ptr certificate_of(const std::string& pem) {
    auto made = ztunnel::parse_certificate(pem_to_der(pem));
    REQUIRE(made);
    return std::move(*made);
}

}  // namespace

TEST_CASE("local signer: a leaf for any identity, of an EC or an RSA authority") {
    const TempDir dir;
    const bool rsa = GENERATE(false, true);
    write_authority(dir, MiniAuthority(ztunnel::KeyPtr(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")), 365L * 86400));
    const base::RealClock clock;
    const auto signer = LocalSigner::load(dir.path(), clock, {});
    REQUIRE(signer);
    const auto made = (*signer)->sign(workload("web"), kSoon());
    REQUIRE(made);
    const ztunnel::Credential& credential = **made;
    CHECK(credential.identity() == workload("web"));
    REQUIRE(credential.chain().size() == 1);
    REQUIRE(credential.roots().size() == 1);
    const auto now = clock.wall();
    CHECK(credential.not_after() - credential.not_before() == 24h + 2min);
    CHECK(now - credential.not_before() >= 2min);
    CHECK(now - credential.not_before() < 3min);

    const auto leaf = certificate_of(credential.chain()[0].pem), root = certificate_of(credential.roots()[0].pem);
    CHECK(X509_verify(leaf.get(), X509_get0_pubkey(root.get())) == 1);
    CHECK(X509_NAME_entry_count(X509_get_subject_name(leaf.get())) == 0);
    CHECK(ztunnel::uri_names(leaf.get()) == std::vector<std::string>{"spiffe://cluster.local/ns/default/sa/web"});
    const int san = X509_get_ext_by_NID(leaf.get(), NID_subject_alt_name, -1);
    REQUIRE(san >= 0);
    CHECK(X509_EXTENSION_get_critical(X509_get_ext(leaf.get(), san)) == 1);
    CHECK(X509_check_ca(leaf.get()) == 0);
    CHECK(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_SERVER, 0) == 1);
    CHECK(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_CLIENT, 0) == 1);
    CHECK(EVP_PKEY_get_bits(X509_get0_pubkey(leaf.get())) == 256);

    const auto second = (*signer)->sign(workload("web"), kSoon());
    REQUIRE(second);
    CHECK((*second)->chain()[0].serial_decimal != credential.chain()[0].serial_decimal);
}

TEST_CASE("local signer: lifetime and back-dating as asked for, never past the end of the authority") {
    const TempDir dir;
    write_authority(dir, MiniAuthority(ztunnel::KeyPtr(EVP_EC_gen("P-256")), 3600));
    const base::RealClock clock;
    const auto brief = LocalSigner::load(dir.path(), clock, {.lifetime = 60s, .backdate = 5s});
    REQUIRE(brief);
    const auto made = (*brief)->sign(workload("a"), kSoon());
    REQUIRE(made);
    CHECK((*made)->not_after() - (*made)->not_before() == 65s);
    const auto eternal = LocalSigner::load(dir.path(), clock, {.lifetime = 24h, .backdate = 0s});
    REQUIRE(eternal);
    const auto cut = (*eternal)->sign(workload("a"), kSoon());
    REQUIRE(cut);
    CHECK((*cut)->not_after() == (*cut)->roots()[0].not_after);
    CHECK_FALSE(LocalSigner::load(dir.path(), clock, {.lifetime = 0s}));
}

TEST_CASE("local signer: what is wrong with the authority is said at the start, with the file's name") {
    const TempDir dir;
    const base::RealClock clock;
    const auto error = [&] {
        const auto made = LocalSigner::load(dir.path(), clock, {});
        return made ? std::string() : made.error().message();
    };
    CHECK(error().find("ca.pem") != std::string::npos);
    write_authority(dir, MiniAuthority());
    CHECK(error().empty());
    dir.write("ca.key", MiniAuthority().key_pem());
    CHECK(error().find("is not the key of") != std::string::npos);
    dir.write("ca.key", "rubbish");
    CHECK(error().find("ca.key is no private key") != std::string::npos);
    std::filesystem::remove(dir.file("ca.key"));
    CHECK(error().find("ca.key") != std::string::npos);
    write_authority(dir, MiniAuthority(ztunnel::KeyPtr(EVP_EC_gen("P-256")), 3600, false));
    CHECK(error().find("CA:TRUE") != std::string::npos);
    dir.write("ca.pem", "rubbish");
    CHECK(error().find("ca.pem holds no CERTIFICATE") != std::string::npos);
}

TEST_CASE("file signer: the certificate of the files, read anew, and the change is told") {
    const TempDir dir;
    const TestCa ca("files");
    const auto write = [&](const std::string& uri) {
        const Leaf leaf = ca.leaf(uri);
        dir.replace("key.pem", leaf.key_pem);
        dir.replace("cert.pem", leaf.cert_pem);
        dir.replace("root.pem", ca.pem());
    };
    auto watcher = base::FileWatcher::create({.settle = 10ms, .look = 60s, .max_files = 4});
    REQUIRE(watcher);
    std::atomic<int> told = 0;
    const auto signer = FileSigner::create({dir.file("cert.pem"), dir.file("key.pem"), dir.file("root.pem")}, **watcher);
    REQUIRE(signer);
    (*signer)->on_change([&] { ++told; });
    CHECK_FALSE((*signer)->sign(workload("web"), kSoon()));  // not there yet

    write(workload("web").uri());
    CHECK(wait_for([&] { return told > 0; }, [] { std::this_thread::yield(); }));
    const auto first = (*signer)->sign(workload("web"), kSoon());
    REQUIRE(first);
    CHECK((*first)->identity() == workload("web"));
    write(workload("web").uri());
    const auto second = (*signer)->sign(workload("web"), kSoon());
    REQUIRE(second);
    CHECK((*second)->chain()[0].serial_decimal != (*first)->chain()[0].serial_decimal);

    const auto stranger = (*signer)->sign(workload("db"), kSoon());
    REQUIRE_FALSE(stranger);
    CHECK(stranger.error().code == base::Errc::Denied);
    dir.replace("key.pem", ca.leaf(workload("web").uri()).key_pem);  // half of a rotation
    CHECK_FALSE((*signer)->sign(workload("web"), kSoon()));
}

TEST_CASE("local signer: the store makes of its certificates contexts for handshakes, anew when the revocation list is loaded") {
    const TempDir dir;
    write_authority(dir, MiniAuthority());
    const base::RealClock clock;
    const auto signer = LocalSigner::load(dir.path(), clock, {});
    REQUIRE(signer);
    Asker asker;
    const auto store = make_cert_store(**signer, clock, ztunnel::TlsSettings{}, ztunnel::CertStoreOptions{});
    const auto made = asker.get(*store, workload("web"));
    REQUIRE(made);
    CHECK((*made)->credential().identity() == workload("web"));
    const auto list = ztunnel::RevocationList::parse("");
    REQUIRE(list);
    store->set_revocation_list(*list);
    CHECK(asker.until([&] { return store->current(workload("web")) != *made; }));
    CHECK(store->current(workload("web"))->credential().chain()[0].serial_decimal == (*made)->credential().chain()[0].serial_decimal);
}
