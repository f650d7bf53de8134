// SPDX-License-Identifier: Apache-2.0
#include "base/gzip.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <zlib.h>

namespace warren::base {
namespace {

constexpr size_t kWorthIt = 1024;  // less fits one packet anyway
constexpr size_t kStep = 64 * 1024;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
bool same(std::string_view a, std::string_view wanted) {
    return std::equal(a.begin(), a.end(), wanted.begin(), wanted.end(), [](char x, char y) { return lower(x) == y; });
}

std::string_view trim(std::string_view text) {
    const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
    return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

std::string_view take(std::string_view& rest, char until) {
    const size_t end = std::min(rest.find(until), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return trim(part);
}

// "q=0", "Q=0.000": not wanted. Whatever else stands there is some weight.
bool is_zero_weight(std::string_view parameter) {
    std::string_view value = parameter;
    return same(take(value, '='), "q") && !value.empty() && value.find_first_not_of("0. \t") == std::string_view::npos;
}

std::optional<std::string> gzip(std::string_view text) {
    z_stream z{};
    // Level 1: a tenth of the time of the default, and metrics repeat themselves so much that the size is nearly the same.
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return std::nullopt;
    std::string out;
    int state = Z_OK;
    while (state == Z_OK) {
        if (z.avail_in == 0 && !text.empty()) {
            const std::string_view part = text.substr(0, size_t{1} << 30);  // zlib counts in 32 bits
            z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
            z.avail_in = static_cast<uInt>(part.size());
            text.remove_prefix(part.size());
        }
        const size_t have = out.size();
        out.resize(have + kStep);
        z.next_out = reinterpret_cast<Bytef*>(out.data() + have);
        z.avail_out = kStep;
        state = deflate(&z, text.empty() ? Z_FINISH : Z_NO_FLUSH);
        out.resize(have + kStep - z.avail_out);
    }
    deflateEnd(&z);
    return state == Z_STREAM_END ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace

bool accepts_gzip(std::string_view rest) noexcept {
    bool any = false;  // "*", where gzip is not named
    while (!rest.empty()) {
        std::string_view entry = take(rest, ',');
        const std::string_view coding = take(entry, ';');
        bool wanted = true;
        while (!entry.empty()) wanted = !is_zero_weight(take(entry, ';')) && wanted;
        if (same(coding, "gzip") || same(coding, "x-gzip")) return wanted;
        if (coding == "*") any = wanted;
    }
    return any;
}

void gzip_if_accepted(const HttpRequest& request, HttpResponse& response) {
    response.headers.emplace_back("vary", "accept-encoding");
    if (response.body.size() < kWorthIt || !accepts_gzip(request.accept_encoding)) return;
    auto packed = gzip(response.body);
    if (!packed) return;
    response.body = *std::move(packed);
    response.headers.emplace_back("content-encoding", "gzip");
}

}  // namespace warren::base
