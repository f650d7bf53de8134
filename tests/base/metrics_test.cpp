// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include "tests/catch.h"

#include <cmath>
#include <string>
#include <thread>
#include <vector>

using namespace warren::base;
using metrics::Exposition;

TEST_CASE("metrics: both expositions, byte for byte") {
    metrics::Registry r;
    auto sent =
        *r.counter({.name = "istio_tcp_sent_bytes_total", .help = "Bytes \"sent\" \\ here\nor there.", .labels = {"reporter", "app"}});
    auto busy = *r.double_counter({.name = "worker_busy_seconds_total", .help = "Busy.", .labels = {"worker"}});
    auto open = *r.gauge({.name = "istio_tcp_sockets_open", .help = "Open sockets."});
    auto load = *r.double_gauge({.name = "load", .help = "Load.", .labels = {"k"}});
    auto time = *r.histogram({.name = "rpc_seconds", .help = "Time.", .labels = {"m"}}, {0.0005, 1, 5});
    REQUIRE(r.counter({.name = "never_total", .help = "No samples.", .labels = {"x"}}));
    sent.with({"source", "b"})->add(18446744073709551615u);
    sent.with({"source", "a\"\\\n\xff"})->add();
    busy.with({"0"})->add(0.25);
    open.with()->add(3);
    open.with()->sub(5);
    load.with({"inf"})->set(INFINITY);
    load.with({"nan"})->set(NAN);
    load.with({"small"})->set(1e-7);
    for (const double v : {0.0001, 0.0005, 0.7, 6.0, 1000.0}) time.with({"get"})->observe(v);

    CHECK(r.render(Exposition::OpenMetrics) ==
          "# HELP istio_tcp_sent_bytes Bytes \\\"sent\\\" \\\\ here\\nor there.\n"
          "# TYPE istio_tcp_sent_bytes counter\n"
          "istio_tcp_sent_bytes_total{reporter=\"source\",app=\"a\\\"\\\\\\n\xef\xbf\xbd\"} 1\n"
          "istio_tcp_sent_bytes_total{reporter=\"source\",app=\"b\"} 18446744073709551615\n"
          "# HELP istio_tcp_sockets_open Open sockets.\n"
          "# TYPE istio_tcp_sockets_open gauge\n"
          "istio_tcp_sockets_open -2\n"
          "# HELP load Load.\n"
          "# TYPE load gauge\n"
          "load{k=\"inf\"} +Inf\n"
          "load{k=\"nan\"} NaN\n"
          "load{k=\"small\"} 1e-07\n"
          "# HELP rpc_seconds Time.\n"
          "# TYPE rpc_seconds histogram\n"
          "rpc_seconds_bucket{m=\"get\",le=\"0.0005\"} 2\n"
          "rpc_seconds_bucket{m=\"get\",le=\"1.0\"} 3\n"
          "rpc_seconds_bucket{m=\"get\",le=\"5.0\"} 3\n"
          "rpc_seconds_bucket{m=\"get\",le=\"+Inf\"} 5\n"
          "rpc_seconds_sum{m=\"get\"} 1006.7006\n"
          "rpc_seconds_count{m=\"get\"} 5\n"
          "# HELP worker_busy_seconds Busy.\n"
          "# TYPE worker_busy_seconds counter\n"
          "worker_busy_seconds_total{worker=\"0\"} 0.25\n"
          "# EOF\n");
    const std::string plain = r.render(Exposition::Prometheus);
    CHECK(
        plain.starts_with("# HELP istio_tcp_sent_bytes_total Bytes \"sent\" \\\\ here\\nor there.\n"
                          "# TYPE istio_tcp_sent_bytes_total counter\n"
                          "istio_tcp_sent_bytes_total{reporter=\"source\",app=\"a\\\"\\\\\\n\xef\xbf\xbd\"} 1\n"));
    CHECK(plain.find("rpc_seconds_bucket{m=\"get\",le=\"1\"} 3\n") != std::string::npos);
    CHECK(plain.ends_with("# TYPE worker_busy_seconds_total counter\nworker_busy_seconds_total{worker=\"0\"} 0.25\n"));
}

TEST_CASE("metrics: an empty registry is an empty page") {
    metrics::Registry r;
    CHECK(r.render(Exposition::OpenMetrics) == "# EOF\n");
    CHECK(r.render(Exposition::Prometheus).empty());
}

TEST_CASE("metrics: optional labels are all there or not at all") {
    metrics::Registry r;
    auto f = *r.gauge({.name = "g", .help = "", .labels = {"a"}, .optional_labels = {"region", "zone"}});
    f.with({"1"})->set(1);
    f.with({"1", "eu", "z"})->set(2);
    CHECK(r.render(Exposition::OpenMetrics) == "# HELP g \n# TYPE g gauge\ng{a=\"1\"} 1\ng{a=\"1\",region=\"eu\",zone=\"z\"} 2\n# EOF\n");
}

TEST_CASE("metrics: series beyond the limit share one and are counted") {
    metrics::Registry r;
    auto f = *r.counter({.name = "c_total", .help = "C.", .labels = {"a", "b"}, .limit = 2});
    f.with({"1", "1"})->add();
    f.with({"2", "1"})->add();
    f.with({"3", "1"})->add(5);
    f.with({"4", "1"})->add(6);
    f.with({"1", "1"})->add();
    CHECK(f.with({"9", "9"}) == f.with({"8", "8"}));
    f.with({"wrong number"})->add();
    CHECK(r.render(Exposition::OpenMetrics) ==
          "# HELP c C.\n# TYPE c counter\n"
          "c_total{a=\"1\",b=\"1\"} 2\nc_total{a=\"2\",b=\"1\"} 1\nc_total{a=\"overflow\",b=\"overflow\"} 12\n"
          "# HELP warren_metrics_series_dropped Lookups and samples that found no series.\n"
          "# TYPE warren_metrics_series_dropped counter\n"
          "warren_metrics_series_dropped_total{family=\"c_total\"} 5\n# EOF\n");
    auto wide = *r.counter({.name = "d_total", .help = "D.", .labels = {"a", "b"}});
    CHECK(wide.with({"1", "11"}) != wide.with({"11", "1"}));
}

TEST_CASE("metrics: a series that is held stays, one that is not goes when scraped") {
    metrics::Registry r;
    auto f = *r.counter({.name = "c_total", .help = "C.", .labels = {"a"}});
    auto held = f.with({"held"});
    f.with({"free"})->add(7);
    CHECK_FALSE(f.remove({"held"}));
    CHECK_FALSE(f.remove({"unknown"}));
    CHECK(f.remove_unused(1) == 0);  // nobody saw its value yet
    CHECK(r.render(Exposition::OpenMetrics).find("c_total{a=\"free\"} 7\n") != std::string::npos);
    CHECK(f.remove_unused(2) == 0);
    f.with({"free"})->add();  // in use again: starts over
    CHECK(f.remove_unused(1) == 0);
    CHECK(r.render(Exposition::OpenMetrics).find("c_total{a=\"free\"} 8\n") != std::string::npos);
    CHECK(f.remove_unused(1) == 1);
    CHECK(f.size() == 1);
    held.reset();
    CHECK(f.remove({"held"}));
    CHECK(f.size() == 0);
}

TEST_CASE("metrics: what cannot be a family is refused with its name") {
    metrics::Registry r;
    const auto why = [](const auto& result) { return result ? std::string("accepted") : result.error().message(); };
    CHECK(why(r.counter({.name = "c", .help = ""})) == "metric c: a counter ends in \"_total\"");
    CHECK(why(r.gauge({.name = "g_total", .help = ""})) == "metric g_total: only a counter ends in \"_total\"");
    CHECK(why(r.gauge({.name = "1g", .help = ""})) == "metric \"1g\": not a metric name");
    CHECK(why(r.gauge({.name = "g", .help = "", .labels = {"a-b"}})) == "metric g: \"a-b\" is not a label name");
    CHECK(why(r.gauge({.name = "g", .help = "", .labels = {"a"}, .optional_labels = {"a"}})) == "metric g: label a twice");
    CHECK(why(r.histogram({.name = "h", .help = "", .labels = {"le"}}, {1})) == "metric h: \"le\" is not a label name");
    CHECK(why(r.histogram({.name = "h", .help = ""}, {1, 1})) == "metric h: bucket bounds must ascend and be finite");
    CHECK(why(r.histogram({.name = "h", .help = ""}, {INFINITY})) == "metric h: bucket bounds must ascend and be finite");
    REQUIRE(r.gauge({.name = "g", .help = ""}));
    CHECK(r.gauge({.name = "g", .help = ""}));
    CHECK(why(r.double_gauge({.name = "g", .help = ""})) == "metric g: registered with another type, labels or bounds");
}

TEST_CASE("metrics: collectors add at each scrape, and what clashes is dropped and counted") {
    metrics::Registry r;
    auto own = *r.gauge({.name = "own", .help = "Ours."});
    own.with()->set(1);
    int calls = 0;
    auto token = r.collect([&](metrics::Collection& c) {
        ++calls;
        c.gauge("process_open_fds", "Open.", {}, 12);
        c.counter("ctx_total", "Switches.", {{"kind", "a\"b"}}, 3);
        c.counter("ctx_total", "Switches.", {{"kind", "a\"b"}}, 4);  // the same series again
        c.gauge("ctx_total", "Clash.", {}, 1);                       // _total is for counters
        c.gauge("own", "Clash.", {}, 9);
    });
    const std::string got = r.render(Exposition::OpenMetrics);
    CHECK(got.find("# TYPE ctx counter\nctx_total{kind=\"a\\\"b\"} 3\n") != std::string::npos);
    CHECK(got.find("# HELP own Ours.\n# TYPE own gauge\nown 1\n# HELP process_open_fds Open.\n# TYPE process_open_fds "
                   "gauge\nprocess_open_fds 12\n") != std::string::npos);
    CHECK(got.find("warren_metrics_series_dropped_total{family=\"ctx_total\"} 2\n") != std::string::npos);
    CHECK(got.find("warren_metrics_series_dropped_total{family=\"own\"} 1\n") != std::string::npos);
    CHECK(got.find("Clash") == std::string::npos);
    token.reset();
    CHECK(r.render(Exposition::OpenMetrics).find("process_open_fds") == std::string::npos);
    CHECK(calls == 1);
}

TEST_CASE("metrics: concurrent adds, lookups and scrapes lose nothing") {
    metrics::Registry r;
    auto family = *r.counter({.name = "c_total", .help = "C.", .labels = {"t"}});
    auto seconds = *r.double_counter({.name = "s_total", .help = "S."});
    auto times = *r.histogram({.name = "h", .help = "H."}, {1, 2});
    constexpr uint64_t kEach = 20'000;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            const auto c = family.with({"shared"});
            const auto s = seconds.with();
            const auto h = times.with();
            for (uint64_t i = 0; i < kEach; ++i) {
                c->add();
                s->add(0.5);
                h->observe(static_cast<double>(i % 3));
                if (i % 100 == 0) family.with({std::to_string(i % 1000)})->add();
                if (i % 1000 == 0) family.remove_unused(1);
            }
        });
    for (int i = 0; i < 20; ++i) CHECK(r.render(Exposition::OpenMetrics).ends_with("# EOF\n"));
    for (auto& t : threads) t.join();
    CHECK(family.with({"shared"})->value() == 4 * kEach);
    CHECK(seconds.with()->value() == 2.0 * kEach);
    CHECK(times.with()->bucket(0) + times.with()->bucket(1) == 4 * kEach);
    CHECK(times.with()->bucket(2) == 0);
}

TEST_CASE("metrics: the content type follows the Accept header") {
    CHECK(metrics::accepts_openmetrics("text/html, application/openmetrics-text; version=1.0.0;q=0.5"));
    CHECK_FALSE(metrics::accepts_openmetrics("text/plain;version=0.0.4"));
    CHECK(metrics::content_type(true) == "application/openmetrics-text;charset=utf-8;version=1.0.0");
    CHECK(metrics::content_type(false) == "text/plain; charset=utf-8");
}
