// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/watcher.h"

#include "agent/kube/client.h"
#include "agent/kube/token_review.h"
#include "tests/agent/kube/http_server.h"

#include <deque>
#include <filesystem>
#include <fstream>
#include <map>

using namespace warren::kube;
using namespace std::chrono_literals;
using Errc = warren::base::Errc;

namespace {

const Resource kPods{"", {"v1"}, "pods", "Pod"};
const Resource kPolicies{"security.istio.io", {"v1", "v1beta1"}, "authorizationpolicies", "AuthorizationPolicy"};

std::shared_ptr<Endpoint> endpoint_of(const HttpServer& server, const std::string& token_file = {}) {
    KubeConfig config;
    config.server = server.url();
    config.token_file = token_file;
    auto out = Endpoint::create(config);
    REQUIRE(out);
    return *out;
}

std::string pod(const std::string& name, int version) {
    return R"({"metadata":{"name":")" + name + R"(","namespace":"n","resourceVersion":")" + std::to_string(version) + R"("}})";
}
std::string page(const std::string& items, int version, const std::string& next = "") {
    return R"({"kind":"PodList","metadata":{"resourceVersion":")" + std::to_string(version) + R"(","continue":")" + next +
           R"("},"items":[)" + items + "]}";
}
std::string event(const std::string& type, const std::string& object) { return R"({"type":")" + type + R"(","object":)" + object + "}\n"; }
std::string gone() { return event("ERROR", R"({"kind":"Status","code":410,"message":"too old resource version"})"); }

bool is_watch(const HttpServer::Request& request) { return request.target.find("watch=true") != std::string::npos; }
std::string parameter(const HttpServer::Request& request, const std::string& name) {
    const size_t at = request.target.find(name + "=");
    if (at == std::string::npos) return "";
    const size_t from = at + name.size() + 1;
    return request.target.substr(from, request.target.find('&', from) - from);
}

// What the handler was told, as it stands now.
struct State : Handler {
    void upsert(size_t kind, Object object) override {
        const std::lock_guard lock(mutex);
        objects[std::to_string(kind) + ' ' + object.key()] = object.resource_version;
        ++upserts;
    }
    void remove(size_t kind, const std::string& key) override {
        const std::lock_guard lock(mutex);
        objects.erase(std::to_string(kind) + ' ' + key);
    }
    void synced(size_t, bool is_missing) override {
        const std::lock_guard lock(mutex);
        ++syncs;
        missing = is_missing;
    }
    void problem(size_t, const std::string& text) override {
        const std::lock_guard lock(mutex);
        problems.push_back(text);
    }
    bool is(const std::map<std::string, std::string>& wanted) {
        const std::lock_guard lock(mutex);
        return objects == wanted;
    }
    template <class T>
    T get(T State::* member) {
        const std::lock_guard lock(mutex);
        return this->*member;
    }

    std::mutex mutex;
    std::map<std::string, std::string> objects;
    std::vector<std::string> problems;
    int syncs = 0, upserts = 0;
    bool missing = false;
};

ReflectorOptions quick() {
    ReflectorOptions options;
    options.backoff_base = 10ms;
    options.backoff_cap = 50ms;
    options.missing_poll = 20ms;
    options.missing_confirm = 10ms;
    options.missing_grace = 100ms;
    return options;
}

struct Watching {
    Watching(HttpServer::Script script, std::vector<WatchSpec> specs, ReflectorOptions options = quick())
        : server(std::move(script)), watcher(*Watcher::create(endpoint_of(server), std::move(specs), options, state)) {
        watcher->start();
    }
    State state;
    HttpServer server;
    std::unique_ptr<Watcher> watcher;
};

}  // namespace

TEST_CASE("watcher: pages, then events cut anywhere, then the watch goes on from where it was") {
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (!is_watch(request)) {
                if (parameter(request, "continue").empty()) return void(to.answer(200, page(pod("a", 1) + ',' + pod("b", 2), 10, "x/y=")));
                return void(to.answer(200, page(pod("c", 3), 10)));
            }
            to.stream();
            if (parameter(request, "resourceVersion") == "10") {
                const std::string text = event("ADDED", pod("d", 11)) + event("MODIFIED", pod("a", 12)) + event("DELETED", pod("b", 13)) +
                                         event("BOOKMARK", R"({"metadata":{"resourceVersion":"20"}})");
                for (const char c : text) to.write({&c, 1});
                return;
            }
            to.write(event("MODIFIED", pod("d", 21)));
            to.hold();
        },
        {{kPods, "", "status.phase!=Failed"}});
    CHECK(eventually([&] { return w.state.is({{"0 n/a", "12"}, {"0 n/c", "3"}, {"0 n/d", "21"}}); }));
    CHECK(eventually([&] { return w.watcher->synced(); }));
    const auto requests = w.server.requests();
    REQUIRE(requests.size() == 4);
    CHECK(requests[0].target == "/api/v1/pods?fieldSelector=status.phase%21%3DFailed&limit=500");
    CHECK(parameter(requests[1], "continue") == "x%2Fy%3D");
    CHECK(parameter(requests[2], "allowWatchBookmarks") == "true");
    CHECK(parameter(requests[3], "resourceVersion") == "20");
    CHECK(eventually([&] { return w.watcher->stats()[0].bookmarks == 1; }));
    CHECK(w.watcher->stats()[0].lists == 1);
}

TEST_CASE("watcher: a place that the server has forgotten leads to a list, and what went meanwhile is removed") {
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (!is_watch(request)) {
                return void(request.number == 0 ? to.answer(200, page(pod("a", 1) + ',' + pod("b", 2), 10))
                                                : to.answer(200, page(pod("b", 2) + ',' + pod("c", 30), 40)));
            }
            to.stream();
            if (parameter(request, "resourceVersion") == "10") return void(to.write(gone()));
            to.hold();
        },
        {{kPods}});
    CHECK(eventually([&] { return w.state.is({{"0 n/b", "2"}, {"0 n/c", "30"}}); }));
    CHECK(w.state.get(&State::upserts) == 3);  // b did not change
    CHECK(eventually([&] { return w.watcher->stats()[0].gone == 1; }));
}

TEST_CASE("watcher: a list whose next page has expired begins again, at last without pages") {
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (is_watch(request)) return to.stream(), to.hold();
            if (!parameter(request, "continue").empty()) return void(to.answer(410, R"({"kind":"Status","code":410})"));
            if (!parameter(request, "limit").empty()) return void(to.answer(200, page(pod("a", 1), 10, "next")));
            to.answer(200, page(pod("a", 1) + ',' + pod("b", 2), 11));
        },
        {{kPods}});
    CHECK(eventually([&] { return w.state.is({{"0 n/a", "1"}, {"0 n/b", "2"}}); }));
    CHECK(eventually([&] { return w.watcher->synced(); }));
}

TEST_CASE("watcher: a page too large is asked for in smaller pieces") {
    auto options = quick();
    options.max_page_bytes = 2000;
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (is_watch(request)) return to.stream(), to.hold();
            const bool small = parameter(request, "limit") == "31";
            to.answer(200, page(pod("a", 1), 10) + std::string(small ? 0 : 3000, ' '));
        },
        {{kPods}}, options);
    CHECK(eventually([&] { return w.state.is({{"0 n/a", "1"}}); }));
}

TEST_CASE("watcher: objects without a name are passed over, a line that is no JSON leads to a list") {
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (!is_watch(request)) return void(to.answer(200, page(R"({"metadata":{}},)" + pod("a", 1), request.number == 0 ? 10 : 20)));
            to.stream();
            if (parameter(request, "resourceVersion") == "20") {
                to.write(event("ADDED", R"({"spec":{}})") + event("ADDED", pod("b", 21)));
                return to.hold();
            }
            to.write("{\"type\":\"ADDED\", oops\n");
        },
        {{kPods}});
    CHECK(eventually([&] { return w.state.is({{"0 n/a", "1"}, {"0 n/b", "21"}}); }));
    CHECK(eventually([&] { return w.watcher->stats()[0].malformed == 3; }));
}

TEST_CASE("watcher: a server that is busy is asked again after the time it names") {
    std::atomic<int64_t> refused_at = 0, asked_at = 0;
    const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
    Watching w(
        [&](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (is_watch(request)) return to.stream(), to.hold();
            if (request.number == 0) {
                refused_at = now();
                return void(to.answer(429, R"({"kind":"Status","message":"too many requests"})", "Retry-After: 1\r\n"));
            }
            asked_at = now();
            to.answer(200, page("", 10));
        },
        {{kPods}});
    CHECK(eventually([&] { return w.watcher->synced(); }));
    CHECK(std::chrono::nanoseconds(asked_at - refused_at) >= 1s);
    CHECK(w.state.get(&State::problems) == std::vector<std::string>{"GET /api/v1/pods: 429: \"too many requests\""});
}

TEST_CASE("watcher: a kind that appears later, in an older version") {
    std::atomic<bool> there = false;
    Watching w(
        [&](const HttpServer::Request& request, HttpServer::Connection& to) {
            const bool old = request.target.starts_with("/apis/security.istio.io/v1beta1/");
            if (!there.load() || !old) return void(to.answer(404, "404 page not found"));
            if (is_watch(request)) return to.stream(), to.hold();
            to.answer(200, page(pod("p", 5), 10));
        },
        {{kPolicies}});
    CHECK(eventually([&] { return w.state.get(&State::missing); }));
    CHECK(w.server.requests().size() >= 4);  // each version twice
    CHECK(eventually([&] { return w.watcher->synced(); }));
    there = true;
    CHECK(eventually([&] { return w.state.is({{"0 n/p", "5"}}); }));
    CHECK(!w.state.get(&State::missing));
}

TEST_CASE("watcher: a kind that is unknown for a moment keeps its objects, for good it loses them") {
    std::atomic<int> unknown = 0;  // answers to come
    std::atomic<bool> cut = false;
    Watching w(
        [&](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (unknown.load() > 0) {
                --unknown;
                return void(to.answer(404, ""));
            }
            if (!is_watch(request)) return void(to.answer(200, page(pod("a", 1), 10)));
            to.stream();
            while (!cut.exchange(false)) {
                if (!to.write(event("BOOKMARK", R"({"metadata":{"resourceVersion":"11"}})"))) return;
                std::this_thread::sleep_for(1ms);
            }
        },
        {{kPods}});
    CHECK(eventually([&] { return w.state.is({{"0 n/a", "1"}}); }));
    unknown = 3;
    cut = true;
    CHECK(eventually([&] { return unknown.load() == 0 && w.state.get(&State::syncs) == 2; }));
    CHECK(w.state.is({{"0 n/a", "1"}}));
    CHECK(w.state.get(&State::upserts) == 1);
    unknown = 1'000'000;
    cut = true;
    CHECK(eventually([&] { return w.state.is({}); }));
    CHECK(w.state.get(&State::missing));
}

TEST_CASE("watcher: a stream that falls silent is cut and goes on") {
    auto options = quick();
    options.silence = 1s;
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (!is_watch(request)) return void(to.answer(200, page("", 10)));
            to.stream();
            if (request.number > 1) to.write(event("ADDED", pod("late", 11)));
            to.hold();
        },
        {{kPods}}, options);
    CHECK(eventually([&] { return w.state.is({{"0 n/late", "11"}}); }));
}

TEST_CASE("watcher: stop ends open watches at once") {
    Watching w(
        [](const HttpServer::Request& request, HttpServer::Connection& to) {
            if (!is_watch(request)) return void(to.answer(200, page("", 10)));
            to.stream();
            to.hold();
        },
        {{kPods}});
    CHECK(eventually([&] { return w.watcher->synced(); }));
    const auto began = std::chrono::steady_clock::now();
    w.watcher->stop();
    CHECK(std::chrono::steady_clock::now() - began < 2s);
}

TEST_CASE("client: answers become values or errors, and a redirect goes nowhere") {
    const HttpServer server([](const HttpServer::Request& request, HttpServer::Connection& to) {
        if (request.target == "/moved") return void(to.answer(302, "", "Location: /ok\r\n"));
        if (request.target == "/large") return void(to.answer(200, std::string(100'000, 'x')));
        if (request.target == "/hang") return to.hold();
        if (request.target == "/no") return void(to.answer(403, R"({"kind":"Status","message":"pods is forbidden\nfor you"})"));
        to.answer(200, request.method + ' ' + request.body);
    });
    Client client(endpoint_of(server), {.total = 500ms, .max_body = 10'000});
    CHECK(*client.get("/ok") == "GET ");
    CHECK(*client.merge("/ok", "{}") == "PATCH {}");
    CHECK(server.requests().back().head.find("Content-Type: application/merge-patch+json") != std::string::npos);
    CHECK(client.get("/moved").error().code == Errc::Protocol);
    CHECK(client.get("/no").error().detail == "GET /no: 403: \"pods is forbidden\\nfor you\"");
    CHECK(client.get("/large").error().code == Errc::Exhausted);
    CHECK(client.get("/hang").error().code == Errc::Timeout);
    CHECK(server.requests().size() == 6);
    const ClientStats stats = client.stats();
    CHECK(stats.failures == 2);
    CHECK(stats.refusals == 2);
    client.stop();
    CHECK(client.get("/ok").error().code == Errc::Unavailable);
}

TEST_CASE("client: a token that was refused is read again") {
    char path[] = "/tmp/warren-token-XXXXXX";
    const warren::base::Fd fd(::mkstemp(path));
    std::ofstream(path) << "first\n";
    const HttpServer server([&](const HttpServer::Request& request, HttpServer::Connection& to) {
        const bool good = request.head.find("Authorization: Bearer second") != std::string::npos;
        to.answer(good ? 200 : 401, "");
    });
    Client client(endpoint_of(server, path));
    std::ofstream(path) << "second\n";
    CHECK(client.get("/").error().code == Errc::Denied);
    CHECK(client.get("/"));
    std::filesystem::remove(path);
    CHECK(client.get("/"));  // what is known counts on
}

TEST_CASE("token_review: answers are kept for a while, failures are not") {
    std::atomic<bool> away = true;
    const HttpServer server([&](const HttpServer::Request& request, HttpServer::Connection& to) {
        if (away.load()) return void(to.answer(503, ""));
        const bool good = request.body.find("good") != std::string::npos;
        to.answer(201, good ? R"({"status":{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"system:serviceaccount:n:s",
                                  "groups":["system:serviceaccounts"]}}})"
                            : R"({"status":{"authenticated":false,"error":"expired"}})");
    });
    Client client(endpoint_of(server));
    warren::base::FakeClock clock;
    TokenReviewer reviewer(client, clock,
                           {.max_kept = 2, .key_of = [](std::string_view token) { return "hash of " + std::string(token); }});
    CHECK(reviewer.review("good", clock.now() + 20s).error().code == Errc::Unavailable);
    away = false;
    CHECK(reviewer.review("good", clock.now() + 20s)->service_account == "s");
    CHECK(reviewer.review("good", clock.now() + 20s));
    CHECK(reviewer.review("bad", clock.now() + 20s).error().code == Errc::Denied);
    CHECK(reviewer.review("bad", clock.now() + 20s).error().code == Errc::Denied);
    CHECK(server.requests().size() == 3);
    CHECK(reviewer.review("good2", clock.now() + 20s));  // no room: asked each time
    CHECK(reviewer.review("good2", clock.now() + 20s));
    CHECK(server.requests().size() == 5);
    clock.advance(31s);
    CHECK(reviewer.review("good", clock.now() + 20s));
    CHECK(server.requests().size() == 6);
    CHECK(reviewer.review("with space", clock.now() + 20s).error().code == Errc::Denied);
    CHECK(server.requests().size() == 6);
    CHECK(reviewer.stats().kept == 1);  // what was old made room
}

TEST_CASE("token_review: ends at the caller's deadline, and only so many ask at once") {
    std::atomic<bool> hangs = true;
    const HttpServer server([&](const HttpServer::Request&, HttpServer::Connection& to) {
        while (hangs.load() && to.pause()) continue;
        to.answer(201, R"({"status":{"authenticated":true,"audiences":["istio-ca"],"user":{"username":"system:serviceaccount:n:s",
                           "groups":["system:serviceaccounts"]}}})");
    });
    Client client(endpoint_of(server));
    const warren::base::RealClock clock;
    TokenReviewer reviewer(client, clock, {.max_at_once = 1});
    const auto begin = clock.now();
    CHECK(reviewer.review("late", begin + 200ms).error().code == Errc::Timeout);
    CHECK(clock.now() - begin < 9s);  // the client's own limit is ten
    CHECK(reviewer.review("late", clock.now()).error().code == Errc::Timeout);
    CHECK(reviewer.stats().timed_out == 2);
    std::thread first([&] { CHECK(reviewer.review("first", clock.now() + 30s)); });
    const auto end = clock.now() + 30s;
    while (reviewer.stats().at_once == 0 && clock.now() < end) std::this_thread::yield();
    CHECK(reviewer.review("second", clock.now() + 30s).error().code == Errc::Exhausted);
    CHECK(reviewer.stats().overloaded == 1);
    hangs = false;
    first.join();
    CHECK(reviewer.review("second", clock.now() + 30s));
    CHECK(reviewer.stats().at_once == 0);
}
