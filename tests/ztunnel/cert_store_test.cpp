// SPDX-License-Identifier: Apache-2.0
#include "tests/ztunnel/cert_fakes.h"
#include "ztunnel/crl.h"

#include <atomic>
#include <thread>

using namespace warren;
using namespace warren::tests;
using ztunnel::CertStoreOptions;

namespace {

CertStoreOptions without_jitter(size_t threads = 8) {
    CertStoreOptions options;
    options.signing_threads = threads;
    options.renewal_jitter = false;
    return options;
}

struct Store {
    explicit Store(const CertStoreOptions& options = without_jitter(), ztunnel::ContextFactory factory = fake_context)
        : signer(clock), store(make_cert_store(signer, clock, std::move(factory), options)) {}
    ~Store() { signer.release_all(); }

    CertOutcome get(const std::string& account) { return asker.get(*store, workload(account)); }
    Asker::Handle ask(const std::string& account, CertPriority priority = CertPriority::RealTime) {
        return asker.ask(*store, workload(account), priority);
    }
    void advance(std::chrono::nanoseconds by) {
        clock.advance(by);
        store->wake();
    }
    bool calls(const std::string& account, int n) {
        return asker.until([&] { return signer.calls(account) == n; });
    }

    base::FakeClock clock;
    FakeSigner signer;
    Asker asker;
    std::unique_ptr<ztunnel::OwnedCertStore> store;
};

}  // namespace

TEST_CASE("cert store: test_stress_caching: many threads, one certificate for each identity") {
    constexpr int kIdentities = 40, kThreads = 4, kRounds = 25;
    std::vector<Asker> askers(kThreads);
    Store s;
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (Asker& asker : askers)
        threads.emplace_back([&] {
            int mine = 0;
            for (int i = 0; i < kRounds * kIdentities; ++i) {
                const Identity identity = workload("w" + std::to_string(i % kIdentities));
                s.store->request(identity, CertPriority::RealTime, *asker.loop, [&, identity](CertOutcome outcome) {
                    ++mine;
                    if (outcome && (*outcome)->credential().identity() == identity) ++good;
                });
                (void)s.store->current(identity);
            }
            wait_for([&] { return mine == kRounds * kIdentities; },
                     [&] { (void)asker.loop->run_once(std::chrono::steady_clock::now() + 5ms).has_value(); });
        });
    for (auto& thread : threads) thread.join();
    CHECK(good == kIdentities * kThreads * kRounds);
    CHECK(s.signer.started().size() == kIdentities);
    CHECK(s.store->stats().issued == kIdentities);
}

TEST_CASE("cert store: test_cache_refresh: renewed at half of the life, served all the time") {
    Store s;
    const auto first = s.get("a");
    REQUIRE(first);
    CHECK(s.store->current(workload("a")) == *first);
    s.advance(12h - 1s);
    CHECK(s.get("a"));
    CHECK(s.signer.calls("a") == 1);
    s.signer.hold();
    s.advance(1s);
    REQUIRE(s.signer.wait_started(2));
    CHECK(s.store->current(workload("a")) == *first);
    CHECK(*s.get("a") == *first);
    s.signer.release_all();
    REQUIRE(s.asker.until([&] { return s.store->current(workload("a")) != *first; }));
    CHECK(s.store->current(workload("a")) != nullptr);
    CHECK(s.signer.calls("a") == 2);
}

TEST_CASE("cert store: test_priority: a connection that waits passes what was queued before it") {
    Store s(without_jitter(1));
    s.signer.hold();
    const auto busy = s.ask("busy");
    REQUIRE(s.signer.wait_started(1));
    const auto low = s.ask("low", CertPriority::Background), middle = s.ask("middle", CertPriority::Warmup), high = s.ask("high");
    const auto raised = s.ask("raised", CertPriority::Background);
    s.ask("raised", CertPriority::RealTime);
    s.signer.release_all();
    for (const auto& handle : {busy, low, middle, high, raised}) CHECK(s.asker.answer(handle));
    CHECK(s.signer.started() == std::vector<std::string>{"busy", "high", "raised", "middle", "low"});
}

TEST_CASE("cert store: test_warmup_new: prefetched one at a time without anyone waiting") {
    Store s;
    s.signer.hold();
    for (const char* account : {"a", "b", "c"}) s.store->prefetch(workload(account));
    REQUIRE(s.signer.wait_started(1));
    CHECK(s.store->stats().identities == 1);
    s.signer.release_all();
    CHECK(s.asker.until([&] { return s.store->current(workload("c")) != nullptr; }));
    CHECK(s.signer.started() == std::vector<std::string>{"a", "b", "c"});
    CHECK(s.signer.most() == 1);
}

TEST_CASE("cert store: test_warmup_existing: a prefetch of what is there does nothing") {
    Store s;
    const auto made = s.get("a");
    REQUIRE(made);
    s.store->prefetch(workload("a"));
    s.store->prefetch(workload("b"));
    REQUIRE(s.asker.until([&] { return s.store->current(workload("b")) != nullptr; }));
    CHECK(s.signer.calls("a") == 1);
    CHECK(s.store->current(workload("a")) == *made);
}

TEST_CASE("cert store: test_duplicate_requests: one call, the same object for everybody") {
    Store s;
    s.signer.hold();
    std::vector<Asker::Handle> handles;
    for (int i = 0; i < 20; ++i) handles.push_back(s.ask("a"));
    REQUIRE(s.signer.wait_started(1));
    handles.push_back(s.ask("a"));
    CHECK(s.store->current(workload("a")) == nullptr);
    s.signer.release_all();
    const auto first = s.asker.answer(handles.front());
    REQUIRE(first);
    for (const auto& handle : handles) CHECK(*s.asker.answer(handle) == *first);
    CHECK(s.signer.calls("a") == 1);
}

TEST_CASE("cert store: test_concurrency: eight calls at once and no more") {
    Store s;
    s.signer.hold();
    std::vector<Asker::Handle> handles;
    for (int i = 0; i < 20; ++i) handles.push_back(s.ask("w" + std::to_string(i)));
    REQUIRE(s.signer.wait_started(8));
    CHECK(s.store->stats().in_flight == 8);
    s.signer.release(5);
    REQUIRE(s.signer.wait_started(13));
    s.signer.release_all();
    for (const auto& handle : handles) CHECK(s.asker.answer(handle));
    CHECK(s.signer.most() == 8);
    CHECK(s.store->stats().threads == 8);
}

TEST_CASE("cert store: threads are started for work, not in advance") {
    Store s;
    CHECK(s.store->stats().threads == 0);
    for (const char* account : {"a", "b", "c"}) CHECK(s.get(account));
    CHECK(s.store->stats().threads >= 1);
    CHECK(s.signer.most() == 1);
}

TEST_CASE("cert store: test_unused_cleanup: what is forgotten is neither served nor renewed") {
    Store s;
    REQUIRE(s.get("a"));
    REQUIRE(s.get("b"));
    s.store->forget(workload("a"));
    CHECK(s.store->current(workload("a")) == nullptr);
    CHECK(s.store->current(workload("b")) != nullptr);
    CHECK(s.store->states().size() == 1);
    s.advance(12h);
    REQUIRE(s.calls("b", 2));
    CHECK(s.signer.calls("a") == 1);
}

TEST_CASE("cert store: test_forget_pending: waiters fail at once, the late result reaches nobody") {
    Store s;
    s.signer.hold();
    const auto first = s.ask("a");
    REQUIRE(s.signer.wait_started(1));
    s.store->forget(workload("a"));
    const auto answer = s.asker.answer(first);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == base::Errc::NotFound);
    CHECK(s.store->states().empty());
    s.signer.release_all();
    REQUIRE(s.asker.until([&] { return s.store->stats().discarded == 1; }));
    CHECK(s.store->current(workload("a")) == nullptr);
    CHECK(s.get("a"));
    CHECK(s.signer.calls("a") == 2);
}

TEST_CASE("cert store: test_forget: a certificate asked for again is made anew") {
    Store s;
    const auto first = s.get("a");
    REQUIRE(first);
    s.store->forget(workload("a"));
    const auto second = s.get("a");
    REQUIRE(second);
    CHECK(*first != *second);
    CHECK(s.signer.calls("a") == 2);
}

TEST_CASE("cert store: test_backoff_resets_on_successful_fetch_after_failure: in time, with threads") {
    Store s;
    s.signer.fail();
    CHECK_FALSE(s.get("a"));
    CHECK_FALSE(s.get("a"));  // the remembered error
    CHECK(s.signer.calls("a") == 1);
    s.advance(1200ms);
    REQUIRE(s.calls("a", 2));
    REQUIRE(s.asker.until([&] { return s.store->stats().failed == 2; }));
    s.signer.fail(std::nullopt);
    s.advance(2400ms);
    REQUIRE(s.asker.until([&] { return s.store->current(workload("a")) != nullptr; }));
    CHECK(s.get("a"));
    s.signer.fail();
    s.advance(12h);
    REQUIRE(s.calls("a", 4));
    REQUIRE(s.asker.until([&] { return s.store->stats().failed == 3; }));
    s.advance(1200ms);
    CHECK(s.calls("a", 5));
}

TEST_CASE("cert store: test_get_existing_cert_info_basic: states as the admin page shows them") {
    Store s;
    REQUIRE(s.get("there"));
    s.signer.fail();
    CHECK_FALSE(s.get("failed"));
    s.signer.hold();
    const auto waiting = s.ask("waiting");
    const auto states = s.store->states();
    REQUIRE(states.size() == 3);
    CHECK(states[0].identity == workload("failed"));
    CHECK(states[0].state == "Unavailable: fake signer no");
    CHECK(states[0].credential == nullptr);
    CHECK(states[1].identity == workload("there"));
    CHECK(states[1].state == "Available");
    REQUIRE(states[1].credential != nullptr);
    CHECK(states[1].credential->identity() == workload("there"));
    CHECK(states[2].state == "Initializing");
    CHECK(states[2].credential == nullptr);
}

TEST_CASE("cert store: test_certificate_retention_on_refresh_failure: served until it expires") {
    Store s;
    const auto first = s.get("a");
    REQUIRE(first);
    s.signer.fail();
    s.advance(12h);
    REQUIRE(s.asker.until([&] { return s.store->stats().failed == 1; }));
    CHECK(*s.get("a") == *first);
    CHECK(s.store->current(workload("a")) == *first);
    s.clock.advance(12h - 1ns);
    CHECK(s.store->current(workload("a")) == *first);
    s.clock.advance(1ns);
    CHECK(s.store->current(workload("a")) == nullptr);
    const auto answer = s.get("a");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().detail == "no");
}

TEST_CASE("cert store: a wall clock that jumps brings renewals forward") {
    Store s;
    REQUIRE(s.get("a"));
    s.clock.set_wall(s.clock.wall() + 13h);
    s.store->wake();
    // A minute after the jump was seen; an hour in all, which is well before the renewal that was planned.
    int minutes = 0;
    CHECK(s.asker.until([&] {
        if (++minutes <= 60) s.advance(1min);
        return s.signer.calls("a") == 2;
    }));
}

TEST_CASE("cert store: a request beyond the limits is answered with an error and counted") {
    auto options = without_jitter();
    options.limits.identities = 2;
    Store s(options);
    CHECK(s.get("a"));
    CHECK(s.get("b"));
    const auto refused = s.get("c");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == base::Errc::Exhausted);
    CHECK(s.store->stats().refused == 1);
    s.store->forget(workload("a"));
    CHECK(s.get("c"));
}

TEST_CASE("cert store: an answer waits for a loop whose mailbox is full") {
    Asker slow(2);  // outlives the store, as loops do
    Store s;
    std::vector<Asker::Handle> handles;
    for (int i = 0; i < 50; ++i) handles.push_back(slow.ask(*s.store, workload("a")));
    REQUIRE(s.get("a"));
    for (const auto& handle : handles) CHECK(slow.answer(handle));
    CHECK(s.store->stats().answers_lost == 0);
}

TEST_CASE("cert store: the end of the store fails who waits, before it waits for the calls in flight") {
    base::FakeClock clock;
    FakeSigner signer(clock);
    Asker asker;
    auto store = make_cert_store(signer, clock, fake_context, without_jitter(1));
    signer.hold();
    const auto busy = asker.ask(*store, workload("busy")), queued = asker.ask(*store, workload("queued"));
    REQUIRE(signer.wait_started(1));
    std::atomic<bool> answered = false;
    std::thread loop([&] {
        answered = wait_for([&] { return busy->has_value() && queued->has_value(); },
                            [&] { (void)asker.loop->run_once(std::chrono::steady_clock::now() + 1ms).has_value(); });
        signer.release_all();
    });
    store.reset();
    loop.join();
    CHECK(answered);
    CHECK((**busy).error().code == base::Errc::Unavailable);
    CHECK((**queued).error().code == base::Errc::Unavailable);
}

TEST_CASE("cert store: renewed with other roots, live connections are to be re-checked; with the same, not") {
    Store s;
    std::mutex mutex;
    std::vector<Identity> told;
    s.store->on_trust_change([&](const Identity& identity) {
        const std::lock_guard lock(mutex);
        told.push_back(identity);
    });
    REQUIRE(s.get("a"));
    s.advance(12h);
    REQUIRE(s.asker.until([&] { return s.store->stats().issued == 2; }));
    CHECK(s.store->stats().trust_changes == 0);
    s.signer.roots({"root", "next root"});
    s.advance(12h);
    REQUIRE(s.asker.until([&] { return s.store->stats().trust_changes == 1; }));
    REQUIRE(s.asker.until([&] {
        const std::lock_guard lock(mutex);
        return told.size() == 1;
    }));
    CHECK(told.front() == workload("a"));
}

TEST_CASE("cert store: a new revocation list makes every context anew and says so") {
    Store s;
    std::atomic<int> told = 0;
    s.store->on_trust_change([&](const Identity& identity) {
        const auto context = s.store->current(identity);
        if (context && static_cast<const FakeContext&>(*context).revoked != nullptr) ++told;
    });
    REQUIRE(s.get("a"));
    REQUIRE(s.get("b"));
    const auto before = s.store->current(workload("a"));
    const auto list = ztunnel::RevocationList::parse("");
    REQUIRE(list);
    s.store->set_revocation_list(*list);
    REQUIRE(s.asker.until([&] { return told == 2; }));
    const auto after = s.store->current(workload("a"));
    CHECK(after != before);
    CHECK(&after->credential() == &before->credential());
    CHECK(s.signer.calls("a") == 1);
    // Later certificates have it too.
    const auto later = s.get("c");
    REQUIRE(later);
    CHECK(static_cast<const FakeContext&>(**later).revoked == *list);
}

TEST_CASE("cert store: a certificate that was being signed while the revocation list changed is judged by the new one") {
    Store s;
    s.signer.hold();
    const auto handle = s.ask("a");
    REQUIRE(s.signer.wait_started(1));
    const auto list = ztunnel::RevocationList::parse("");
    REQUIRE(list);
    s.store->set_revocation_list(*list);
    s.signer.release_all();
    const auto context = s.asker.answer(handle);
    REQUIRE(context);
    CHECK(static_cast<const FakeContext&>(**context).revoked == *list);
}

TEST_CASE("cert store: a context that cannot be made is an error of the identity") {
    std::atomic<bool> broken = true;
    Store s(without_jitter(), [&](CredentialPtr credential, std::shared_ptr<const ztunnel::RevocationList> revoked) -> CertOutcome {
        if (broken) return base::invalid("no context");
        return fake_context(std::move(credential), std::move(revoked));
    });
    const auto answer = s.get("a");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().detail == "no context");
    broken = false;
    s.advance(1200ms);
    CHECK(s.asker.until([&] { return s.store->current(workload("a")) != nullptr; }));
}

TEST_CASE("cert store: renew fetches again what is there") {
    Store s;
    REQUIRE(s.get("a"));
    s.store->renew(workload("a"));
    CHECK(s.calls("a", 2));
}
