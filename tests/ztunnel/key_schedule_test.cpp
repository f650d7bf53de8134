// SPDX-License-Identifier: Apache-2.0
// Vectors: RFC 8448 section 3.
#include "ztunnel/key_schedule.h"

#include "base/bytes.h"
#include "tests/catch.h"

#include <numeric>
#include <string>
#include <vector>

using namespace warren;
using namespace warren::ztunnel;

namespace {

std::vector<uint8_t> hex(std::string_view text) {
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
}

const char* const kClientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const char* const kServerSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

std::string expand(const char* secret, std::string_view label, const char* context, size_t n) {
    std::vector<uint8_t> out(n);
    REQUIRE(expand_label(TlsHash::Sha256, hex(secret), label, hex(context), out));
    return base::to_hex(out);
}

}  // namespace

TEST_CASE("key schedule: labels expand as in the published handshake trace") {
    CHECK(expand(kClientSecret, "key", "", 16) == "17422dda596ed5d9acd890e3c63f5051");
    CHECK(expand(kClientSecret, "iv", "", 12) == "5b78923dee08579033e523d9");
    CHECK(expand(kServerSecret, "key", "", 16) == "9f02283b6c9c07efc26bb9f2ac92e356");
    CHECK(expand(kServerSecret, "iv", "", 12) == "cf782b88dd83549aadf1e984");
    // With a context: the master secret to the client's application secret, over the transcript hash.
    CHECK(expand("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919", "c ap traffic",
                 "9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13", 32) == kClientSecret);
}

TEST_CASE("key schedule: more than one hash of output is refused") {
    std::vector<uint8_t> out(33);
    CHECK_FALSE(expand_label(TlsHash::Sha256, hex(kClientSecret), "key", {}, out));
    CHECK(expand_label(TlsHash::Sha384, hex(kClientSecret), "key", {}, out));
}

TEST_CASE("key schedule: records are sealed byte for byte as in the published trace, by every engine") {
    const auto engine = GENERATE(CipherEngine::Evp, CipherEngine::IpsecMb);
    if (engine == CipherEngine::IpsecMb && !make_ipsec_mb_key()) return;
    TrafficKey key;
    REQUIRE(key.install({Aead::Aes128Gcm, TlsHash::Sha256}, Direction::Seal, hex(kClientSecret)));
    key.records().set_engine(engine);
    std::vector<uint8_t> record(5 + 50 + 1 + 16);
    std::iota(record.begin() + 5, record.begin() + 55, uint8_t{0});
    record[55] = 23;
    REQUIRE(key.records().seal(record.data(), 51));
    CHECK(base::to_hex(record) ==
          "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae6"
          "3aee"
          "bb21694915e4");
    // The trace's second record of the client: close_notify.
    std::vector<uint8_t> alert(5 + 2 + 1 + 16);
    alert[5] = 1;
    alert[6] = 0;
    alert[7] = 21;
    REQUIRE(key.records().seal(alert.data(), 3));
    CHECK(base::to_hex(alert) == "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3");
    CHECK(key.records().sequence() == 2);

    TrafficKey opener;
    REQUIRE(opener.install({Aead::Aes128Gcm, TlsHash::Sha256}, Direction::Open, hex(kClientSecret)));
    opener.records().set_engine(engine);
    REQUIRE(opener.records().open(record));
    CHECK(record[5] == 0);
    CHECK(record[54] == 49);
    CHECK(record[55] == 23);
}

TEST_CASE("key schedule: a secret of the wrong length makes no key") {
    TrafficKey key;
    CHECK_FALSE(key.install({Aead::Aes256Gcm, TlsHash::Sha384}, Direction::Seal, hex(kClientSecret)));
    CHECK(suite_of(0x1301)->aead == Aead::Aes128Gcm);
    CHECK(suite_of(0x1302)->hash == TlsHash::Sha384);
    CHECK_FALSE(suite_of(0x1303).has_value());
}

TEST_CASE("key schedule: an update makes another key and starts the sequence over") {
    TrafficKey a, b;
    const TlsSuite suite{Aead::Aes128Gcm, TlsHash::Sha256};
    REQUIRE(a.install(suite, Direction::Seal, hex(kServerSecret)));
    std::vector<uint8_t> first(5 + 1 + 16), second(5 + 1 + 16), third(5 + 1 + 16);
    REQUIRE(a.records().seal(first.data(), 1));
    REQUIRE(a.update());
    CHECK(a.records().sequence() == 0);
    REQUIRE(a.records().seal(second.data(), 1));
    CHECK(first != second);
    // The next secret is HKDF-Expand-Label(secret, "traffic upd", "", 32).
    std::vector<uint8_t> next(32);
    REQUIRE(expand_label(TlsHash::Sha256, hex(kServerSecret), "traffic upd", {}, next));
    REQUIRE(b.install(suite, Direction::Seal, next));
    REQUIRE(b.records().seal(third.data(), 1));
    CHECK(second == third);
}
