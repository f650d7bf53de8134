// SPDX-License-Identifier: Apache-2.0
// Foreign bytes as an HTTP request. What is taken is within its bounds, and more bytes never change a head that was complete.
#include "base/http_request.h"
#include "base/gzip.h"

#include <cstdlib>
#include <string>

using namespace warren::base;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const HttpHead head = parse_http_head(bytes);
    if (accepts_gzip(bytes) && bytes.find_first_of("gG*") == std::string_view::npos) std::abort();
    if (head.state == HttpHead::State::NeedMore && size >= kMaxHttpHead) std::abort();
    if (head.state == HttpHead::State::Refused && head.status < 400) std::abort();
    if (head.state != HttpHead::State::Complete) return 0;
    if (head.consumed == 0 || head.consumed > size || head.consumed > 2 * kMaxHttpHead || head.body > kMaxHttpBody) std::abort();
    if (!head.request.path.starts_with('/') || head.request.method.empty()) std::abort();
    if (head.request.parameter("level") && head.request.query.empty()) std::abort();
    const HttpHead again = parse_http_head(std::string(bytes.substr(0, head.consumed)) + "GET / HTTP/1.1\r\n\r\n");
    if (again.state != HttpHead::State::Complete || again.consumed != head.consumed || again.request.path != head.request.path)
        std::abort();
    const std::string shorter(bytes.substr(0, head.consumed - 1));
    if (parse_http_head(shorter).state == HttpHead::State::Complete) std::abort();
    return 0;
}
