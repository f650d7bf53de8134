// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"
#include "base/http_server.h"
#include "base/log.h"
#include "base/readiness.h"
#include "tests/catch.h"
#include "ztunnel/admin.h"
#include "ztunnel/process_metrics.h"

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>

using namespace warren;
using namespace warren::base;
using namespace warren::ztunnel;
using namespace std::chrono_literals;

namespace {

// A blocking client with a deadline for everything.
class Client {
  public:
    explicit Client(const base::SockAddr& to) : fd_(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_storage raw{};
        const unsigned length = to.to_sockaddr(raw, to.family());
        const timeval deadline{10, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&raw), length) == 0);
    }
    void send(const std::string& text) {
        REQUIRE(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    }
    // Until the server closes; false in `closed` when it did not.
    std::string rest() {
        for (char bytes[65536];;) {
            const ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
            if (n <= 0) return std::exchange(in_, {});
            in_.append(bytes, static_cast<size_t>(n));
        }
    }
    // One response with its content-length.
    std::string response(bool head_only = false) {
        for (char bytes[65536];;) {
            const size_t end = in_.find("\r\n\r\n");
            if (end != std::string::npos) {
                const size_t length = head_only ? 0 : std::stoull(in_.substr(in_.find("content-length: ") + 16));
                if (in_.size() >= end + 4 + length) {
                    std::string out = in_.substr(0, end + 4 + length);
                    in_.erase(0, end + 4 + length);
                    return out;
                }
            }
            const ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
            REQUIRE(n > 0);
            in_.append(bytes, static_cast<size_t>(n));
        }
    }

  private:
    base::Fd fd_;
    std::string in_;
};

HttpServerOptions local(size_t most = 32) {
    HttpServerOptions o;
    o.name = "test";
    o.addresses = loopback_addresses(0, false);
    o.max_connections = most;
    return o;
}

HttpRequest request_of(const std::string& line) {
    const HttpHead head = parse_http_head(line + " HTTP/1.1\r\n\r\n");
    REQUIRE(head.state == HttpHead::State::Complete);
    return head.request;
}

}  // namespace

TEST_CASE("http: heads, whole and refused") {
    const std::string whole =
        "GET /a%20b?level=x%3Dy&reset HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\naccept: c/d\r\nAccept-Encoding: br\r\naccept-encoding: gzip\r\n"
        "Content-Length: 3\r\n\r\nxyz";
    const HttpHead head = parse_http_head(whole);
    REQUIRE(head.state == HttpHead::State::Complete);
    CHECK(head.consumed == whole.size() - 3);
    CHECK(head.body == 3);
    CHECK(head.request.method == "GET");
    CHECK(head.request.path == "/a b");
    CHECK(head.request.parameter("level") == "x=y");
    CHECK(head.request.parameter("reset") == "");
    CHECK(!head.request.parameter("lev"));
    CHECK(head.request.accept == "a/b, c/d");
    CHECK(head.request.accept_encoding == "br, gzip");
    CHECK(head.request.keep_alive);
    for (size_t n = 0; n < whole.size() - 3; ++n) CHECK(parse_http_head(whole.substr(0, n)).state == HttpHead::State::NeedMore);

    CHECK(!parse_http_head("GET / HTTP/1.0\n\n").request.keep_alive);
    CHECK(parse_http_head("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n").request.keep_alive);
    CHECK(!parse_http_head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").request.keep_alive);
    CHECK(parse_http_head("\r\n\r\nGET http://h/p?q HTTP/1.1\r\n\r\n").request.path == "/p");
    const std::pair<std::string, int> refused[] = {
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"GET / FTP/1\r\n\r\n", 400},
        {"G<T / HTTP/1.1\r\n\r\n", 400},
        {"GET a HTTP/1.1\r\n\r\n", 400},
        {"GET /%zz HTTP/1.1\r\n\r\n", 400},
        {"GET /%2", 0},
        {"GET / HTTP/1.1\r\nbad header: x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nExpect: miracle\r\n\r\n", 417},
        {"GET /" + std::string(9000, 'a'), 431},
    };
    for (const auto& [text, status] : refused) {
        INFO(text.substr(0, 60));
        CHECK(parse_http_head(text).status == status);
    }
}

TEST_CASE("http: a server answers, keeps alive, pipelines, skips bodies and answers HEAD") {
    std::string big(3 << 20, 'x');
    const auto server = HttpServer::start(local(), [&](const HttpRequest& r) {
                            if (r.path == "/throw") throw std::runtime_error("oops");
                            return HttpResponse{200, "text/plain", r.path == "/big" ? big : r.method + r.path + "\n", {}};
                        }).value();
    Client c(server->addresses()[0]);
    c.send("GET /one HTTP/1.1\r\n\r\nPOST /two HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel");
    CHECK(c.response().ends_with("\r\n\r\nGET/one\n"));
    c.send("loHEAD /three HTTP/1.1\r\n\r\n");
    CHECK(c.response().ends_with("\r\n\r\nPOST/two\n"));
    const std::string head = c.response(true);
    CHECK(head.find("content-length: 11\r\n") != std::string::npos);
    CHECK(head.ends_with("\r\n\r\n"));
    c.send("GET /big HTTP/1.1\r\n\r\n");
    const std::string large = c.response();
    CHECK(large.starts_with("HTTP/1.1 200 "));  // nothing of HEAD's body is left over
    CHECK(large.size() > big.size());
    c.send("GET /throw HTTP/1.1\r\n\r\n");
    CHECK(c.response().starts_with("HTTP/1.1 500 "));
    c.send("nonsense\r\n\r\n");
    const std::string refused = c.rest();
    CHECK(refused.starts_with("HTTP/1.1 400 "));
    CHECK(refused.find("connection: close") != std::string::npos);
    CHECK(server->stats().requests == 5);
    CHECK(server->stats().refused_requests == 1);
}

TEST_CASE("http: a head that trickles ends at its deadline, and a full server makes room for a probe") {
    HttpServerOptions options = local(2);
    options.head_timeout = 200ms;
    const auto server = HttpServer::start(options, [](const HttpRequest&) { return HttpResponse{200, "text/plain", "ok\n", {}}; }).value();
    Client slow(server->addresses()[0]);
    slow.send("GET / HT");
    CHECK(slow.rest().empty());
    CHECK(server->stats().timeouts == 1);
    Client a(server->addresses()[0]), b(server->addresses()[0]);
    for (Client* idle : {&a, &b}) {
        idle->send("GET / HTTP/1.1\r\n\r\n");
        CHECK(idle->response().ends_with("ok\n"));
    }
    Client probe(server->addresses()[0]);
    probe.send("GET / HTTP/1.1\r\n\r\n");
    CHECK(probe.response().ends_with("ok\n"));
    CHECK(a.rest().empty());  // the one that was idle longest
    b.send("GET / HTTP/1.1\r\n\r\n");
    CHECK(b.response().ends_with("ok\n"));
    CHECK(server->stats().evicted == 1);
    CHECK(!HttpServer::start(
               [&] {
                   auto o = local();
                   o.addresses = server->addresses();
                   return o;
               }(),
               {})
               .has_value());
}

TEST_CASE("readiness: what is pending, by task and by condition") {
    Readiness readiness;
    const HttpRequest probe = request_of("GET /healthz/ready");
    CHECK(readiness_response(probe, readiness).body == "ready\n");
    auto state = readiness.expect("state manager");
    auto proxy = readiness.expect("proxy");
    bool connected = false;
    readiness.watch("workload proxy manager", [&] { return connected; });
    const HttpResponse not_yet = readiness_response(probe, readiness);
    CHECK(not_yet.status == 500);
    CHECK(not_yet.body == "not ready, pending: proxy, state manager, workload proxy manager\n");
    state->done();
    state->done();
    proxy.reset();
    connected = true;
    CHECK(readiness_response(probe, readiness).status == 200);
    connected = false;  // the dependency broke
    CHECK(readiness_response(probe, readiness).body == "not ready, pending: workload proxy manager\n");
    CHECK(readiness_response(request_of("POST /healthz/ready"), readiness).status == 405);
    CHECK(readiness_response(request_of("GET /x"), readiness).status == 404);
}

TEST_CASE("readiness: a worker that stands still is noticed") {
    base::FakeClock clock;
    std::vector<uint64_t> batches{1, 1};
    Pulse pulse([&] { return batches; }, clock, 5s);
    CHECK(pulse.alive());
    clock.advance(4s);
    ++batches[0];
    CHECK(pulse.alive());
    clock.advance(4s);
    ++batches[0];
    CHECK(!pulse.alive());
    ++batches[1];
    CHECK(pulse.alive());
}

TEST_CASE("admin: test_change_log_level: every path and method over a real socket") {
    AdminSources sources;
    std::atomic<int> quits = 0;
    sources.config_dump = [] { return std::string("{}\n"); };
    sources.quit = [&] { ++quits; };
    const auto server = HttpServer::start(local(), [&](const HttpRequest& r) { return admin_response(r, sources); }).value();
    Client c(server->addresses()[0]);
    const auto ask = [&](const std::string& line) {
        c.send(line + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        return c.response();
    };
    CHECK(ask("GET /").find("/config_dump") != std::string::npos);
    const std::string dump = ask("GET /config_dump?x=y");
    CHECK(dump.find("content-type: application/json\r\n") != std::string::npos);
    CHECK(dump.ends_with("{}\n"));
    CHECK(ask("GET /logging").starts_with("HTTP/1.1 405 "));
    CHECK(ask("GET /quitquitquit").starts_with("HTTP/1.1 405 "));
    CHECK(quits == 0);
    CHECK(ask("POST /quitquitquit").ends_with("shutdown now\n"));
    CHECK(quits == 1);
    CHECK(ask("GET /debug/pprof/heap").starts_with("HTTP/1.1 404 "));
    CHECK(ask("GET /nothing").starts_with("HTTP/1.1 404 "));

    base::log::set_filter(base::log::Filter());
    CHECK(ask("POST /logging").ends_with("current log level is " + base::log::Filter().text() + "\n"));
    CHECK(ask("POST /logging?level=warn").ends_with("current log level is warn\n"));
    CHECK(ask("POST /logging?level=access=off,xds=debug").ends_with("current log level is warn,access=off,xds=debug\n"));
    CHECK(ask("POST /logging?level=loud").starts_with("HTTP/1.1 400 "));
    CHECK(ask("POST /logging?level=access").starts_with("HTTP/1.1 400 "));
    CHECK(base::log::filter().text() == "warn,access=off,xds=debug");
    CHECK(ask("POST /logging?reset&level=xds=off").find("current log level is info,xds=off\n") != std::string::npos);
    CHECK(base::log::filter().text().find("access") == std::string::npos);
    CHECK(ask("POST /logging?reset").starts_with("HTTP/1.1 200 "));
    CHECK(base::log::filter() == base::log::Filter());
}

TEST_CASE("admin: test_content_type, test_stats_exist: the metrics page under both content types, with what the process tells of itself") {
    base::metrics::Registry registry;
    ProcessSources sources;
    sources.istio_version = "1.30";
    sources.workers = [] {
        std::vector<WorkerGauges> workers(2);
        workers[0].busy_ns = 1'500'000'000;
        workers[0].chunks_out = 3;
        workers[0].streams = 4;
        workers[0].buffered_bytes = 5000;
        workers[0].pooled_tunnels = 2;
        workers[1].pooled_tunnels = 5;
        workers[1].tasks_refused = 7;
        for (WorkerGauges& w : workers) {
            w.pods.refused = {1, 2, 3, 4};
            w.pods.accept_pauses = 5;
            w.pods.credit_held = 6;
            w.pods.tunnel_dials = 7;
        }
        return workers;
    };
    sources.flows = [] { return FlowGauges{8, 9, 1, true}; };
    sources.pods = [] { return PodGauges{2, 1, 5, 3}; };
    sources.refusals = [] { return std::vector<std::pair<std::string, uint64_t>>{{"admin_connections", 6}}; };
    const auto token = publish_process_metrics(registry, sources);
    HttpRequest request = request_of("GET /stats/prometheus");
    const HttpResponse plain = metrics_response(request, registry);
    CHECK(plain.content_type == "text/plain; charset=utf-8");
    request.accept = "text/html, application/openmetrics-text;version=1.0.0";
    CHECK(metrics_response(request, registry).content_type == "application/openmetrics-text;charset=utf-8;version=1.0.0");
    CHECK(metrics_response(request_of("GET /"), registry).status == 404);
    request.accept_encoding = "gzip";
    const HttpResponse packed = metrics_response(request, registry);
    CHECK(packed.body.starts_with("\x1f\x8b"));
    CHECK(packed.body.size() < plain.body.size() / 2);
    CHECK(to_wire(packed, true, true).find("content-encoding: gzip\r\n") != std::string::npos);
    for (const char* line : {"istio_build{component=\"ztunnel\",tag=\"1.30\"} 1",
                             "workload_manager_active_proxy_count 2",
                             "workload_manager_pending_proxy_count 1",
                             "workload_manager_proxies_started_total 5",
                             "workload_manager_proxies_stopped_total 3",
                             "warren_worker_busy_seconds_total{worker=\"0\"} 1.5",
                             "warren_buffer_chunks{worker=\"0\"} 3",
                             "warren_limit_refusals_total{limit=\"connections_per_pod\"} 2",
                             "warren_limit_refusals_total{limit=\"worker_tasks\"} 7",
                             "warren_limit_refusals_total{limit=\"streams_per_pod\"} 4",
                             "warren_limit_refusals_total{limit=\"descriptors_per_pod\"} 6",
                             "warren_limit_refusals_total{limit=\"handshakes_per_pod\"} 8",
                             "warren_accept_pauses_total 10",
                             "warren_credit_held_total 12",
                             "warren_pool_dials_total 14",
                             "warren_worker_streams{worker=\"0\"} 4",
                             "warren_buffered_bytes{worker=\"0\"} 5000",
                             "warren_flow_feed_flows_total{outcome=\"sent\"} 8",
                             "warren_flow_feed_flows_total{outcome=\"lost\"} 9",
                             "warren_flow_feed_connected 1",
                             "warren_limit_refusals_total{limit=\"admin_connections\"} 6",
                             "warren_pool_tunnels 7",
                             "warren_log_lines_total{outcome=\"dropped\"} ",
                             "process_open_fds ",
                             "process_max_fds "}) {
        INFO(line);
        CHECK(plain.body.find(std::string("\n") + line) != std::string::npos);
    }
    CHECK(plain.body.ends_with("# EOF\n"));
}
