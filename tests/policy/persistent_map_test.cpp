// SPDX-License-Identifier: Apache-2.0
#include "base/persistent_map.h"

#include "policy/random.h"
#include "policy/ref.h"
#include "policy/text.h"
#include "tests/catch.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using namespace warren::policy;
using warren::base::PersistentMap;

namespace {

struct Number {  // counts its copies, so that a test can say who copied
    explicit Number(uint64_t v = 0) : value(v) {}
    Number(const Number& o) : value(o.value) { ++copies; }
    Number(Number&& o) noexcept : value(o.value) {}
    Number& operator=(const Number&) = default;
    Number& operator=(Number&&) = default;
    ~Number() = default;
    bool operator==(const Number&) const = default;
    uint64_t value;
    static inline uint64_t copies = 0;
};

struct GoodHash {
    uint64_t operator()(uint64_t k) const { return Random(k).next(); }
};
struct FewBits {  // eight hashes for all keys, agreeing in the low bits: long chains, then collision nodes
    uint64_t operator()(uint64_t k) const { return (k & 7) << 61; }
};
struct OneHash {
    uint64_t operator()(uint64_t) const { return 42; }
};

template <class Map>
std::unordered_map<uint64_t, uint64_t> contents(const Map& map) {
    std::unordered_map<uint64_t, uint64_t> out;
    map.for_each([&](uint64_t key, const Number& value) { CHECK(out.emplace(key, value.value).second); });
    return out;
}

// Random changes against std::unordered_map; copies taken on the way must stay as they were.
template <class Hash>
void compare_with_model(size_t operations, uint64_t keys, size_t keep) {
    PersistentMap<uint64_t, Number, Hash> map;
    std::unordered_map<uint64_t, uint64_t> model;
    struct Kept {
        PersistentMap<uint64_t, Number, Hash> map;
        std::unordered_map<uint64_t, uint64_t> model;
    };
    std::deque<Kept> kept;
    Random random(7);
    for (size_t i = 0; i < operations; ++i) {
        const uint64_t key = random.below(keys);
        // Phases that grow and phases that shrink, so that nodes split and merge.
        const bool grow = (i / 8192) % 2 == 0;
        if (random.below(4) < (grow ? 3u : 1u)) {
            map.set(key, Number(i));
            model[key] = i;
        } else {
            const bool erased = map.erase(key);
            if (erased != (model.erase(key) == 1)) FAIL("erase of " << key << " at " << i);
        }
        const auto found = model.find(key);
        const Number* value = map.find(key);
        if ((value != nullptr) != (found != model.end())) FAIL("find of " << key << " at " << i);
        if (value != nullptr && value->value != found->second) FAIL("value of " << key << " at " << i);
        if (map.size() != model.size()) FAIL("size at " << i);
        if (random.below(operations / 40) == 0) {
            kept.push_back({map, model});
            if (kept.size() > keep) {
                CHECK(contents(kept.front().map) == kept.front().model);
                kept.pop_front();
            }
        }
    }
    CHECK(contents(map) == model);
    CHECK(kept.size() >= keep);
    for (const Kept& k : kept) {
        CHECK(contents(k.map) == k.model);
        CHECK(k.map.size() == k.model.size());
    }
    for (uint64_t key = 0; key < keys; ++key) map.erase(key);
    CHECK(map.empty());
    CHECK(map.find(3) == nullptr);
}

}  // namespace

TEST_CASE("persistent map: two hundred thousand random changes agree with a plain map and copies never move") {
    compare_with_model<GoodHash>(200'000, 20'000, 8);
}

TEST_CASE("persistent map: keys whose hashes collide are kept apart") {
    compare_with_model<FewBits>(20'000, 300, 8);
    compare_with_model<OneHash>(5'000, 60, 8);
}

TEST_CASE("persistent map: loading a map that nobody shares copies no entry") {
    PersistentMap<uint64_t, Number, GoodHash> map;
    Number::copies = 0;
    for (uint64_t k = 0; k < 10'000; ++k) map.edit(k) = Number(k);
    for (uint64_t k = 0; k < 10'000; k += 3) map.erase(k);
    CHECK(Number::copies == 0);
    CHECK(map.size() == 6'666);
}

TEST_CASE("persistent map: changing a shared map copies its path and nothing else") {
    PersistentMap<uint64_t, Number, GoodHash> map;
    for (uint64_t k = 0; k < 100'000; ++k) map.set(k, Number(k));
    const auto before = map;
    Number::copies = 0;
    map.edit(77) = Number(1);
    CHECK(Number::copies < 100);  // of the at most 32 entries of each of four nodes
    const uint64_t first = Number::copies;
    map.edit(77) = Number(2);
    CHECK(Number::copies == first);  // the path is ours by now
    CHECK(before.find(77)->value == 77);
    CHECK(map.find(77)->value == 2);
    map.erase(1'000'000);
    CHECK(Number::copies == first);  // erasing what is not there copies nothing
}

TEST_CASE("persistent map: a text is found by its characters") {
    PersistentMap<Text, uint64_t> map;
    const auto find = [&](std::string_view name) { return map.find(hash_text(name), [&](const Text& t) { return t.view() == name; }); };
    CHECK(find("a") == nullptr);
    for (int i = 0; i < 1000; ++i) map.set(Text("key-" + std::to_string(i)), {});
    CHECK(find("key-17") != nullptr);
    CHECK(find("key-17") == map.find(Text("key-17")));
    CHECK(find("key-1000") == nullptr);
    CHECK(find("") == nullptr);
    map.set(Text(), {});
    CHECK(find("") != nullptr);
}

TEST_CASE("persistent map: a replacement keeps the key it came with") {
    PersistentMap<Text, int> map;
    const Text first("name"), second("name");
    map.set(first, 1);
    const auto copy = map;
    map.set(second, 2);
    map.for_each([&](const Text& key, int) { CHECK(key.view().data() == second.view().data()); });
    copy.for_each([&](const Text& key, int) { CHECK(key.view().data() == first.view().data()); });
}

TEST_CASE("persistent map: moving and assigning leave no trace") {
    PersistentMap<uint64_t, Number, GoodHash> a;
    for (uint64_t k = 0; k < 100; ++k) a.set(k, Number(k));
    PersistentMap<uint64_t, Number, GoodHash> b = std::move(a);
    a = PersistentMap<uint64_t, Number, GoodHash>();
    CHECK(a.empty());
    CHECK(b.size() == 100);
    a = b;
    b = PersistentMap<uint64_t, Number, GoodHash>();
    CHECK(a.size() == 100);
    CHECK(a.find(99)->value == 99);
}

TEST_CASE("persistent map: readers on other threads keep copies while the writer changes its own") {
    using Map = PersistentMap<uint64_t, uint64_t, GoodHash>;
    constexpr uint64_t keys = 2'000, rounds = 300;
    // Every published map holds one value under all its keys: a reader that saw a change under way would see two.
    Map map;
    for (uint64_t k = 0; k < keys; ++k) map.set(k, 0);
    std::mutex mutex;
    Map published = map;
    std::atomic<bool> done{false};
    std::atomic<uint64_t> torn{0}, seen{0};
    const auto read = [&] {
        while (!done) {
            Map copy;
            {
                const std::lock_guard lock(mutex);
                copy = published;
            }
            const uint64_t expected = *copy.find(0);
            uint64_t entries = 0;
            copy.for_each([&](uint64_t, uint64_t v) { entries += v == expected ? 1 : 0; });
            torn += entries != keys ? 1 : 0;
            ++seen;
        }  // often the last to hold that copy, so its nodes are freed here
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back(read);
    for (uint64_t round = 1; round <= rounds; ++round) {
        for (uint64_t k = round % 2; k < keys; k += 2) map.erase(k);
        for (uint64_t k = 0; k < keys; ++k) map.set(k, round);
        const std::lock_guard lock(mutex);
        published = map;
    }
    while (seen < 10) std::this_thread::yield();
    done = true;
    for (std::thread& t : threads) t.join();
    CHECK(torn == 0);
}

namespace {

template <class Hash>
void diff_with_model(size_t rounds, uint64_t keys) {
    PersistentMap<uint64_t, Number, Hash> map;
    Random random(11);
    for (size_t round = 0; round < rounds; ++round) {
        const auto before = map;
        const auto old = contents(before);
        for (uint64_t n = random.below(60); n > 0; --n) {
            if (random.below(2) == 0)
                map.set(random.below(keys), Number(round * 1000 + n));
            else
                map.erase(random.below(keys));
        }
        auto patched = old;
        size_t calls = 0;
        PersistentMap<uint64_t, Number, Hash>::diff(before, map, [&](const Number* a, const Number* b) {
            REQUIRE((a != nullptr || b != nullptr));
            ++calls;
            // Values are unique, so they tell which key this is about.
            if (a != nullptr) std::erase_if(patched, [&](const auto& e) { return e.second == a->value; });
            if (b != nullptr)
                for (const auto& [k, v] : contents(map))
                    if (v == b->value) patched[k] = v;
        });
        REQUIRE(patched == contents(map));
        if (map.shares_all_with(before)) CHECK(calls == 0);
    }
}

}  // namespace

TEST_CASE("persistent map: a difference leads from one map to the other") {
    diff_with_model<GoodHash>(150, 300);
    diff_with_model<FewBits>(60, 60);
    diff_with_model<OneHash>(60, 20);
}

TEST_CASE("persistent map: what two maps share is passed over") {
    PersistentMap<uint64_t, Number, GoodHash> map;
    for (uint64_t i = 0; i < 100'000; ++i) map.set(i, Number(i));
    const auto before = map;
    map.set(77, Number(1'000'000));
    size_t calls = 0;
    decltype(map)::diff(before, map, [&](const Number*, const Number*) { ++calls; });
    CHECK(calls >= 1);
    CHECK(calls < 150);  // the neighbours on one path
}

TEST_CASE("persistent map: entries near a hash are all that agree in its lowest bits") {
    struct Grouped {
        uint64_t operator()(uint64_t k) const { return (k % 10) * 0x9e3779b9u % (1u << 30) | (k / 10) << 30; }
    };
    PersistentMap<uint64_t, Number, Grouped> map;
    for (uint64_t i = 0; i < 5'000; ++i) map.set(i, Number(i));
    for (uint64_t group = 0; group < 10; ++group) {
        size_t met = 0;
        map.for_each_near(Grouped{}(group), 30, [&](uint64_t key, const Number&) { met += key % 10 == group ? 1 : 0; });
        CHECK(met == 500);
    }
    size_t met = 0;
    map.for_each_near(12345, 30, [&](uint64_t, const Number&) { ++met; });
    CHECK(met <= 1);
}
