// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/channel.h"
#include "agent/xds/auth_source.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

using namespace warren;
using namespace warren::tests;

TEST_CASE("xds channel: addresses are https, with or without scheme and port, or a socket") {
    const auto authority = [](const char* address) {
        const auto made = xds::parse_endpoint(address);
        return made ? made->authority() : made.error().message();
    };
    CHECK(authority("https://istiod.istio-system.svc:15012") == "istiod.istio-system.svc:15012");
    CHECK(authority("istiod.istio-system.svc:15012") == "istiod.istio-system.svc:15012");
    CHECK(authority("https://istiod/") == "istiod:443");
    CHECK(authority("https://[::1]:15012") == "[::1]:15012");
    CHECK(authority("unix:/run/xds.sock") == "unix:/run/xds.sock");
    CHECK(authority("unix:///run/xds.sock") == "unix:/run/xds.sock");
    CHECK(authority("http://istiod:15010").find("only https") != std::string::npos);
    for (const char* bad :
         {"", "https://", ":1", "istiod:0", "istiod:65536", "istiod:+1", "istiod:1/x", "[::1", "[::1]1", "a b", "unix:x", "unix:"})
        CHECK(authority(bad).find("address '") != std::string::npos);
}

TEST_CASE("xds channel: a certificate's name covers the host itself, or one label by a star") {
    CHECK(xds::host_matches("istiod.istio-system.svc", "istiod.istio-system.svc"));
    CHECK(xds::host_matches("ISTIOD.svc", "istiod.SVC"));
    CHECK(xds::host_matches("istiod.svc.", "istiod.svc"));
    CHECK(xds::host_matches("*.istio-system.svc", "istiod.istio-system.svc"));
    CHECK_FALSE(xds::host_matches("*.istio-system.svc", "a.istiod.istio-system.svc"));
    CHECK_FALSE(xds::host_matches("*.istio-system.svc", "istio-system.svc"));
    CHECK_FALSE(xds::host_matches("*.istio-system.svc", ".istio-system.svc"));
    CHECK_FALSE(xds::host_matches("*.svc", "istiod.svc"));
    CHECK_FALSE(xds::host_matches("*", "istiod"));
    CHECK_FALSE(xds::host_matches("ist*.a.svc", "istiod.a.svc"));
    CHECK_FALSE(xds::host_matches("istiod.svc", "xistiod.svc"));
    CHECK_FALSE(xds::host_matches("", ""));
}

TEST_CASE("xds channel: headers that gRPC would abort on are errors") {
    CHECK(xds::check_header("x-tenant", "blue"));
    for (const char* name : {"", "Upper", "a b", ":path", "grpc-timeout", "x-bin"}) CHECK_FALSE(xds::check_header(name, "v"));
    CHECK_FALSE(xds::check_header("name", "a\nb"));
}

TEST_CASE("xds channel: tokens come from a file, a literal, the default file, in that order") {
    const TempDir dir;
    const std::string file = dir.write("token", "abc \r\n");
    const std::string fallback = dir.write("default", "def");
    CHECK(*xds::TokenSource::from_setting(file, fallback).read() == "abc");
    CHECK(*xds::TokenSource::from_setting("literal", fallback).read() == "literal");
    CHECK(*xds::TokenSource::from_setting("", fallback).read() == "def");
    CHECK(xds::TokenSource::from_setting("", dir.file("absent")).none());
    CHECK_FALSE(xds::TokenSource().read());
    for (const std::string& bad : {std::string(), std::string(" \n"), std::string("a b"), std::string(64 * 1024 + 1, 'x')}) {
        dir.write("token", bad);
        const auto token = xds::TokenSource::file(file).read();
        REQUIRE_FALSE(token);
        CHECK(token.error().message().find(file) != std::string::npos);
    }
    CHECK_FALSE(xds::TokenSource::file(dir.path()).read());
}

TEST_CASE("xds channel: roots come from a file, the setting itself, or the system") {
    const TempDir dir;
    const std::string pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    const std::string file = dir.write("root.pem", pem);
    CHECK(*xds::RootSource::from_setting("XDS_ROOT_CA", file)->load() == pem);
    CHECK(*xds::RootSource::from_setting("XDS_ROOT_CA", pem)->load() == pem);
    CHECK(xds::RootSource::from_setting("XDS_ROOT_CA", "SYSTEM"));
    const auto absent = xds::RootSource::from_setting("XDS_ROOT_CA", dir.file("absent"));
    REQUIRE_FALSE(absent);
    CHECK(absent.error().message().find("XDS_ROOT_CA") != std::string::npos);
    ::setenv("SSL_CERT_FILE", file.c_str(), 1);
    CHECK(*xds::RootSource::system().load() == pem);
    ::unsetenv("SSL_CERT_FILE");
    dir.write("root.pem", "nothing");
    CHECK(xds::RootSource::file(file).load().error().message().find(file) != std::string::npos);
    CHECK_FALSE(xds::RootSource().load());
}

TEST_CASE("xds channel: headers of the environment") {
    const char* environment[] = {"XDS_HEADER_X-Tenant=blue=1", "XDS_HEADER_=no", "OTHER=x", "XDS_HEADER_A=", "XDS_HEADER", nullptr};
    CHECK(xds::headers_from(environment, "XDS_HEADER_") == xds::Headers{{"a", ""}, {"x-tenant", "blue=1"}});
}
