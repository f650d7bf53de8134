// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/cert_table.h"

#include "tests/ztunnel/cert_fakes.h"

using namespace warren;
using namespace warren::tests;
using ztunnel::CertLimits;
using ztunnel::CertTable;

namespace {

struct Table {
    explicit Table(const CertLimits& limits = {}) : table(limits, base::RandomEngine(1), false) {}

    std::optional<CertOutcome> ask(const std::string& account, CertPriority priority = CertPriority::RealTime) {
        CertTable::Waiter waiter;
        return table.request(workload(account), priority, now(), waiter);
    }
    CertTable::Times now() { return {clock.now(), clock.wall()}; }
    // The account of the next job; empty: none is due.
    std::string next() {
        job = table.start(now());
        return job ? std::string(job->identity.service_account()) : "";
    }
    CertTable::Finished issue(std::chrono::seconds life = 24h, std::vector<std::string> roots = {"root"}) {
        const auto wall = clock.wall();
        return issue(std::make_shared<FakeCredential>(job->identity, wall, wall + life, std::move(roots)));
    }
    CertTable::Finished issue(const CredentialPtr& credential) {
        return table.finish(*job, CertTable::Made{credential, *fake_context(credential, nullptr)}, now());
    }
    CertTable::Finished fail() { return table.finish(*job, base::Error{base::Errc::Unavailable, 0, "signer", "away"}, now()); }
    std::chrono::nanoseconds wait() { return table.next_due() - clock.now(); }
    std::string state() { return table.states(clock.wall()).at(0).state; }

    base::FakeClock clock;
    CertTable table;
    std::optional<CertTable::Job> job;
};

bool about(std::chrono::nanoseconds wait, std::chrono::seconds nominal) { return wait >= nominal * 8 / 10 && wait <= nominal * 12 / 10; }

}  // namespace

TEST_CASE("cert table: test_priority: the higher priority first, then the earlier one") {
    Table t;
    CHECK_FALSE(t.ask("renewal", CertPriority::Background));
    CHECK_FALSE(t.ask("warm-1", CertPriority::Warmup));
    t.clock.advance(1s);
    CHECK_FALSE(t.ask("warm-2", CertPriority::Warmup));
    CHECK_FALSE(t.ask("real", CertPriority::RealTime));
    CHECK(t.next() == "real");
    CHECK(t.next() == "warm-1");
    CHECK(t.next() == "warm-2");
    CHECK(t.next() == "renewal");
    CHECK(t.next().empty());
}

TEST_CASE("cert table: a pending first certificate rises with its most urgent request, and never sinks") {
    Table t;
    CHECK_FALSE(t.ask("a", CertPriority::Warmup));
    CHECK_FALSE(t.ask("b", CertPriority::Warmup));
    CHECK_FALSE(t.ask("b", CertPriority::RealTime));
    CHECK_FALSE(t.ask("b", CertPriority::Background));
    CHECK(t.next() == "b");
    CHECK_FALSE(t.ask("b", CertPriority::RealTime));  // in flight: joins, starts nothing
    CHECK(t.issue().waiters.size() == 4);
    CHECK(t.next() == "a");
    t.issue();
    CHECK(t.ask("a", CertPriority::RealTime).has_value());
    CHECK(t.next().empty());
}

TEST_CASE("cert table: test_cache_refresh: due at half of the life") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue(10h);
    CHECK(t.wait() == 5h);
    t.clock.advance(5h - 1s);
    CHECK(t.next().empty());
    t.clock.advance(1s);
    CHECK(t.next() == "a");
    CHECK(t.ask("a")->has_value());  // served while it is renewed
}

TEST_CASE("cert table: renewals drift apart by a hundredth of the life at most") {
    CertTable table({}, base::RandomEngine(7), true);
    const base::FakeClock clock;
    const CertTable::Times now{clock.now(), clock.wall()};
    std::set<base::MonoTime> due;
    for (int i = 0; i < 50; ++i) {
        CertTable::Waiter waiter;
        CHECK_FALSE(table.request(workload("a"), CertPriority::RealTime, now, waiter));
        const auto job = table.start(now);
        REQUIRE(job);
        const auto credential = std::make_shared<FakeCredential>(job->identity, now.wall, now.wall + 100h);
        table.finish(*job, CertTable::Made{credential, *fake_context(credential, nullptr)}, now);
        CHECK(table.next_due() - now.mono >= 50h);
        CHECK(table.next_due() - now.mono <= 51h);
        due.insert(table.next_due());
        table.forget(workload("a"), now);
    }
    CHECK(due.size() > 40);
}

TEST_CASE("cert table: a certificate past half of its life when it comes is not renewed in a busy loop") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    const auto wall = t.clock.wall();
    t.issue(std::make_shared<FakeCredential>(workload("a"), wall - 100h, wall + 1h));
    CHECK(t.wait() == 60s);
    t.clock.advance(1h - 10s);
    CHECK(t.next() == "a");
    t.issue(std::make_shared<FakeCredential>(workload("a"), wall - 100h, wall + 1h));
    CHECK(t.wait() == 5s);
}

TEST_CASE("cert table: attempts back off from 1 s to 150 s and stay there") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    CHECK(t.fail().outcome->error().code == base::Errc::Unavailable);
    for (const auto nominal : {1s, 2s, 4s, 8s, 16s, 32s, 64s, 128s, 150s, 150s, 150s, 150s}) {
        CHECK(about(t.wait(), nominal));
        t.clock.advance(t.wait() - 1ns);
        CHECK(t.next().empty());
        t.clock.advance(1ns);
        CHECK(t.next() == "a");
        t.fail();
    }
    t.clock.advance(15min);
    CHECK(t.next() == "a");
    t.fail();
    CHECK(t.wait() == 150s);  // exactly: the jitter has ended as well
    CHECK(t.table.counts().failed == 14);
}

TEST_CASE("cert table: test_backoff_resets_on_successful_fetch_after_failure") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    for (int i = 0; i < 4; ++i) {
        CHECK(t.next() == "a");
        t.fail();
        t.clock.advance(t.wait());
    }
    CHECK(t.next() == "a");
    t.issue(10h);
    CHECK(t.ask("a")->has_value());
    t.clock.advance(5h);
    CHECK(t.next() == "a");
    t.fail();
    CHECK(about(t.wait(), 1s));
}

TEST_CASE("cert table: requests while unavailable get the remembered error and speed nothing up") {
    Table t;
    CHECK_FALSE(t.ask("a", CertPriority::Warmup));
    CHECK(t.next() == "a");
    t.fail();
    const auto due = t.table.next_due();
    const auto answer = t.ask("a", CertPriority::RealTime);
    REQUIRE(answer);
    CHECK(answer->error().detail == "away");
    CHECK(t.next().empty());
    CHECK(t.table.next_due() == due);
    CHECK(t.state() == "Unavailable: signer away");
    t.clock.advance(t.wait());
    CHECK(t.next() == "a");
    CHECK_FALSE(t.ask("a")->has_value());  // even while the attempt is under way
    t.issue();
    CHECK(t.ask("a")->has_value());
}

TEST_CASE("cert table: test_certificate_retention_on_refresh_failure: until it expires, and no longer") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue(10s);
    t.clock.advance(5s);
    CHECK(t.next() == "a");
    t.fail();
    CHECK(t.ask("a")->has_value());
    CHECK(t.state() == "Available");
    for (int i = 0; i < 2; ++i) {  // after 1 s, after 2 s
        t.clock.advance(t.wait());
        CHECK(t.next() == "a");
        t.fail();
    }
    // The next back-off is 4 s, but the certificate ends before.
    CHECK(t.wait() < 3s);
    t.clock.advance(t.wait());
    CHECK_FALSE(t.ask("a")->has_value());
    CHECK(t.state() == "Unavailable: signer away");
    CHECK(t.next() == "a");
    t.fail();
    CHECK(t.table.serving(workload("a")).context == nullptr);
}

TEST_CASE("cert table: a certificate that expired unnoticed is waited for, not served") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue(10h);
    t.clock.set_wall(t.clock.wall() + 11h);  // the machine slept
    CHECK(t.state() == "Initializing");
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    const auto finished = t.issue();
    CHECK(finished.waiters.size() == 1);
    CHECK(finished.outcome->has_value());
}

TEST_CASE("cert table: a certificate that is expired when it comes is a failure") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    const auto finished = t.issue(0s);
    CHECK_FALSE(finished.outcome->has_value());
    CHECK_FALSE(t.ask("a")->has_value());
}

TEST_CASE("cert table: renewals follow a wall clock that jumps") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue(10h);
    t.clock.set_wall(t.clock.wall() + 4h);
    t.table.reschedule(t.now());
    CHECK(t.wait() == 1h);
    t.clock.set_wall(t.clock.wall() + 2h);
    t.table.reschedule(t.now());
    CHECK(t.wait() == 60s);
}

TEST_CASE("cert table: test_forget_pending: waiters are handed back and the result is discarded") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    const auto old = t.job;
    CHECK(t.table.forget(workload("a"), t.now()).size() == 2);
    CHECK_FALSE(t.ask("a"));  // a new life, with a call of its own
    CHECK(t.next() == "a");
    const auto renewed = t.job;
    t.job = old;
    CHECK(t.issue().discarded);
    CHECK(t.table.counts().discarded == 1);
    t.job = renewed;
    CHECK(t.issue().waiters.size() == 1);
}

TEST_CASE("cert table: test_forget: nothing is left, nothing is renewed") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue(10h);
    CHECK(t.table.forget(workload("a"), t.now()).empty());
    CHECK(t.table.size() == 0);
    CHECK(t.table.next_due() == base::MonoTime::max());
    t.clock.advance(20h);
    CHECK(t.next().empty());
    CHECK(t.table.forget(workload("never known"), t.now()).empty());
}

TEST_CASE("cert table: prefetches go one at a time, the next after success, failure or oblivion") {
    Table t;
    for (const char* account : {"a", "b", "c", "d", "e"}) CHECK(t.table.prefetch(workload(account), t.now()));
    CHECK(t.table.prefetch(workload("b"), t.now()));  // queued already
    CHECK_FALSE(t.ask("d"));                          // a connection does not wait for the queue
    CHECK(t.next() == "d");
    t.issue();
    CHECK(t.next() == "a");
    const auto first = t.job;
    CHECK(t.next().empty());
    t.job = first;
    t.issue();
    CHECK(t.next() == "b");
    t.fail();
    CHECK(t.next() == "c");
    t.table.forget(workload("c"), t.now());
    CHECK(t.next() == "e");  // d is there
    CHECK(t.next().empty());
}

TEST_CASE("cert table: a queued prefetch is forgotten too") {
    Table t;
    for (const char* account : {"a", "b"}) CHECK(t.table.prefetch(workload(account), t.now()));
    CHECK(t.next() == "a");
    t.table.forget(workload("b"), t.now());
    t.issue();
    CHECK(t.next().empty());
    CHECK(t.table.size() == 1);
}

TEST_CASE("cert table: every queue is bounded, and what does not fit is counted") {
    SECTION("prefetches") {
        Table t;
        for (int i = 0; i < 257; ++i) CHECK(t.table.prefetch(workload("p" + std::to_string(i)), t.now()));  // one under way, 256 queued
        CHECK_FALSE(t.table.prefetch(workload("one too many"), t.now()));
        CHECK(t.table.counts().prefetch_dropped == 1);
    }
    SECTION("identities") {
        Table t({.identities = 2, .waiters = 100, .prefetch = 1});
        CHECK_FALSE(t.ask("a"));
        CHECK_FALSE(t.ask("b"));
        CHECK(t.ask("c")->error().code == base::Errc::Exhausted);
        CHECK_FALSE(t.ask("b"));
        CHECK(t.table.counts().refused == 1);
        CHECK(t.table.prefetch(workload("d"), t.now()));
        CHECK(t.table.counts().prefetch_dropped == 1);
    }
    SECTION("waiters") {
        Table t({.identities = 100, .waiters = 2, .prefetch = 1});
        CHECK_FALSE(t.ask("a"));
        CHECK_FALSE(t.ask("a"));
        CHECK(t.ask("a")->error().code == base::Errc::Exhausted);
        CHECK(t.next() == "a");
        t.issue();
        CHECK_FALSE(t.ask("b"));  // those who have been answered wait no more
    }
    SECTION("no identity") {
        Table t;
        CertTable::Waiter waiter;
        CHECK(t.table.request(Identity(), CertPriority::RealTime, t.now(), waiter)->error().code == base::Errc::Invalid);
    }
}

TEST_CASE("cert table: other roots are noticed, the same ones in another order are not") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    CHECK_FALSE(t.issue(10h, {"r1", "r2"}).roots_changed);
    t.clock.advance(5h);
    CHECK(t.next() == "a");
    CHECK_FALSE(t.issue(10h, {"r2", "r1"}).roots_changed);
    t.clock.advance(5h);
    CHECK(t.next() == "a");
    CHECK(t.issue(10h, {"r2"}).roots_changed);
    t.clock.advance(5h);
    CHECK(t.next() == "a");
    CHECK(t.issue(10h, {"r3"}).roots_changed);
}

TEST_CASE("cert table: renew asks at once, after the attempt under way, and only for known identities") {
    Table t;
    t.table.renew(workload("a"), t.now());
    CHECK(t.next().empty());
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.table.renew(workload("a"), t.now());
    t.issue();
    CHECK(t.next() == "a");
    t.fail();
    t.table.renew(workload("a"), t.now());
    CHECK(t.next() == "a");
    t.issue();
    CHECK(t.next().empty());
}

TEST_CASE("cert table: a context that cannot be made with a new revocation list is withdrawn and fetched again") {
    Table t;
    CHECK_FALSE(t.ask("a"));
    CHECK(t.next() == "a");
    t.issue();
    const auto rebuilds = t.table.rebuilds();
    REQUIRE(rebuilds.size() == 1);
    t.table.replace(rebuilds.front(), base::invalid("no memory"), t.now());
    CHECK(t.table.serving(workload("a")).context == nullptr);
    CHECK(t.ask("a")->error().detail == "no memory");
    t.clock.advance(t.wait());
    CHECK(t.next() == "a");
    t.issue();
    // A rebuild of the certificate before that has no effect.
    t.table.replace(rebuilds.front(), base::invalid("late"), t.now());
    CHECK(t.ask("a")->has_value());
    CHECK(t.table.counts().contexts_rebuilt == 0);
}
