// SPDX-License-Identifier: Apache-2.0
#include "base/http_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace warren::base {
namespace {

bool is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}
bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

bool same(std::string_view a, std::string_view lower) {
    return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
               return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + ('a' - 'A')) : x) == y;
           });
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<int> hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += plus_is_space && text[i] == '+' ? ' ' : text[i];
            continue;
        }
        const auto high = i + 2 < text.size() ? hex(text[i + 1]) : std::nullopt;
        const auto low = i + 2 < text.size() ? hex(text[i + 2]) : std::nullopt;
        if (!high || !low) return std::nullopt;
        out += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return out;
}

HttpHead refused(int status) {
    HttpHead head;
    head.state = HttpHead::State::Refused;
    head.status = status;
    return head;
}

// Takes the next line off the front; it ends with CRLF, or LF alone (RFC 9112 section 2.2).
std::string_view take_line(std::string_view& rest) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

// 0, or the status to refuse with.
int read_request_line(std::string_view line, HttpRequest& to) {
    const size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return 400;
    const std::string_view version = line.substr(last + 1);
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return version.starts_with("HTTP/") ? 505 : 400;
    to.method = line.substr(0, first);
    std::string_view target = line.substr(first + 1, last - first - 1);
    const bool graphic = std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (!is_token(to.method) || !graphic) return 400;
    if (target.starts_with("http://")) {
        const size_t slash = target.find('/', 7);
        target = slash == std::string_view::npos ? "/" : target.substr(slash);
    }
    if (!target.starts_with('/')) return 400;
    const size_t question = target.find('?');
    auto path = decode(target.substr(0, question), false);
    if (!path) return 400;
    to.path = *std::move(path);
    if (question != std::string_view::npos) to.query = target.substr(question + 1);
    to.keep_alive = version == "HTTP/1.1";
    return 0;
}

int read_length(std::string_view value, std::optional<size_t>& length) {
    size_t n = 0;
    const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (failed == std::errc::result_out_of_range) return 413;
    if (failed != std::errc() || end != value.data() + value.size() || (length && *length != n)) return 400;
    length = n;
    return n > kMaxHttpBody ? 413 : 0;
}

int read_header(std::string_view line, HttpHead& head, std::optional<size_t>& length) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return 400;
    const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
    if (std::any_of(value.begin(), value.end(), [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f; })) return 400;
    if (same(name, "content-length")) return read_length(value, length);
    if (same(name, "transfer-encoding")) return 501;
    if (same(name, "expect")) {
        head.expects_100 = same(value, "100-continue");
        return head.expects_100 ? 0 : 417;
    }
    if (same(name, "accept") || same(name, "accept-encoding")) {
        std::string& accept = name.size() == 6 ? head.request.accept : head.request.accept_encoding;
        accept.append(accept.empty() ? "" : ", ").append(value);
    }
    // Two names of one host are no request (RFC 9112 section 3.2).
    if (same(name, "host") && !std::exchange(head.request.host, std::string(value)).empty()) return 400;
    if (same(name, "origin")) head.request.origin = value;
    if (!same(name, "connection")) return 0;
    for (std::string_view rest = value; !rest.empty();) {
        const size_t comma = std::min(rest.find(','), rest.size());
        const std::string_view word = trim(rest.substr(0, comma));
        if (same(word, "close")) head.request.keep_alive = false;
        if (same(word, "keep-alive")) head.request.keep_alive = true;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    return 0;
}

// The length of the head with its empty line; 0: not there yet.
size_t head_size(std::string_view bytes) {
    for (size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
        const std::string_view next = bytes.substr(at + 1);
        if (next.starts_with('\n')) return at + 2;
        if (next.starts_with("\r\n")) return at + 3;
    }
    return 0;
}

std::string_view phrase(int status) {
    switch (status) {
        case 200: return "OK";
        case 400: return "Bad Request";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 413: return "Content Too Large";
        case 417: return "Expectation Failed";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 505: return "HTTP Version Not Supported";
        default: return "";
    }
}

}  // namespace

std::optional<std::string> HttpRequest::parameter(std::string_view name) const {
    for (std::string_view rest = query; !rest.empty();) {
        const size_t end = std::min(rest.find('&'), rest.size());
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const size_t equals = std::min(pair.find('='), pair.size());
        if (decode(pair.substr(0, equals), true) != name) continue;
        return decode(pair.substr(std::min(equals + 1, pair.size())), true).value_or(std::string(pair));
    }
    return std::nullopt;
}

HttpHead parse_http_head(std::string_view bytes) {
    size_t skipped = 0;  // empty lines before a request (RFC 9112 section 2.2)
    while (bytes.substr(skipped).starts_with("\r\n")) skipped += 2;
    std::string_view rest = bytes.substr(skipped);
    const size_t size = head_size(rest.substr(0, kMaxHttpHead));
    if (size == 0) return bytes.size() >= kMaxHttpHead ? refused(431) : HttpHead{};
    rest = rest.substr(0, size);

    HttpHead head;
    if (const int status = read_request_line(take_line(rest), head.request); status != 0) return refused(status);
    std::optional<size_t> length;
    size_t count = 0;
    for (std::string_view line = take_line(rest); !line.empty(); line = take_line(rest)) {
        if (++count > kMaxHttpHeaders) return refused(431);
        if (const int status = read_header(line, head, length); status != 0) return refused(status);
    }
    head.state = HttpHead::State::Complete;
    head.consumed = skipped + size;
    head.body = length.value_or(0);
    return head;
}

std::string to_wire(const HttpResponse& r, bool head_only, bool keep_alive) {
    std::string out = "HTTP/1.1 " + std::to_string(r.status) + ' ';
    out.append(phrase(r.status)).append("\r\ncontent-type: ").append(r.content_type);
    out.append("\r\ncontent-length: ").append(std::to_string(r.body.size())).append("\r\n");
    if (!r.allow.empty()) out.append("allow: ").append(r.allow).append("\r\n");
    for (const auto& [name, value] : r.headers) out.append(name).append(": ").append(value).append("\r\n");
    out += keep_alive ? "\r\n" : "connection: close\r\n\r\n";
    if (!head_only) out += r.body;
    return out;
}

}  // namespace warren::base
