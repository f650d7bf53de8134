// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/http.h"

#include <curl/curl.h>

#include <cerrno>
#include <memory>
#include <mutex>

namespace warren::tools {
namespace {

using base::Errc;
using base::Error;

struct Receiver {
    HttpReply reply;
    size_t max = 0;
    bool too_large = false;
};

size_t take_body(char* data, size_t size, size_t count, void* to) {
    auto& r = *static_cast<Receiver*>(to);
    if (r.reply.body.size() + size * count > r.max) {
        r.too_large = true;
        return 0;
    }
    r.reply.body.append(data, size * count);
    return size * count;
}

size_t take_header(char* data, size_t size, size_t count, void* to) {
    std::string_view line(data, size * count);
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() > 6 && (line.starts_with("date: ") || line.starts_with("Date: ")))
        static_cast<Receiver*>(to)->reply.date = line.substr(6);
    return size * count;
}

Error failure(CURLcode code, const HttpAsk& ask, const Receiver& receiver, long os) {
    if (receiver.too_large)
        return Error{Errc::Exhausted, 0, "",
                     "the answer of " + ask.address + ask.path + " is larger than " + std::to_string(ask.max_body) + " bytes"};
    if (code == CURLE_OPERATION_TIMEDOUT)
        return Error{Errc::Timeout, 0, "", ask.address + " gave no whole answer within " + std::to_string(ask.deadline.count()) + " ms"};
    if (code == CURLE_URL_MALFORMAT) return base::invalid("\"" + ask.address + "\" is no address; give HOST:PORT or unix:/PATH");
    if (os == EACCES || os == EPERM) return base::os_error_of(static_cast<int>(os), "connect", ask.address);
    return Error{Errc::Unavailable, static_cast<int>(os), "", ask.address + ": " + curl_easy_strerror(code)};
}

}  // namespace

base::Result<HttpReply> http_ask(const HttpAsk& ask) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    const std::unique_ptr<CURL, void (*)(CURL*)> handle(curl_easy_init(), curl_easy_cleanup);
    if (!handle) return Error{Errc::Internal, 0, "", "libcurl did not start"};
    CURL* curl = handle.get();
    Receiver receiver;
    receiver.max = ask.max_body;
    const bool local = ask.address.starts_with("unix:");
    const std::string url = "http://" + (local ? std::string("localhost") : ask.address) + ask.path;
    if (local) curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, ask.address.substr(5).c_str());
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(ask.deadline.count()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &receiver);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &receiver);
    if (ask.post) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
    }
    if (const CURLcode code = curl_easy_perform(curl); code != CURLE_OK) {
        long os = 0;
        curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
        return failure(code, ask, receiver, os);
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &receiver.reply.status);
    return std::move(receiver.reply);
}

std::string url_escape(const std::string& text) {
    const std::unique_ptr<char, void (*)(void*)> made(curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
    return made ? made.get() : "";
}

}  // namespace warren::tools
