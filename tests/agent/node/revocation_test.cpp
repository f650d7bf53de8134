// SPDX-License-Identifier: Apache-2.0
#include "agent/node/revocation_file.h"

#include "base/bytes.h"
#include "base/small_file.h"
#include "proto/trust.pb.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace warren;
using node::RevocationFile;
using node::RevocationLists;
using tests::TestCa;

namespace {

RevocationLists lists_of(const std::string& pem) {
    auto lists = RevocationLists::parse(pem);
    REQUIRE(lists);
    return std::move(*lists);
}

class Next final : public xds::Handler {
  public:
    std::vector<xds::Rejection> apply(const xds::Update& update) override {
        types.emplace_back(update.type_url);
        return {{"its", "own"}};
    }
    void synced(std::string_view type_url) override { types.emplace_back("synced " + std::string(type_url)); }
    std::vector<std::string> types;
};

struct Fixture {
    TestCa ca{"a"}, other{"b"};
    tests::TempDir folder;
    std::string path = folder.file("crl.pem");
    Next next;
    std::unique_ptr<RevocationFile> file = std::make_unique<RevocationFile>(path, next);

    std::vector<xds::Rejection> give(const std::string& pem) {
        warren::trust::v1::RevocationLists message;
        message.set_pem(pem);
        return give_bytes(message.SerializeAsString());
    }
    std::vector<xds::Rejection> give_bytes(const std::string& body) {
        return file->apply({xds::kRevocationType, {{"revocation-lists", "1", base::as_bytes(body)}}, {}, {}});
    }
    // Until the file has it and the status says so.
    void wait(const std::string& content, size_t serials) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (base::read_small_file(path, 1 << 20).value_or("") != content || file->status().serials != serials) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            std::this_thread::yield();
        }
    }
};

}  // namespace

TEST_CASE("revocation lists: PEM with any number of lists, or nothing; anything else is an error") {
    const TestCa a("a"), b("b");
    const RevocationLists both = lists_of(a.crl_pem({1, 2}) + b.crl_pem({3}, false, 100));
    CHECK(both.size() == 2);
    CHECK(both.serials() == 3);
    const auto age = base::RealClock().wall() - both.issued();
    CHECK(age >= std::chrono::seconds(99));
    CHECK(age < std::chrono::seconds(3600));
    CHECK(lists_of("").size() == 0);
    CHECK(lists_of(" \n").issued() == base::WallTime{});
    CHECK_FALSE(RevocationLists::parse("a remark"));
    CHECK_FALSE(RevocationLists::parse(a.pem()));
    std::string damaged = a.crl_pem({1});
    damaged[damaged.size() / 2] ^= 0x15;
    CHECK_FALSE(RevocationLists::parse(damaged));
    CHECK_FALSE(RevocationLists::parse(a.crl_pem({1}) + damaged));
    CHECK_FALSE(RevocationLists::parse(std::string(RevocationLists::kMaxBytes + 1, '\n')));
}

TEST_CASE("revocation lists: only an older one of the same issuer takes back what it lacks") {
    const TestCa a("a"), b("b");
    const RevocationLists held = lists_of(a.crl_pem({1, 2}, false, 100));
    CHECK(lists_of(a.crl_pem({2}, false, 200)).takes_back(held) == "the list of O=a is older than the one in force and lacks serial 01");
    CHECK_FALSE(lists_of(a.crl_pem({1, 2, 3}, false, 200)).takes_back(held));
    CHECK_FALSE(lists_of(a.crl_pem({}, false, 50)).takes_back(held));
    CHECK_FALSE(lists_of(b.crl_pem({}, false, 200)).takes_back(held));
    CHECK_FALSE(lists_of("").takes_back(held));
}

TEST_CASE_METHOD(Fixture, "revocation file: lists come into the file, other types go on to the next handler") {
    CHECK(file->status().lists == 0);
    const std::string pem = ca.crl_pem({1, 2});
    CHECK(give(pem).empty());
    wait(pem, 2);
    CHECK(file->apply({xds::kAddressType, {}, {}, {}}).size() == 1);
    file->synced(xds::kRevocationType);
    file->synced(xds::kAddressType);
    CHECK(next.types == std::vector<std::string>{std::string(xds::kAddressType), "synced " + std::string(xds::kAddressType)});
    CHECK((std::filesystem::status(path).permissions() & std::filesystem::perms::mask) == std::filesystem::perms(0644));
}

TEST_CASE_METHOD(Fixture, "revocation file: what does not read, is older or is gone leaves it as it is") {
    const std::string pem = ca.crl_pem({1, 2}, false, 100);
    CHECK(give(pem).empty());
    wait(pem, 2);
    CHECK(give("-----BEGIN X509 CRL-----\nbroken\n-----END X509 CRL-----\n").size() == 1);
    CHECK(give_bytes("\xff\xff").size() == 1);
    CHECK(give(ca.crl_pem({2}, false, 200)).size() == 1);
    CHECK(file->status().error.find("lacks serial 01") != std::string::npos);
    file->apply({xds::kRevocationType, {}, {"revocation-lists"}, {}});
    CHECK(file->status().refused == 4);
    CHECK(base::read_small_file(path, 1 << 20).value() == pem);
    // The next good one counts, and clears the complaint.
    const std::string newer = ca.crl_pem({1, 2, 3}, false, 50);
    CHECK(give(newer).empty());
    wait(newer, 3);
    CHECK(file->status().error.empty());
}

TEST_CASE_METHOD(Fixture, "revocation file: an agent that begins anew knows what the file holds") {
    const std::string pem = ca.crl_pem({1, 2}, false, 100);
    CHECK(give(pem).empty());
    wait(pem, 2);
    file = std::make_unique<RevocationFile>(path, next);
    CHECK(file->status().serials == 2);
    CHECK(give(ca.crl_pem({}, false, 200)).size() == 1);
    CHECK(base::read_small_file(path, 1 << 20).value() == pem);
    // One that does not read is said, and replaced.
    REQUIRE(base::replace_small_file(path, "rubbish"));
    file = std::make_unique<RevocationFile>(path, next);
    CHECK(file->status().refused == 1);
    CHECK(give(pem).empty());
    wait(pem, 2);
}
