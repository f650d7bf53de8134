// SPDX-License-Identifier: Apache-2.0
#include "agent/node/page.h"

#include "base/http_request.h"
#include "tests/catch.h"

#include <string>

using warren::base::HttpHead;
using warren::base::HttpRequest;
using warren::node::page_answer;
using warren::node::refuse_foreign_page;

namespace {

bool refused(const std::string& method, const std::string& host, const std::string& origin, bool loopback) {
    HttpRequest request;
    request.method = method;
    request.host = host;
    request.origin = origin;
    const auto answer = refuse_foreign_page(request, loopback);
    if (answer) CHECK(answer->status == 403);
    return answer.has_value();
}

}  // namespace

TEST_CASE("page: every file is inside the program and names its type") {
    REQUIRE(page_answer("/"));
    CHECK(page_answer("/")->content_type == "text/html; charset=utf-8");
    CHECK(page_answer("/")->body.find("<!doctype html>") == 0);
    CHECK(page_answer("/page.css")->content_type == "text/css; charset=utf-8");
    for (const auto& file : warren::node::page_files()) {
        CHECK(file.bytes.find("SPDX-License-Identifier") != std::string_view::npos);
        CHECK(page_answer("/" + std::string(file.name))->body == file.bytes);
    }
    CHECK_FALSE(page_answer("/page"));
    CHECK_FALSE(page_answer("/../page.js"));
}

TEST_CASE("page: on loopback a client names the port by address or as localhost") {
    for (const char* host : {"", "127.0.0.1:15030", "127.0.0.1", "localhost", "localhost:8080", "[::1]:15030", "[::1]"})
        CHECK_FALSE(refused("GET", host, "", true));
    for (const char* host : {"evil.example", "evil.example:15030", "localhost.evil.example", "127.0.0.1.evil.example", ":", "[", "[::1"})
        CHECK(refused("GET", host, "", true));
    CHECK_FALSE(refused("GET", "node-1.cluster:15030", "", false));
}

TEST_CASE("page: no web page changes anything") {
    CHECK(refused("POST", "localhost", "https://evil.example", true));
    CHECK(refused("POST", "localhost", "null", false));
    CHECK_FALSE(refused("POST", "localhost", "", true));
    CHECK_FALSE(refused("GET", "localhost", "http://localhost", true));
}

TEST_CASE("page: host and origin come from the head, and answers carry their headers") {
    const HttpHead head = warren::base::parse_http_head("GET / HTTP/1.1\r\nHost: a:1\r\nOrigin: http://b\r\n\r\n");
    REQUIRE(head.state == HttpHead::State::Complete);
    CHECK(head.request.host == "a:1");
    CHECK(head.request.origin == "http://b");
    CHECK(warren::base::parse_http_head("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n").status == 400);
    warren::base::HttpResponse answer;
    warren::node::add_page_headers(answer);
    const std::string wire = warren::base::to_wire(answer, false, true);
    CHECK(wire.find("\r\ncontent-security-policy: default-src 'none';") != std::string::npos);
    CHECK(wire.find("\r\nx-content-type-options: nosniff\r\n") != std::string::npos);
}
