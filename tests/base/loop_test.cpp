// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include "tests/catch.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace warren::base;

namespace {

struct Pair {
    Pair() {
        auto made = make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK);
        REQUIRE(made);
        near = std::move(made->first);
        far = std::move(made->second);
    }
    void send(char byte = 'x') { REQUIRE(::write(far.get(), &byte, 1) == 1); }
    char receive() {
        char byte = 0;
        return ::read(near.get(), &byte, 1) == 1 ? byte : '\0';
    }
    Fd near, far;
};

struct Handler final : IoHandler {
    explicit Handler(std::function<void(uint32_t)> f) : call(std::move(f)) {}
    void on_io(uint32_t events) override { call(events); }
    std::function<void(uint32_t)> call;
};

struct Hook final : BatchHook {
    explicit Hook(std::function<void()> f) : call(std::move(f)) {}
    void on_batch_end() override { call(); }
    std::function<void()> call;
};

struct Grave final : Buried {
    explicit Grave(std::function<void()> f) : call(std::move(f)) {}
    ~Grave() override { call(); }
    std::function<void()> call;
};

std::unique_ptr<Loop> make_loop(size_t mailbox = 1024) {
    auto loop = Loop::create({.mailbox_capacity = mailbox});
    REQUIRE(loop);
    return std::move(*loop);
}

// One batch of what is ready.
void poll(Loop& loop) { REQUIRE(loop.run_once(MonoTime::min())); }

// Batches until done; false when that takes longer than anything here should.
bool run_until(Loop& loop, const std::function<bool()>& done) {
    const MonoTime deadline = std::chrono::steady_clock::now() + 20s;
    while (!done()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        if (!loop.run_once(deadline)) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("loop: level-triggered handlers are called until they have read, edge-triggered ones once") {
    auto loop = make_loop();
    Pair level, edge;
    int levels = 0, edges = 0;
    Handler on_level([&](uint32_t events) { levels += (events & EPOLLIN) != 0 ? 1 : 0; });
    Handler on_edge([&](uint32_t events) { edges += (events & EPOLLIN) != 0 ? 1 : 0; });
    REQUIRE(loop->add(level.near.get(), on_level, EPOLLIN));
    REQUIRE(loop->add(edge.near.get(), on_edge, EPOLLIN | EPOLLET));
    poll(*loop);
    CHECK(levels + edges == 0);
    level.send();
    edge.send();
    poll(*loop);
    poll(*loop);
    CHECK(levels == 2);
    CHECK(edges == 1);

    REQUIRE(loop->modify(on_level, 0));
    REQUIRE(loop->modify(on_edge, EPOLLIN | EPOLLET));
    poll(*loop);
    CHECK(levels == 2);
    CHECK(edges == 2);

    loop->remove(on_edge);
    loop->remove(on_edge);
    CHECK_FALSE(on_edge.registered());
    edge.send();
    poll(*loop);
    CHECK(edges == 2);
    CHECK(loop->stats().events == 4);
    CHECK(loop->stats().stale_events == 0);
}

TEST_CASE("loop: refuses a bad descriptor, a second registration and a stranger") {
    auto loop = make_loop();
    auto other = make_loop();
    Pair pair;
    Handler h([](uint32_t) {});
    const auto closed = loop->add(-1, h, EPOLLIN);
    REQUIRE_FALSE(closed);
    CHECK(closed.error().os == EBADF);
    CHECK_FALSE(h.registered());
    const Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    const auto plain = loop->add(file.get(), h, EPOLLIN);
    REQUIRE_FALSE(plain);
    CHECK(plain.error().os == EPERM);
    CHECK_FALSE(loop->modify(h, EPOLLIN));
    REQUIRE(loop->add(pair.near.get(), h, EPOLLIN));
    CHECK_FALSE(loop->add(pair.far.get(), h, EPOLLIN));
    Handler second([](uint32_t) {});
    CHECK_FALSE(loop->add(pair.near.get(), second, EPOLLIN));
    CHECK_FALSE(other->modify(h, EPOLLIN));
    other->remove(h);
    CHECK(h.registered());
}

TEST_CASE("loop: a handler removed or destroyed in a batch is not called any more in it") {
    auto loop = make_loop();
    Pair a, b, c;
    int calls = 0;
    // Whoever is called first does away with the others, whose events are in the batch already.
    std::vector<std::unique_ptr<Handler>> handlers(3);
    const Pair* pairs[3] = {&a, &b, &c};
    for (size_t i = 0; i < 3; ++i) {
        handlers[i] = std::make_unique<Handler>([&, i](uint32_t) {
            ++calls;
            loop->remove(*handlers[(i + 1) % 3]);
            handlers[(i + 2) % 3].reset();
        });
        REQUIRE(loop->add(pairs[i]->near.get(), *handlers[i], EPOLLIN));
    }
    a.send();
    b.send();
    c.send();
    poll(*loop);
    CHECK(calls == 1);
    CHECK(loop->stats().stale_events == 2);
}

TEST_CASE("loop: a slot reused within the batch does not receive its predecessor's events") {
    auto loop = make_loop();
    Pair a, b, fresh;
    int fresh_calls = 0;
    Handler fresh_handler([&](uint32_t) { ++fresh_calls; });
    std::vector<std::unique_ptr<Handler>> handlers(2);
    const Pair* pairs[2] = {&a, &b};
    for (size_t i = 0; i < 2; ++i) {
        handlers[i] = std::make_unique<Handler>([&, i](uint32_t) {
            handlers[1 - i].reset();
            REQUIRE(loop->add(fresh.near.get(), fresh_handler, EPOLLIN));
        });
        REQUIRE(loop->add(pairs[i]->near.get(), *handlers[i], EPOLLIN));
    }
    a.send();
    b.send();
    poll(*loop);
    CHECK(fresh_calls == 0);
    CHECK(loop->stats().stale_events == 1);
    fresh.send();
    for (auto& h : handlers) h.reset();
    poll(*loop);
    CHECK(fresh_calls == 1);
}

TEST_CASE("loop: a descriptor closed before it was removed, with a duplicate elsewhere, cannot reach the dead handler") {
    auto loop = make_loop();
    Pair pair;
    const Fd duplicate(::fcntl(pair.near.get(), F_DUPFD_CLOEXEC, 0));
    int calls = 0;
    auto handler = std::make_unique<Handler>([&](uint32_t) { ++calls; });
    REQUIRE(loop->add(pair.near.get(), *handler, EPOLLIN));
    pair.near.reset();
    handler.reset();
    pair.send();
    poll(*loop);
    CHECK(calls == 0);
    CHECK(loop->stats().stale_events == 1);
}

TEST_CASE("loop: handlers may add handlers, more than a batch fetches are all served") {
    auto loop = make_loop();
    constexpr size_t kPairs = 300;
    std::vector<Pair> pairs(kPairs);
    std::vector<std::unique_ptr<Handler>> handlers;
    size_t served = 0;
    const auto add_next = [&](auto&& self) -> void {
        const size_t i = handlers.size();
        if (i == kPairs) return;
        handlers.push_back(std::make_unique<Handler>([&, i](uint32_t) {
            if (pairs[i].receive() != '\0') ++served;
            self(self);
            self(self);
        }));
        REQUIRE(loop->add(pairs[i].near.get(), *handlers[i], EPOLLIN));
        pairs[i].send();
    };
    add_next(add_next);
    CHECK(run_until(*loop, [&] { return served == kPairs; }));
    CHECK(loop->stats().events == kPairs);
}

TEST_CASE("loop: tasks, events, timers, hooks and graves come in that order, hooks once each") {
    auto loop = make_loop();
    Pair pair;
    std::string order;
    int rounds = 0;
    Hook second([&] { order += "H2 "; });
    Hook first([&] {
        order += "H1 ";
        if (++rounds == 1) loop->post_batch(first);  // runs with the next batch, not again in this one
    });
    const auto end_of_batch = [&] {
        loop->bury(std::make_unique<Grave>([&] {
            order += "G1 ";
            if (rounds == 1) loop->bury(std::make_unique<Grave>([&] { order += "G2 "; }));
        }));
        loop->bury(nullptr);
        loop->post_batch(first);
        loop->post_batch(second);
        loop->post_batch(first);
    };
    Timer timer([](void* text) { *static_cast<std::string*>(text) += "T "; }, &order);
    Handler handler([&](uint32_t) {
        order += "E ";
        pair.receive();
        end_of_batch();
    });
    REQUIRE(loop->add(pair.near.get(), handler, EPOLLIN));
    loop->arm(timer, 0ms);
    const MonoTime due = std::chrono::steady_clock::now() + 2ms;
    while (std::chrono::steady_clock::now() < due) std::this_thread::yield();
    pair.send();
    REQUIRE(loop->post([&] { order += "P "; }));
    poll(*loop);
    CHECK(order == "P E T H1 H2 G1 G2 ");
    order.clear();
    // Nothing is ready, yet this batch does not wait: a hook was asked for.
    const MonoTime start = std::chrono::steady_clock::now();
    REQUIRE(loop->run_once(start + 20s));
    CHECK(std::chrono::steady_clock::now() - start < 10s);
    CHECK(order == "H1 ");
    CHECK(loop->stats().batches == 2);
}

TEST_CASE("loop: a hook destroyed before its turn is not called") {
    auto loop = make_loop();
    int calls = 0;
    auto victim = std::make_unique<Hook>([&] { ++calls; });
    Hook killer([&] { victim.reset(); });
    loop->post_batch(killer);
    loop->post_batch(*victim);
    poll(*loop);
    CHECK(calls == 0);
}

TEST_CASE("loop: hooks of bulk take turns, one a batch, after all others and without a wait") {
    auto loop = make_loop();
    std::string order;
    Hook a([&] {
        order += "A ";
        loop->post_bulk(a);
    });
    Hook b([&] { order += "B "; });
    Hook small([&] { order += "s "; });
    loop->post_bulk(a);
    loop->post_bulk(b);
    loop->post_bulk(a);
    loop->post_batch(small);
    const MonoTime start = std::chrono::steady_clock::now();
    REQUIRE(loop->run_once(start + 20s));
    CHECK(order == "s A ");
    REQUIRE(loop->run_once(start + 20s));
    loop->post_batch(small);
    REQUIRE(loop->run_once(start + 20s));
    CHECK(order == "s A B s A ");
    CHECK(std::chrono::steady_clock::now() - start < 10s);
}

TEST_CASE("loop: a connection that buries itself lives until the batch ends") {
    struct Connection final : Buried, IoHandler {
        explicit Connection(Loop& l, bool& d) : loop(l), dead(d) {}
        ~Connection() override { dead = true; }
        void on_io(uint32_t) override {
            loop.remove(*this);
            loop.bury(std::unique_ptr<Buried>(this));
            alive_after_burial = !dead;
        }
        Loop& loop;
        bool& dead;
        bool alive_after_burial = false;
        Pair pair;
    };
    auto loop = make_loop();
    bool dead = false, alive_at_end = false;
    auto* connection = new Connection(*loop, dead);
    Hook hook([&] { alive_at_end = !dead && connection->alive_after_burial; });
    REQUIRE(loop->add(connection->pair.near.get(), *connection, EPOLLIN));
    connection->pair.send();
    loop->post_batch(hook);
    poll(*loop);
    CHECK(alive_at_end);
    CHECK(dead);
}

TEST_CASE("loop: timers wake it in time, in order, never early") {
    auto loop = make_loop();
    struct Timed {
        Loop& loop;
        std::chrono::milliseconds delay;
        std::vector<int>& order;
        MonoTime armed{}, fired{};
        void on_time() {
            fired = std::chrono::steady_clock::now();
            order.push_back(static_cast<int>(delay.count()));
        }
        Timer timer = Timer::of<&Timed::on_time>(*this);
        void arm() {
            armed = std::chrono::steady_clock::now();
            loop.arm(timer, delay);
        }
    };
    std::vector<int> order;
    Timed slow{*loop, 70ms, order}, fast{*loop, 3ms, order}, gone{*loop, 10ms, order};
    slow.arm();
    fast.arm();
    gone.arm();
    loop->disarm(gone.timer);
    REQUIRE(run_until(*loop, [&] { return order.size() == 2; }));
    CHECK(order == std::vector<int>{3, 70});
    CHECK(fast.fired - fast.armed >= fast.delay);
    CHECK(slow.fired - slow.armed >= slow.delay);
    const LoopStats stats = loop->stats();
    CHECK(stats.timers_fired == 2);
    // It slept between them: one batch each, and those in which a timer came down from the second level.
    CHECK(stats.batches <= 6);
}

TEST_CASE("loop: a timer armed late in a millisecond gets its whole delay") {
    auto loop = make_loop();
    MonoTime fired{};
    Timer timer([](void* t) { *static_cast<MonoTime*>(t) = std::chrono::steady_clock::now(); }, &fired);
    for (int i = 0; i < 10; ++i) {
        MonoTime armed;
        do {
            armed = std::chrono::steady_clock::now();
        } while (armed.time_since_epoch() % 1ms < 800us);
        loop->arm(timer, 2ms);
        const MonoTime deadline = armed + 20s;
        while (timer.armed() && std::chrono::steady_clock::now() < deadline) poll(*loop);
        CHECK(fired - armed >= 2ms);
    }
}

TEST_CASE("loop: run_once waits for its deadline and no longer, and now() is the batch's") {
    auto loop = make_loop();
    const MonoTime start = std::chrono::steady_clock::now();
    REQUIRE(loop->run_once(start + 20ms));
    CHECK(std::chrono::steady_clock::now() - start >= 20ms);
    CHECK(loop->stats().batches == 1);

    MonoTime first, second;
    REQUIRE(loop->post([&] {
        first = loop->now();
        while (std::chrono::steady_clock::now() < first + 2ms) std::this_thread::yield();
        second = loop->now();
    }));
    poll(*loop);
    CHECK(first == second);
    CHECK(loop->now() > second);
    CHECK(loop->stats().busy_ns >= 2'000'000);

    // The wake-up of that task is spent: the loop sleeps again.
    const MonoTime again = std::chrono::steady_clock::now();
    REQUIRE(loop->run_once(again + 5ms));
    CHECK(std::chrono::steady_clock::now() - again >= 5ms);
}

TEST_CASE("loop: a delay beyond all measure is far away, not past") {
    auto loop = make_loop();
    bool fired = false;
    Timer timer([](void* f) { *static_cast<bool*>(f) = true; }, &fired);
    loop->arm(timer, std::chrono::milliseconds::max());
    REQUIRE(loop->run_once(std::chrono::steady_clock::now() + 5ms));
    CHECK_FALSE(fired);
    CHECK(timer.armed());
}

TEST_CASE("loop: what four threads post is run or refused, none lost") {
    constexpr int kEach = 20'000;
    auto loop = make_loop(64);
    std::atomic<uint64_t> accepted = 0, refused = 0;
    uint64_t ran = 0;
    std::thread worker([&] { CHECK(loop->run()); });
    std::vector<std::thread> producers;
    for (int t = 0; t < 4; ++t) {
        producers.emplace_back([&] {
            for (int i = 0; i < kEach; ++i) ++(loop->post([&] { ++ran; }) ? accepted : refused);
        });
    }
    for (std::thread& p : producers) p.join();
    // Whatever was accepted is run without another push from here: no wake-up was lost.
    const MonoTime deadline = std::chrono::steady_clock::now() + 20s;
    while (loop->stats().tasks_run < accepted && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    loop->stop();
    worker.join();
    CHECK(ran == accepted);
    CHECK(accepted + refused == 4 * kEach);
    CHECK(loop->stats().tasks_run == accepted);
    CHECK(loop->stats().tasks_refused == refused);
}

TEST_CASE("loop: every single post wakes a sleeping loop") {
    auto loop = make_loop();
    std::atomic<int> ran = 0;
    std::thread worker([&] { CHECK(loop->run()); });
    bool all = true;
    for (int i = 0; i < 50'000 && all; ++i) {
        all = loop->post([&] { ++ran; });
        const MonoTime deadline = std::chrono::steady_clock::now() + 20s;
        while (all && ran <= i) all = std::chrono::steady_clock::now() < deadline;
    }
    loop->stop();
    worker.join();
    CHECK(all);
    CHECK(ran == 50'000);
}

TEST_CASE("loop: a full mailbox refuses and counts, and a task that posts itself does not starve I/O") {
    auto loop = make_loop(4);
    Pair pair;
    bool served = false;
    Handler handler([&](uint32_t) { served = true; });
    REQUIRE(loop->add(pair.near.get(), handler, EPOLLIN | EPOLLET));
    poll(*loop);
    int runs = 0;
    std::function<void()> again = [&] {
        if (++runs == 2) pair.send();
        if (!served) (void)loop->post(again);
    };
    for (int i = 0; i < 4; ++i) REQUIRE(loop->post(again));
    CHECK_FALSE(loop->post([] {}));
    CHECK(loop->stats().tasks_refused == 1);
    CHECK(run_until(*loop, [&] { return served; }));
    CHECK(runs >= 4);
    CHECK(runs <= 12);
}

TEST_CASE("loop: stop before run, from another thread and from a signal") {
    auto loop = make_loop();
    SECTION("before") {
        loop->stop();
        REQUIRE(loop->run());
        CHECK(loop->stats().batches == 0);
    }
    SECTION("from a signal, which alone does not end the run") {
        static Loop* the_loop = nullptr;
        static std::atomic<int> signals = 0;
        the_loop = loop.get();
        struct sigaction action{};
        struct sigaction before{};
        action.sa_handler = [](int) {
            if (++signals == 2) the_loop->stop();
        };
        REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
        std::atomic<bool> inside = false;
        REQUIRE(loop->post([&] { inside = true; }));
        bool ok = false;
        std::thread worker([&] { ok = loop->run().has_value(); });
        while (!inside) std::this_thread::yield();
        ::pthread_kill(worker.native_handle(), SIGUSR1);
        while (signals < 1) std::this_thread::yield();
        ::pthread_kill(worker.native_handle(), SIGUSR1);
        worker.join();
        CHECK(ok);
        CHECK(signals == 2);
        REQUIRE(::sigaction(SIGUSR1, &before, nullptr) == 0);
    }
}

TEST_CASE("loop: whichever dies first, loop or members, and what it held is released") {
    Pair pair;
    int calls = 0, graves = 0;
    auto watched = std::make_shared<int>(1);
    Handler handler([&](uint32_t) { ++calls; });
    Hook hook([&] { ++calls; });
    Timer timer([](void* c) { ++*static_cast<int*>(c); }, &calls);
    {
        auto loop = make_loop();
        REQUIRE(loop->add(pair.near.get(), handler, EPOLLIN));
        loop->post_batch(hook);
        loop->arm(timer, 10ms);
        // A task that was never run owns a handler of the loop, and its end buries something.
        auto inner = std::make_unique<Handler>([](uint32_t) {});
        REQUIRE(loop->add(pair.far.get(), *inner, EPOLLIN));
        struct BuryOnEnd {
            Loop* loop;
            int* graves;
            ~BuryOnEnd() {
                loop->bury(std::make_unique<Grave>([g = graves] { ++*g; }));
            }
        };
        REQUIRE(loop->post([watched, own = std::move(inner), last = std::make_unique<BuryOnEnd>(loop.get(), &graves)] {}));
    }
    CHECK(watched.use_count() == 1);
    CHECK(graves == 1);
    CHECK(calls == 0);
    CHECK_FALSE(handler.registered());
    CHECK_FALSE(hook.linked());
    CHECK_FALSE(timer.armed());
    auto second = make_loop();
    REQUIRE(second->add(pair.near.get(), handler, EPOLLIN));
    pair.send();
    poll(*second);
    CHECK(calls == 1);
}
