// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/auth_source.h"

#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using ztunnel::RootSource;
using ztunnel::TokenSource;

TEST_CASE("auth source: a token from a file, literal, from the default place, or none") {
    const TempDir dir;
    const std::string given = dir.write("given", "from-file\n"), usual = dir.write("usual", "from-default \r\n\t");
    CHECK(*TokenSource::from_setting(given, usual).read() == "from-file");
    CHECK(*TokenSource::from_setting("literal-token", usual).read() == "literal-token");
    CHECK(*TokenSource::from_setting("", usual).read() == "from-default");
    CHECK(TokenSource::from_setting("", dir.file("missing")).none());
    CHECK_FALSE(TokenSource().read());
}

TEST_CASE("auth source: a token is read anew, and a bad one is an error that does not show it") {
    const TempDir dir;
    const auto token = TokenSource::file(dir.write("token", "one"));
    CHECK(*token.read() == "one");
    dir.replace("token", "two");
    CHECK(*token.read() == "two");
    for (const char* bad : {"", " \n", "secret with space", "secret\nsecond line", "secret\x01", "secr\xc3\xa9t"}) {
        dir.write("token", bad);
        const auto read = token.read();
        REQUIRE_FALSE(read);
        CHECK(read.error().message().find(dir.file("token")) != std::string::npos);
        CHECK(read.error().message().find("secr") == std::string::npos);
    }
    dir.write("token", std::string(70'000, 'x'));
    CHECK(token.read().error().code == base::Errc::Exhausted);
    std::filesystem::remove(dir.file("token"));
    CHECK(token.read().error().code == base::Errc::NotFound);
}

TEST_CASE("auth source: static_cert_is_never_dirty") {
    const TestCa ca("roots");
    const auto roots = RootSource::from_setting(ca.pem(), nullptr);
    REQUIRE(roots);
    CHECK_FALSE((*roots)->take_dirty());
    CHECK((*roots)->load()->find("BEGIN CERTIFICATE") != std::string::npos);
}

TEST_CASE("auth source: file_cert_starts_clean, and root_cert_manager_dirty_flag_api: take_dirty_and_make_dirty_work") {
    const TestCa ca("roots");
    const TempDir dir;
    const std::string path = dir.write("root.pem", ca.pem());
    auto watcher = base::FileWatcher::create({.settle = 10ms, .look = 60s, .max_files = 4});
    REQUIRE(watcher);
    const auto roots = RootSource::from_setting(path, watcher->get());
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

TEST_CASE("auth source: roots that cannot be used are errors, one damaged among good ones is not") {
    const TestCa ca("roots");
    const TempDir dir;
    CHECK_FALSE(RootSource::from_setting("/does/not/exist.pem", nullptr));
    CHECK_FALSE(RootSource::from_setting("", nullptr));
    const auto file = RootSource::from_setting(dir.write("root.pem", "nothing here"), nullptr);
    REQUIRE(file);
    CHECK((*file)->load().error().message().find(dir.file("root.pem")) != std::string::npos);
    dir.write("root.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + ca.pem());
    CHECK((*file)->load());
    std::filesystem::remove(dir.file("root.pem"));
    CHECK((*file)->load().error().code == base::Errc::NotFound);
}

TEST_CASE("auth source: SYSTEM is the bundle of the system") {
    const TestCa ca("roots");
    const TempDir dir;
    REQUIRE(::setenv("SSL_CERT_FILE", dir.write("bundle.pem", ca.pem()).c_str(), 1) == 0);
    const auto roots = RootSource::from_setting("SYSTEM", nullptr);
    REQUIRE(roots);
    CHECK(*(*roots)->load() == ca.pem());
    ::unsetenv("SSL_CERT_FILE");
}

TEST_CASE("auth source: headers from the environment") {
    const char* const environment[] = {"CA_HEADER_X-Tenant=blue", "PATH=/bin",      "CA_HEADER_=nameless",
                                       "CA_HEADER_A=x=y",         "XCA_HEADER_B=1", nullptr};
    const auto headers = ztunnel::headers_from(environment, "CA_HEADER_");
    REQUIRE(headers.size() == 2);
    CHECK(headers[0] == std::pair<std::string, std::string>("a", "x=y"));
    CHECK(headers[1] == std::pair<std::string, std::string>("x-tenant", "blue"));
}
