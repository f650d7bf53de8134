// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/endpoint.h"

#include "base/bytes.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace warren::kube {

using base::Errc;
using base::Error;
using base::Result;

namespace {

constexpr auto kTokenAge = std::chrono::seconds(10);
constexpr unsigned kUnacknowledgedMs = 45'000;  // data or keep-alive probes that nobody answers

void init_curl() {
    static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);  // the first call may not race, so here
    static_cast<void>(once);
}

std::string trimmed(std::string text) {
    const size_t end = text.find_last_not_of(" \t\r\n");
    text.erase(end == std::string::npos ? 0 : end + 1);
    text.erase(0, text.find_first_not_of(" \t\r\n"));
    return text;
}

// HOST:PORT of a server that has passed kube_config.
std::string host_and_port(const std::string& server) {
    const bool https = server.starts_with("https://");
    std::string host = server.substr(https ? 8 : 7);
    host = host.substr(0, host.find('/'));
    const size_t bracket = host.rfind(']');
    if (host.find(':', bracket == std::string::npos ? 0 : bracket) == std::string::npos) host += https ? ":443" : ":80";
    return host;
}

struct Slist {
    curl_slist* list = nullptr;
    Slist() = default;
    Slist(const Slist&) = delete;
    Slist& operator=(const Slist&) = delete;
    ~Slist() { clear(); }
    void clear() { curl_slist_free_all(std::exchange(list, nullptr)); }
    bool add(const std::string& text) {
        curl_slist* const longer = curl_slist_append(list, text.c_str());
        if (longer != nullptr) list = longer;
        return longer != nullptr;
    }
};

}  // namespace

Result<std::shared_ptr<Endpoint>> Endpoint::create(KubeConfig config) {
    init_curl();
    std::shared_ptr<Endpoint> out(new Endpoint(std::move(config)));
    TRY(out->token());
    return out;
}

Result<std::string> Endpoint::token() {
    if (config_.token_file.empty()) return config_.token;
    const std::lock_guard lock(mutex_);
    const base::MonoTime now = std::chrono::steady_clock::now();
    if (!cached_.empty() && now - read_at_ < kTokenAge) return cached_;
    auto read = read_small_file(config_.token_file, size_t{64} << 10);
    if (!read && cached_.empty()) return std::move(read).error().with("token");
    if (read) {
        std::string text = trimmed(std::move(*read));
        const bool bad = text.empty() || std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; });
        if (bad && cached_.empty()) return base::invalid(config_.token_file + ": holds no token");
        if (!bad) cached_ = std::move(text);
    }
    read_at_ = now;
    return cached_;
}

void Endpoint::token_refused() {
    const std::lock_guard lock(mutex_);
    read_at_ = {};
}

struct Transfer::Impl {
    explicit Impl(std::shared_ptr<Endpoint> to) : endpoint(std::move(to)), curl(curl_easy_init()) {}
    ~Impl() { curl_easy_cleanup(curl); }

    template <class T>
    void set(CURLoption option, T value) {
        if (const CURLcode code = curl_easy_setopt(curl, option, value); code != CURLE_OK && failed == CURLE_OK) failed = code;
    }
    void set_pem(const Pem& pem, CURLoption blob_option, CURLoption file_option) {
        if (!pem.text.empty()) {
            curl_blob blob{const_cast<char*>(pem.text.data()), pem.text.size(), CURL_BLOB_COPY};
            set(blob_option, &blob);
        } else if (!pem.file.empty()) {
            set(file_option, pem.file.c_str());
        }
    }
    void set_server(const Request& what) {
        const KubeConfig& config = endpoint->config();
        std::string url = config.server + what.path;
        if (!config.server_name.empty()) {  // the name in the URL is the one that is verified; connect elsewhere
            const std::string real = host_and_port(config.server);
            const size_t from = config.server.find("//") + 2, end = std::min(config.server.find('/', from), config.server.size());
            url = config.server.substr(0, from) + config.server_name + real.substr(real.rfind(':')) + config.server.substr(end) + what.path;
            if (!connect_to.add("::" + real)) failed = CURLE_OUT_OF_MEMORY;
            set(CURLOPT_CONNECT_TO, connect_to.list);
        }
        set(CURLOPT_URL, url.c_str());
        set(CURLOPT_PROXY, config.proxy.c_str());
        set_pem(config.roots, CURLOPT_CAINFO_BLOB, CURLOPT_CAINFO);
        set_pem(config.certificate, CURLOPT_SSLCERT_BLOB, CURLOPT_SSLCERT);
        set_pem(config.key, CURLOPT_SSLKEY_BLOB, CURLOPT_SSLKEY);
        set(CURLOPT_CA_CACHE_TIMEOUT, 0L);  // a new root file counts at the next connection
        set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    }
    void set_method(const Request& request);
    void set_limits(const Limits& limits);
    Result<void> set_headers(const Request& request);

    static int on_socket(void*, curl_socket_t fd, curlsocktype) {
        // A server that is gone without a word: a watch would wait for hours.
        const unsigned limit = kUnacknowledgedMs;
        static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit));
        return CURL_SOCKOPT_OK;
    }
    static size_t on_body(char* data, size_t size, size_t count, void* self);
    static size_t on_header(char* data, size_t size, size_t count, void* self);
    static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
        const auto* stop = static_cast<Impl*>(self)->stop;
        return stop != nullptr && stop->load(std::memory_order_relaxed) ? 1 : 0;
    }

    const std::shared_ptr<Endpoint> endpoint;
    CURL* const curl;
    CURLcode failed = CURLE_OK;
    Slist headers, connect_to;
    std::array<char, CURL_ERROR_SIZE> why{};
    const Request* request = nullptr;
    Receiver* receiver = nullptr;
    const std::atomic<bool>* stop = nullptr;
    size_t max_body = 0;
    bool too_large = false;
    Reply reply;
};

void Transfer::Impl::set_method(const Request& what) {
    if (what.method == Method::Get) return set(CURLOPT_HTTPGET, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(what.body.size()));
    set(CURLOPT_POSTFIELDS, what.body.c_str());  // borrowed
    set(CURLOPT_CUSTOMREQUEST, std::string(to_string(what.method)).c_str());
}

void Transfer::Impl::set_limits(const Limits& limits) {
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(limits.total.count()));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect.count()));
    if (limits.silence.count() > 0) {
        set(CURLOPT_LOW_SPEED_LIMIT, 1L);
        set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.silence.count()));
    }
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_KEEPIDLE, 15L);
    set(CURLOPT_TCP_KEEPINTVL, 15L);
    set(CURLOPT_SOCKOPTFUNCTION, &on_socket);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    max_body = limits.max_body;
}

Result<void> Transfer::Impl::set_headers(const Request& what) {
    std::string token = TRY(endpoint->token());
    bool added = headers.add("Accept: " + what.accept) && headers.add("User-Agent: warren") && headers.add("Expect:");
    if (what.method != Method::Get) added = headers.add("Content-Type: " + what.content_type) && added;
    if (!token.empty()) added = headers.add("Authorization: Bearer " + token) && added;
    base::wipe(token);
    if (!added) failed = CURLE_OUT_OF_MEMORY;
    set(CURLOPT_HTTPHEADER, headers.list);
    return {};
}

size_t Transfer::Impl::on_body(char* data, size_t size, size_t count, void* self) {
    Impl& me = *static_cast<Impl*>(self);
    const std::string_view bytes(data, size * count);
    if (me.reply.status == 0) curl_easy_getinfo(me.curl, CURLINFO_RESPONSE_CODE, &me.reply.status);
    if (me.receiver != nullptr && me.reply.ok()) return me.receiver->on_data(bytes) ? bytes.size() : 0;
    if (me.reply.body.size() + bytes.size() > me.max_body) {
        me.too_large = true;
        return 0;
    }
    me.reply.body += bytes;
    return bytes.size();
}

size_t Transfer::Impl::on_header(char* data, size_t size, size_t count, void* self) {
    constexpr std::string_view kName = "retry-after:";
    const std::string_view line(data, size * count);
    const bool is = line.size() > kName.size() && std::equal(kName.begin(), kName.end(), line.begin(), [](char want, char got) {
                        return want == (got >= 'A' && got <= 'Z' ? static_cast<char>(got + ('a' - 'A')) : got);
                    });
    Impl& me = *static_cast<Impl*>(self);
    if (is) me.reply.retry_after = parse_retry_after(line.substr(kName.size()));
    if (line == "\r\n" || line == "\n") {
        curl_easy_getinfo(me.curl, CURLINFO_RESPONSE_CODE, &me.reply.status);
        if (me.receiver != nullptr && me.reply.ok()) me.receiver->on_open();
    }
    return line.size();
}

Transfer::Transfer(std::shared_ptr<Endpoint> endpoint) : impl_(std::make_unique<Impl>(std::move(endpoint))) {}
Transfer::~Transfer() = default;

void* Transfer::handle() const { return impl_->curl; }

Result<void> Transfer::prepare(const Request& request, const Limits& limits, Receiver* receiver, const std::atomic<bool>* stop) {
    Impl& me = *impl_;
    if (me.curl == nullptr) return Error{Errc::Exhausted, 0, "", "no memory for a request"};
    curl_easy_reset(me.curl);  // keeps connections
    me.headers.clear();
    me.connect_to.clear();
    me.failed = CURLE_OK;
    me.why[0] = '\0';
    me.request = &request;
    me.receiver = receiver;
    me.stop = stop;
    me.too_large = false;
    me.reply = {};
    me.set_server(request);
    me.set_limits(limits);
    me.set_method(request);
    TRY(me.set_headers(request));
    me.set(CURLOPT_ERRORBUFFER, me.why.data());
    me.set(CURLOPT_WRITEFUNCTION, &Impl::on_body);
    me.set(CURLOPT_WRITEDATA, static_cast<void*>(&me));
    me.set(CURLOPT_HEADERFUNCTION, &Impl::on_header);
    me.set(CURLOPT_HEADERDATA, static_cast<void*>(&me));
    me.set(CURLOPT_XFERINFOFUNCTION, &Impl::on_progress);
    me.set(CURLOPT_XFERINFODATA, static_cast<void*>(&me));
    me.set(CURLOPT_NOPROGRESS, stop == nullptr ? 1L : 0L);
    if (me.failed != CURLE_OK) return Error{Errc::Unsupported, 0, "", std::string("libcurl: ") + curl_easy_strerror(me.failed)};
    return {};
}

Result<Reply> Transfer::perform() { return finish(curl_easy_perform(impl_->curl)); }

Result<Reply> Transfer::finish(int result) {
    Impl& me = *impl_;
    const auto code = static_cast<CURLcode>(result);
    me.headers.clear();  // the token
    if (me.reply.status == 0) curl_easy_getinfo(me.curl, CURLINFO_RESPONSE_CODE, &me.reply.status);
    if (me.reply.status == 401) me.endpoint->token_refused();
    if (code == CURLE_OK) return std::move(me.reply);
    const std::string where = shown(*me.request) + " at " + me.endpoint->config().server;
    if (me.too_large) return Error{Errc::Exhausted, 0, "", where + ": an answer of more than " + std::to_string(me.max_body) + " bytes"};
    const Errc kind = code == CURLE_OPERATION_TIMEDOUT         ? Errc::Timeout
                      : code == CURLE_PEER_FAILED_VERIFICATION ? Errc::Denied
                                                               : Errc::Unavailable;
    return Error{kind, 0, "", where + ": " + (me.why[0] != '\0' ? me.why.data() : curl_easy_strerror(code))};
}

}  // namespace warren::kube
