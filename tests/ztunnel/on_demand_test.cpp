// SPDX-License-Identifier: Apache-2.0
// Names asked for on demand: waiters, deadlines, expiry (data-plane contract 3.6, quirk A15).
#include "ztunnel/on_demand.h"

#include "tests/catch.h"

#include <set>

using namespace std::chrono_literals;
using namespace warren;
using ztunnel::OnDemand;
using Names = OnDemand::Names;

namespace {

struct Table {
    explicit Table(ztunnel::OnDemandOptions options = {.max_names = 16}) : table(options) {
        table.connect([this](std::span<const std::string> names, bool wanted) -> base::Result<void> {
            if (full) return base::Error{base::Errc::Exhausted, 0, "", "full"};
            for (const std::string& name : names) told.push_back((wanted ? "+" : "-") + name);
            return {};
        });
    }
    OnDemand::Ticket ask(const Names& names, uint64_t version = 1) {
        auto ticket = table.ask(names, version, *loop, [this] { ++ready; });
        REQUIRE(ticket);
        return *ticket;
    }
    void answer(const std::set<std::string>& names, uint64_t version = 1) { answer(names, OnDemand::Answer::Yes, version); }
    void answer(const std::set<std::string>& names, OnDemand::Answer how, uint64_t version) {
        table.answered([&](const std::string& name) { return names.contains(name) ? how : OnDemand::Answer::No; }, version);
    }
    // What has been posted runs.
    int run() {
        REQUIRE(loop->run_once(std::chrono::steady_clock::now()));
        return ready;
    }
    bool full = false;
    int ready = 0;
    Names told;
    std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
    OnDemand table;
};

}  // namespace

TEST_CASE("on demand: a name is asked for once, and all who wait for it go on with its answer") {
    Table t;
    CHECK(t.ask({"/10.0.0.1"}) != nullptr);
    CHECK(t.ask({"/10.0.0.1"}) != nullptr);
    CHECK(t.told == Names{"+/10.0.0.1"});
    CHECK(t.run() == 0);
    t.answer({"/10.0.0.1"});
    CHECK(t.run() == 2);
    CHECK(t.table.known(Names{"/10.0.0.1"}, 1));
    CHECK(t.ask({"/10.0.0.1"}) == nullptr);
    CHECK(t.table.stats().misses == 2);
    CHECK(t.table.stats().waiting == 0);
}

TEST_CASE("on demand: who needs several names waits for the last of them") {
    Table t;
    CHECK(t.ask({"a", "b"}) != nullptr);
    t.answer({"a"});
    CHECK(t.run() == 0);
    t.answer({"b"});
    CHECK(t.run() == 1);
}

TEST_CASE("on demand: an answer counts from the snapshot on that holds it") {
    Table t;
    CHECK(t.ask({"a"}, 4) != nullptr);
    t.answer({"a"}, 5);
    CHECK(t.run() == 1);
    CHECK_FALSE(t.table.known(Names{"a"}, 4));
    CHECK(t.table.known(Names{"a"}, 5));
    // The snapshot is in the mailbox already, and the call comes behind it.
    CHECK(t.ask({"a"}, 4) != nullptr);
    CHECK(t.run() == 2);
    CHECK(t.told.size() == 1);
}

TEST_CASE("on demand: who gave up is not called, and the name stays asked for") {
    Table t;
    const auto ticket = t.ask({"a", "b"});
    t.table.cancel(ticket, true);
    t.answer({"a", "b"});
    CHECK(t.run() == 0);
    CHECK(t.table.stats().timeouts == 1);
    CHECK(t.table.stats().waiting == 0);
    CHECK(t.table.known(Names{"a", "b"}, 1));
}

TEST_CASE("on demand: what may be the answer counts as one after somebody waited for a better one in vain") {
    Table t;
    const auto first = t.ask({"a"}), second = t.ask({"a"});
    t.answer({"a"}, OnDemand::Answer::Perhaps, 1);
    CHECK(t.run() == 0);
    CHECK_FALSE(t.table.known(Names{"a"}, 1));
    t.table.cancel(first, true);
    CHECK(t.run() == 1);  // the second
    CHECK(t.table.known(Names{"a"}, 1));
    t.answer({}, 2);
    CHECK(t.table.stats().pending == 0);
}

TEST_CASE("on demand: more names than the limit are refused, and so are those the client does not take") {
    Table t({.max_names = 2});
    CHECK(t.ask({"a", "b"}) != nullptr);
    const auto refused = t.table.ask(Names{"c"}, 1, *t.loop, [] {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == base::Errc::Exhausted);
    t.table.hint("d");
    CHECK(t.told == Names{"+a", "+b"});
    CHECK(t.table.stats().refused == 2);

    Table u;
    u.full = true;
    CHECK_FALSE(u.table.ask(Names{"a"}, 1, *u.loop, [] {}));
    CHECK(u.table.stats().names == 0);
}

TEST_CASE("on demand: names that nobody uses are given back with what hangs on them, those in use and waited for stay") {
    Table t({.unused = 10min, .max_names = 16});
    t.table.hint("old");
    t.answer({"old"});
    CHECK(t.ask({"waited"}) != nullptr);
    const auto later = std::chrono::steady_clock::now() + 11min;
    OnDemand::Expired seen;
    t.table.expire(later, [&](const OnDemand::Expired& expired) {
        seen = expired;
        return Names{"record"};
    });
    CHECK(seen.names == Names{"old"});
    CHECK(seen.remaining == Names{"waited"});
    CHECK(t.told == Names{"+old", "+waited", "-record", "-old"});
    CHECK_FALSE(t.table.known(Names{"old"}, 1));
    CHECK(t.table.stats().expired == 1);
    t.told.clear();
    t.table.expire(std::chrono::steady_clock::now(), [&](const OnDemand::Expired& expired) {
        CHECK(expired.names.empty());
        return Names();
    });
    CHECK(t.told.empty());
}

TEST_CASE("on demand: a client that cannot be told yet keeps the names for the next time") {
    Table t({.unused = 1min, .max_names = 16});
    t.table.hint("old");
    t.full = true;
    t.table.expire(std::chrono::steady_clock::now() + 2min, [](const OnDemand::Expired&) { return Names(); });
    CHECK(t.table.stats().names == 1);
    t.full = false;
    t.table.expire(std::chrono::steady_clock::now() + 2min, [](const OnDemand::Expired&) { return Names(); });
    CHECK(t.table.stats().names == 0);
}

TEST_CASE("on demand: a new stream is asked for everything again, unknown names too") {
    Table t;
    t.table.hint("a");
    t.answer({"a"});
    t.told.clear();
    t.table.ask_again();
    CHECK(t.told == Names{"+a"});
}
