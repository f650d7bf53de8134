// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include "tests/catch.h"

#include <array>
#include <memory>
#include <thread>
#include <vector>

using warren::base::Mailbox;
using warren::base::Task;

TEST_CASE("mailbox: keeps the order, refuses when full and leaves the task with its owner") {
    Mailbox box(3);
    REQUIRE(box.capacity() == 4);
    std::vector<int> ran;
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 4; ++i) REQUIRE(box.push([&ran, i] { ran.push_back(i); }));
        Task extra([&ran] { ran.push_back(99); });
        CHECK_FALSE(box.push(std::move(extra)));
        REQUIRE(extra);
        extra();
        while (Task task = box.pop()) task();
        CHECK(ran == std::vector<int>{99, 0, 1, 2, 3});
        ran.clear();
        CHECK_FALSE(box.pop());
    }
}

TEST_CASE("mailbox: a task may own what does not copy, and releases it unrun") {
    auto watched = std::make_shared<int>(7);
    int seen = 0;
    {
        Mailbox box(2);
        REQUIRE(box.push([&seen, own = std::make_unique<int>(3), watched] { seen = *own; }));
        REQUIRE(box.push([watched] {}));
        CHECK(watched.use_count() == 3);
        box.pop()();
        CHECK(seen == 3);
        CHECK(watched.use_count() == 2);
    }
    CHECK(watched.use_count() == 1);
}

TEST_CASE("mailbox: four producers lose nothing and each keeps its order") {
    constexpr int kEach = 20'000;
    Mailbox box(64);
    std::array<int, 4> last{-1, -1, -1, -1};
    int misordered = 0;
    std::vector<std::thread> producers;
    for (size_t who = 0; who < 4; ++who) {
        producers.emplace_back([&, who] {
            for (int i = 0; i < kEach; ++i) {
                Task task([&, who, i] {
                    if (last[who] != i - 1) ++misordered;
                    last[who] = i;
                });
                while (!box.push(std::move(task))) std::this_thread::yield();
            }
        });
    }
    for (int ran = 0; ran < 4 * kEach;) {
        if (Task task = box.pop()) {
            task();
            ++ran;
        } else {
            std::this_thread::yield();
        }
    }
    for (std::thread& t : producers) t.join();
    CHECK(misordered == 0);
    CHECK(last == std::array<int, 4>{kEach - 1, kEach - 1, kEach - 1, kEach - 1});
    CHECK_FALSE(box.pop());
}
