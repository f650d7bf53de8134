// SPDX-License-Identifier: Apache-2.0
#include "base/gzip.h"

#include "tests/catch.h"

#include <algorithm>
#include <string>

#include <zlib.h>

using namespace warren::base;

namespace {

std::string unpacked(const std::string& packed, size_t room) {
    std::string out(room, '\0');
    z_stream z{};
    REQUIRE(inflateInit2(&z, 15 + 16) == Z_OK);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    z.avail_in = static_cast<uInt>(packed.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    CHECK(inflate(&z, Z_FINISH) == Z_STREAM_END);
    out.resize(z.total_out);
    inflateEnd(&z);
    return out;
}

// What no compression makes small.
std::string noise(size_t size) {
    std::string out(size, '\0');
    uint64_t state = 88172645463325252;
    for (char& c : out) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        c = static_cast<char>(state >> 56);
    }
    return out;
}

}  // namespace

TEST_CASE("gzip: what Accept-Encoding says") {
    const std::pair<const char*, bool> rows[] = {
        {"", false},
        {"gzip", true},
        {"GZip", true},
        {"x-gzip", true},
        {"deflate, gzip;q=1.0, *;q=0.5", true},
        {"br , gzip", true},
        {"zstd;q=0.9,gzip ; q=0.1", true},
        {"gzip;q=0", false},
        {"gzip; Q=0.000", false},
        {"gzip;q=0, *", false},
        {"*, gzip;q=0", false},
        {"*", true},
        {"*;q=0", false},
        {"identity", false},
        {"identity;q=0", false},
        {"gzipped", false},
        {",,;;=,", false},
        {"gzip;", true},
    };
    for (const auto& [text, wanted] : rows) {
        INFO(text);
        CHECK(accepts_gzip(text) == wanted);
    }
}

TEST_CASE("gzip: what comes out is what went in, whatever its size") {
    HttpRequest request;
    request.accept_encoding = "gzip";
    for (const size_t size : {size_t{1024}, size_t{65'536}, size_t{3'000'000}}) {
        for (const std::string& text : {noise(size), std::string(size, 'x')}) {
            HttpResponse response;
            response.body = text;
            gzip_if_accepted(request, response);
            CHECK(response.headers ==
                  std::vector<std::pair<std::string, std::string>>{{"vary", "accept-encoding"}, {"content-encoding", "gzip"}});
            CHECK(unpacked(response.body, size + 1) == text);
            if (text[0] == 'x') CHECK(response.body.size() < size / 10);
        }
    }
}

TEST_CASE("gzip: short answers and those who did not ask get the text") {
    HttpRequest request;
    HttpResponse response;
    response.body = std::string(5000, 'x');
    gzip_if_accepted(request, response);
    CHECK(response.body == std::string(5000, 'x'));
    CHECK(response.headers == std::vector<std::pair<std::string, std::string>>{{"vary", "accept-encoding"}});
    request.accept_encoding = "gzip";
    response.body = "ready\n";
    gzip_if_accepted(request, response);
    CHECK(response.body == "ready\n");
}
