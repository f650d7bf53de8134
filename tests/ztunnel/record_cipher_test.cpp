// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/record_cipher.h"

#include "tests/catch.h"

#include <algorithm>
#include <memory>
#include <vector>

using namespace warren::ztunnel;

namespace {

std::vector<uint8_t> key_of(uint8_t n) { return std::vector<uint8_t>(32, n); }
constexpr size_t kSizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, kMaxPlaintext, kMaxPlaintext + 1};
constexpr std::array<uint8_t, kRecordIv> kIv{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

std::vector<uint8_t> sealed(RecordKey& key, size_t inner) {
    std::vector<uint8_t> record(kRecordHeader + inner + kRecordTag, 0x42);
    REQUIRE(key.seal(record.data(), inner));
    return record;
}

}  // namespace

TEST_CASE("record cipher: every engine passes its self-test and the best is chosen") {
    CHECK(self_test(CipherEngine::Evp));
    const bool fast = make_ipsec_mb_key() != nullptr;
    CHECK(self_test(CipherEngine::IpsecMb) == fast);
    CHECK(cipher_engine() == (fast ? CipherEngine::IpsecMb : CipherEngine::Evp));
}

TEST_CASE("record cipher: the engine can be chosen, and one the machine lacks is refused by name") {
    const CipherEngine before = cipher_engine();
    REQUIRE(choose_cipher_engine(CipherEngine::Evp));
    CHECK(cipher_engine() == CipherEngine::Evp);
    const auto fast = choose_cipher_engine(CipherEngine::IpsecMb);
    CHECK(fast.has_value() == (make_ipsec_mb_key() != nullptr));
    if (!fast) CHECK(fast.error().message().find("AVX2") != std::string::npos);
    REQUIRE(choose_cipher_engine(before));
}

TEST_CASE("record cipher: engines open each other's records at every size around the block borders") {
    const auto aead = GENERATE(Aead::Aes128Gcm, Aead::Aes256Gcm);
    const CipherEngine other = make_ipsec_mb_key() ? CipherEngine::IpsecMb : CipherEngine::Evp;
    RecordKey a, b;
    a.set(aead, Direction::Seal, key_of(7), kIv);
    a.set_engine(CipherEngine::Evp);
    b.set(aead, Direction::Open, key_of(7), kIv);
    b.set_engine(other);
    for (const size_t n : kSizes) {
        auto record = sealed(a, n);
        REQUIRE(b.open(record));
        CHECK(std::vector<uint8_t>(record.begin() + 5, record.begin() + 5 + static_cast<long>(n)) == std::vector<uint8_t>(n, 0x42));
    }
}

TEST_CASE("record cipher: a changed header, body or tag does not open and leaves no plaintext") {
    const auto engine = GENERATE(CipherEngine::Evp, CipherEngine::IpsecMb);
    if (engine == CipherEngine::IpsecMb && !make_ipsec_mb_key()) return;
    for (const size_t at : {size_t{1}, size_t{5}, size_t{60}, size_t{105}, size_t{120}}) {
        RecordKey seal, open;
        seal.set(Aead::Aes128Gcm, Direction::Seal, key_of(1), kIv);
        open.set(Aead::Aes128Gcm, Direction::Open, key_of(1), kIv);
        seal.set_engine(engine);
        open.set_engine(engine);
        auto record = sealed(seal, 100);
        record[at] ^= 0x10;
        CHECK_FALSE(open.open(record));
        CHECK(std::count(record.begin() + 5, record.begin() + 105, 0) == 100);
    }
}

TEST_CASE("record cipher: more keys than the cache holds go on working, each with its own sequence") {
    constexpr size_t kKeys = kExpandedKeys * 2 + 3;
    std::vector<std::unique_ptr<RecordKey>> seals, opens;
    for (size_t i = 0; i < kKeys; ++i) {
        seals.push_back(std::make_unique<RecordKey>());
        opens.push_back(std::make_unique<RecordKey>());
        seals[i]->set(Aead::Aes128Gcm, Direction::Seal, key_of(static_cast<uint8_t>(i)), kIv);
        opens[i]->set(Aead::Aes128Gcm, Direction::Open, key_of(static_cast<uint8_t>(i)), kIv);
    }
    for (int round = 0; round < 3; ++round)
        for (size_t i = 0; i < kKeys; ++i) {
            auto record = sealed(*seals[i], 40);
            REQUIRE(opens[i]->open(record));
            if (i % 7 == 0 && round == 1) {  // freed places are used again
                seals[i]->set(Aead::Aes256Gcm, Direction::Seal, key_of(9), kIv);
                opens[i]->set(Aead::Aes256Gcm, Direction::Open, key_of(9), kIv);
            }
        }
    CHECK(opens[1]->sequence() == 3);
}
