// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/watched_roots.h"

#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using ztunnel::WatchedRoots;

TEST_CASE("watched roots: static_cert_is_never_dirty") {
    const TestCa ca("roots");
    const auto roots = WatchedRoots::from_setting(ca.pem(), nullptr);
    REQUIRE(roots);
    CHECK_FALSE((*roots)->take_dirty());
    CHECK((*roots)->load()->find("BEGIN CERTIFICATE") != std::string::npos);
}

TEST_CASE("watched roots: file_cert_starts_clean, and root_cert_manager_dirty_flag_api: take_dirty_and_make_dirty_work") {
    const TestCa ca("roots");
    const TempDir dir;
    const std::string path = dir.write("root.pem", ca.pem());
    auto watcher = base::FileWatcher::create({.settle = 10ms, .look = 60s, .max_files = 4});
    REQUIRE(watcher);
    const auto roots = WatchedRoots::from_setting(path, watcher->get());
    REQUIRE(roots);
    CHECK_FALSE((*roots)->take_dirty());
    (*roots)->make_dirty();
    CHECK((*roots)->take_dirty());
    CHECK_FALSE((*roots)->take_dirty());
    dir.replace("root.pem", ca.pem() + ca.pem());
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    bool dirty = false;
    while (!(dirty = (*roots)->take_dirty()) && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    CHECK(dirty);
}

TEST_CASE("watched roots: roots that cannot be used are errors, one damaged among good ones is not") {
    const TestCa ca("roots");
    const TempDir dir;
    CHECK_FALSE(WatchedRoots::from_setting("/does/not/exist.pem", nullptr));
    CHECK_FALSE(WatchedRoots::from_setting("", nullptr));
    const auto file = WatchedRoots::from_setting(dir.write("root.pem", "nothing here"), nullptr);
    REQUIRE(file);
    CHECK((*file)->load().error().message().find(dir.file("root.pem")) != std::string::npos);
    dir.write("root.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + ca.pem());
    CHECK((*file)->load());
    std::filesystem::remove(dir.file("root.pem"));
    CHECK((*file)->load().error().code == base::Errc::NotFound);
}

TEST_CASE("watched roots: SYSTEM is the bundle of the system") {
    const TestCa ca("roots");
    const TempDir dir;
    REQUIRE(::setenv("SSL_CERT_FILE", dir.write("bundle.pem", ca.pem()).c_str(), 1) == 0);
    const auto roots = WatchedRoots::from_setting("SYSTEM", nullptr);
    REQUIRE(roots);
    CHECK(*(*roots)->load() == ca.pem());
    ::unsetenv("SSL_CERT_FILE");
}
