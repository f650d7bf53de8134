// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/credential.h"

#include "tests/catch.h"
#include "tests/ztunnel/tls_ends.h"

#include <filesystem>
#include <fstream>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {
std::string refusal(const std::vector<std::string>& chain, const std::string& key) {
    const auto credential = Credential::parse(chain, key);
    return credential ? "" : credential.error().message();
}
}  // namespace

TEST_CASE("credential: test_workload_cert: leaf, intermediates and roots as the certificate service sends them") {
    const TestCa root("root"), next("next"), middle("middle", &root);
    const Leaf leaf = middle.leaf(LeafSpec{.uris = {kBob}, .dns = {}, .not_before = -1000, .not_after = 3000, .eku = "", .serial = 4711});
    // Only the first block of an element counts, except in the last one.
    const auto credential = Credential::parse({leaf.cert_pem + next.pem(), middle.pem(), root.pem() + next.pem()}, leaf.key_pem).value();
    CHECK(credential->identity().uri() == kBob);
    REQUIRE(credential->chain().size() == 2);
    CHECK(credential->roots().size() == 2);
    CHECK(credential->chain()[0].serial_decimal == "4711");
    CHECK(credential->chain()[0].pem == leaf.cert_pem);
    CHECK(credential->not_after() - credential->not_before() == std::chrono::seconds(4000));
    CHECK(credential->renew_at() - credential->not_before() == std::chrono::seconds(2000));
}

TEST_CASE("credential: roots that do not parse are left out and counted, none at all is an error") {
    const TestCa root("root");
    const Leaf leaf = root.leaf(kBob);
    const std::string junk = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    const auto credential = Credential::parse({leaf.cert_pem, junk + root.pem()}, leaf.key_pem).value();
    CHECK(credential->roots().size() == 1);
    CHECK(credential->skipped_roots() == 1);
    CHECK_THAT(refusal({leaf.cert_pem, junk}, leaf.key_pem), Catch::Contains("root bundle"));
}

TEST_CASE("credential: what does not fit together is refused by name") {
    const TestCa root("root");
    const Leaf leaf = root.leaf(kBob), other = root.leaf(kAlice);
    CHECK_THAT(refusal({}, leaf.key_pem), Catch::Contains("empty"));
    CHECK_THAT(refusal({leaf.cert_pem}, leaf.key_pem), Catch::Contains("one element"));
    CHECK_THAT(refusal({leaf.cert_pem, root.pem()}, other.key_pem), Catch::Contains("does not belong"));
    CHECK_THAT(refusal({leaf.cert_pem, root.pem()}, "no key"), Catch::Contains("private key"));
    CHECK_THAT(refusal({"no certificate", root.pem()}, leaf.key_pem), Catch::Contains("leaf certificate"));
    CHECK_THAT(refusal({leaf.cert_pem, "?", root.pem()}, leaf.key_pem), Catch::Contains("intermediate certificate 1"));
    const std::string locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END ENCRYPTED PRIVATE KEY-----\n";
    CHECK_THAT(refusal({leaf.cert_pem, root.pem()}, locked), Catch::Contains("without a password"));
    // Nothing of a key is ever part of an error.
    CHECK(refusal({leaf.cert_pem, root.pem()}, other.key_pem).find("BEGIN") == std::string::npos);
}

TEST_CASE("credential: files hold a chain, a key and roots") {
    const TestCa root("root"), middle("middle", &root);
    const Leaf leaf = middle.leaf(kBob);
    const auto folder = std::filesystem::temp_directory_path() / ("warren-credential-" + std::to_string(::getpid()));
    std::filesystem::create_directory(folder);
    const auto file = [&](const char* name, const std::string& text) {
        std::ofstream(folder / name) << text;
        return (folder / name).string();
    };
    const auto credential = Credential::parse_files(file("chain.pem", leaf.cert_pem + middle.pem()), file("key.pem", leaf.key_pem),
                                                    file("root.pem", root.pem()));
    REQUIRE(credential.has_value());
    CHECK((*credential)->chain().size() == 2);
    CHECK((*credential)->roots().size() == 1);
    const auto missing =
        Credential::parse_files((folder / "absent").string(), (folder / "key.pem").string(), (folder / "root.pem").string());
    REQUIRE_FALSE(missing.has_value());
    CHECK_THAT(missing.error().message(), Catch::Contains("absent"));
    std::filesystem::remove_all(folder);
}

TEST_CASE("credential: test_csr: a request has a fresh P-256 key, no subject and one critical URI, and is signed") {
    const policy::Identity who = identity(kBob);
    auto made = make_certificate_request(who).value();
    const BioPtr bio(BIO_new_mem_buf(made.csr_pem.data(), -1)), key_bio(BIO_new_mem_buf(made.key_pem.data(), -1));
    const X509ReqPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
    const KeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
    REQUIRE(request);
    REQUIRE(key);
    CHECK(made.key_pem.rfind("-----BEGIN PRIVATE KEY-----", 0) == 0);
    CHECK(X509_REQ_verify(request.get(), key.get()) == 1);
    CHECK(X509_REQ_get_signature_nid(request.get()) == NID_ecdsa_with_SHA256);
    char group[64] = {};
    EVP_PKEY_get_utf8_string_param(key.get(), "group", group, sizeof group, nullptr);
    CHECK(std::string(group) == "prime256v1");
    CHECK(X509_NAME_entry_count(X509_REQ_get_subject_name(request.get())) == 0);
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
    REQUIRE(sk_X509_EXTENSION_num(extensions) == 1);
    X509_EXTENSION* extension = sk_X509_EXTENSION_value(extensions, 0);
    CHECK(OBJ_obj2nid(X509_EXTENSION_get_object(extension)) == NID_subject_alt_name);
    CHECK(X509_EXTENSION_get_critical(extension) == 1);
    const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(extension)));
    REQUIRE(sk_GENERAL_NAME_num(names.get()) == 1);
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
    REQUIRE(name->type == GEN_URI);
    CHECK(std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier))) == kBob);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    CHECK(make_certificate_request(who).value().key_pem != made.key_pem);
    CHECK_FALSE(make_certificate_request({}).has_value());
}
