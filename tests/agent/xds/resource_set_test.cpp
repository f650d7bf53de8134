// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/resource_set.h"

#include "tests/catch.h"

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace warren;
using xds::ResourceBlock;
using xds::ResourceSet;

namespace {

std::set<std::string> of(const ResourceSet& set, std::string_view key) {
    std::set<std::string> names;
    set.for_each_of(key, [&](const ResourceBlock& block, bool) { names.emplace(block.name()); });
    return names;
}

}  // namespace

TEST_CASE("xds resource set: a resource is found by name and by its other names, aliases apart from groups") {
    ResourceSet set;
    const std::string body("\0body", 5);
    REQUIRE(set.set({"name", "v1", base::as_bytes(body), {"net/1", "net/2", "net/1"}, {"group", "net/2"}}));
    const ResourceBlock* block = set.find("name");
    REQUIRE(block != nullptr);
    CHECK(block->version() == "v1");
    CHECK(base::as_text(block->body()) == body);
    CHECK(block->key_count() == 3);
    std::map<std::string, bool> keys;
    block->each_key([&](std::string_view key, uint32_t, bool alias) { keys[std::string(key)] = alias; });
    CHECK(keys == std::map<std::string, bool>{{"net/1", true}, {"net/2", true}, {"group", false}});
    CHECK(of(set, "net/2") == std::set<std::string>{"name"});
    CHECK(of(set, "group") == std::set<std::string>{"name"});
    CHECK(of(set, "name").empty());
    CHECK(set.find("net/1") == nullptr);
    CHECK(set.size() == 1);
}

TEST_CASE("xds resource set: a text that stands in the body is kept there, and is found as any other") {
    ResourceSet set;
    const std::string near = "..prod/web.prod.svc..Kubernetes//Pod/prod/web-1..";
    const std::string far = std::string(5000, '.') + near;
    for (const std::string& body : {near, far}) {
        REQUIRE(set.set({"Kubernetes//Pod/prod/web-1", "v1", base::as_bytes(body), {"net/10.0.0.1"}, {"prod/web.prod.svc"}}));
        const ResourceBlock* block = set.find("Kubernetes//Pod/prod/web-1");
        REQUIRE(block != nullptr);
        CHECK(block->key(0) == "net/10.0.0.1");
        CHECK(block->key(1) == "prod/web.prod.svc");
        CHECK(of(set, "prod/web.prod.svc") == std::set<std::string>{"Kubernetes//Pod/prod/web-1"});
        const bool shared = block->bytes() < sizeof(ResourceBlock) + body.size() + 2 + 2 * 6 + 12 + 1;
        CHECK(shared == (body == near));  // where it is looked for
    }
    // Other names in the same body are another content, whatever their places are.
    CHECK(*set.set({"Kubernetes//Pod/prod/web-1", "v1", base::as_bytes(far), {"net/10.0.0.1"}, {"prod/web"}}));
    CHECK(of(set, "prod/web.prod.svc").empty());
}

TEST_CASE("xds resource set: the same content again is no change, and keeps the resource where it is") {
    ResourceSet set;
    CHECK(*set.set({"a", "1", base::as_bytes("x"), {"k"}}));
    const auto* before = set.find("a");
    CHECK_FALSE(*set.set({"a", "1", base::as_bytes("x"), {"k"}}));
    CHECK(set.find("a") == before);
    CHECK(*set.set({"a", "1", base::as_bytes("x"), {"l"}}));
    CHECK(of(set, "k").empty());
    CHECK(of(set, "l") == std::set<std::string>{"a"});
    CHECK(set.erase("a"));
    CHECK_FALSE(set.erase("a"));
    CHECK(of(set, "l").empty());
    CHECK(set.bytes() == 0);
}

TEST_CASE("xds resource set: what cannot be carried is refused and changes nothing") {
    ResourceSet set;
    CHECK_FALSE(set.set({"", "1", {}}));
    CHECK_FALSE(set.set({std::string(70'000, 'x'), "1", {}}));
    CHECK_FALSE(set.set({"\xff", "1", {}}));
    CHECK_FALSE(set.set({"a", "\xff", {}}));
    CHECK_FALSE(set.set({"a", "1", {}, {"\xff"}}));
    CHECK_FALSE(set.set({"a", "1", {}, {}, {std::string(70'000, 'x')}}));
    CHECK(set.size() == 0);
}

TEST_CASE("xds resource set: agrees with a model, copies stay as they were, differences lead from one to the other") {
    struct Model {
        std::map<std::string, std::string> bodies;
        std::map<std::string, std::set<std::string>> keys;  // by key
        bool operator==(const Model&) const = default;
    };
    const auto read = [](const ResourceSet& set) {
        Model model;
        set.for_each([&](const ResourceBlock& block) {
            model.bodies[std::string(block.name())] = base::as_text(block.body());
            block.each_key([&](std::string_view key, uint32_t, bool) { model.keys[std::string(key)] = of(set, key); });
        });
        return model;
    };
    std::mt19937 random(5);
    ResourceSet set;
    std::map<std::string, std::pair<std::string, std::vector<std::string>>> truth;
    for (int round = 0; round < 200; ++round) {
        const ResourceSet before = set;
        const Model old = read(before);
        for (int i = 0; i < 20; ++i) {
            const std::string name = "n" + std::to_string(random() % 100);
            if (random() % 3 == 0) {
                CHECK(set.erase(name) == (truth.erase(name) == 1));
                continue;
            }
            const std::string body = std::to_string(random() % 1000);
            std::vector<std::string> keys{"k" + std::to_string(random() % 5), "l" + std::to_string(random() % 200)};
            REQUIRE(set.set({name, "", base::as_bytes(body), keys}));
            truth[name] = {body, keys};
        }
        Model want;
        for (const auto& [name, entry] : truth) {
            want.bodies[name] = entry.first;
            for (const auto& key : entry.second) want.keys[key].insert(name);
        }
        REQUIRE(read(set) == want);
        REQUIRE(read(before) == old);
        auto patched = old.bodies;
        ResourceSet::diff(before, set, [&](const ResourceBlock* a, const ResourceBlock* b) {
            if (b == nullptr)
                patched.erase(std::string(a->name()));
            else
                patched[std::string(b->name())] = base::as_text(b->body());
        });
        REQUIRE(patched == want.bodies);
    }
}

TEST_CASE("xds resource set: ten thousand of one group, changed one by one") {
    ResourceSet set;
    for (int i = 0; i < 10'000; ++i) REQUIRE(set.set({"s" + std::to_string(i), "1", {}, {}, {"warren:services"}}));
    const ResourceSet copy = set;
    for (int i = 0; i < 10'000; i += 2) set.erase("s" + std::to_string(i));
    CHECK(of(set, "warren:services").size() == 5'000);
    CHECK(of(copy, "warren:services").size() == 10'000);
}
