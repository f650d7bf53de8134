// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/crl_watcher.h"

#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <condition_variable>
#include <mutex>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using base::FileWatcher;
using ztunnel::CrlWatcher;

namespace {

struct Crl {
    Crl() {
        auto made = FileWatcher::create({.settle = 10ms, .look = 60s, .max_files = 4});
        REQUIRE(made);
        files = std::move(*made);
    }
    void start() {
        auto made = CrlWatcher::start(*files, dir.file("crl.pem"), [this](auto list) {
            const std::lock_guard lock(mutex);
            published.push_back(std::move(list));
            changed.notify_all();
        });
        REQUIRE(made);
        watcher = std::move(*made);
    }
    bool wait_published(size_t n) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, 20s, [&] { return published.size() >= n; });
    }
    bool wait_stats(const std::function<bool(const CrlWatcher::Stats&)>& good) {
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        while (!good(watcher->stats())) {
            if (std::chrono::steady_clock::now() >= deadline) return false;
            std::this_thread::yield();
        }
        return true;
    }

    TempDir dir;
    TestCa ca{"crl test"};
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::shared_ptr<const ztunnel::RevocationList>> published;
    std::unique_ptr<FileWatcher> files;
    std::unique_ptr<CrlWatcher> watcher;
};

}  // namespace

TEST_CASE("crl watcher: test_crl_manager: read at the start, and again when it changes") {
    Crl c;
    const Leaf leaf = c.ca.leaf(LeafSpec{.uris = {}, .dns = {}, .eku = "", .serial = 77});
    c.dir.write("crl.pem", c.ca.crl_pem({1}));
    c.start();
    REQUIRE(c.wait_published(1));
    CHECK_FALSE(c.published[0]->mentions(pem_to_der(leaf.cert_pem)));
    c.dir.replace("crl.pem", c.ca.crl_pem({1, 77}));
    REQUIRE(c.wait_published(2));
    CHECK(c.published[1]->mentions(pem_to_der(leaf.cert_pem)));
    CHECK(c.watcher->stats().loaded == 2);
}

TEST_CASE("crl watcher: missing at the start is read when it comes, through the links of a projected volume") {
    Crl c;
    c.start();
    CHECK(c.published.empty());
    CHECK(c.watcher->stats().unreadable == 1);
    c.dir.project("crl.pem", c.ca.crl_pem({1}));
    CHECK(c.wait_published(1));
    CHECK_FALSE(c.watcher->stats().disabled);
}

TEST_CASE("crl watcher: malformed at the start turns it off for good") {
    Crl c;
    c.dir.write("crl.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    c.start();
    CHECK(c.watcher->stats().disabled);
    CHECK(c.watcher->stats().malformed == 1);
    c.dir.replace("crl.pem", c.ca.crl_pem({1}));
    REQUIRE(c.wait_stats([&](const auto&) { return c.files->changes() >= 1; }));
    c.watcher.reset();  // waits for the callback
    CHECK(c.published.empty());
}

TEST_CASE("crl watcher: malformed or missing later keeps the list in force and is counted") {
    Crl c;
    c.dir.write("crl.pem", c.ca.crl_pem({1}));
    c.start();
    REQUIRE(c.wait_published(1));
    c.dir.replace("crl.pem", "no list");
    REQUIRE(c.wait_stats([](const auto& s) { return s.malformed == 1; }));
    std::filesystem::remove(c.dir.file("crl.pem"));
    REQUIRE(c.wait_stats([](const auto& s) { return s.unreadable == 1; }));
    CHECK(c.published.size() == 1);
    CHECK_FALSE(c.watcher->stats().disabled);
    c.dir.write("crl.pem", "");  // empty: revokes nobody, and is a list
    CHECK(c.wait_published(2));
}
