// SPDX-License-Identifier: Apache-2.0
// ResourceSet: all resources of one type, as a value. Copying is two reference counts, a change copies a short path, and a copy never
// changes under its readers: an owner edits its set and publishes copies of it (server.h). Two copies of one history compare at the price
// of what changed between them, which is how the server knows what to send without keeping a list for each client.
//
// Threads: one set object belongs to one thread at a time; copies of it may be read, copied and dropped on any others meanwhile. Views and
// pointers to resources live as long as a set that holds them. Memory: the texts and about 60 bytes a resource, 25 a name of its others.
#pragma once

#include "agent/xds/resource_block.h"
#include "base/persistent_map.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace warren::xds {

class ResourceSet {
  public:
    // with_keys false: without the other names, so for_each_of finds nothing; cheaper to fill.
    explicit ResourceSet(bool with_keys = true) : with_keys_(with_keys) {}

    // Adds or replaces. False when it is there with the same content already; errors as ResourceBlock::make, and nothing changes then.
    base::Result<bool> set(const ResourceSpec& spec);
    void set(ResourceRef resource);  // shared with another set
    // False when there is none of that name.
    bool erase(std::string_view name);

    [[nodiscard]] const ResourceBlock* find(std::string_view name) const;
    [[nodiscard]] size_t size() const { return blocks_.size(); }
    [[nodiscard]] size_t bytes() const { return bytes_; }  // of the blocks
    // fn(const ResourceBlock&), in no order.
    template <class Fn>
    void for_each(Fn&& fn) const {
        blocks_.for_each([&](const Key&, const ResourceRef& block) { fn(*block); });
    }
    // The resources that have this alias or are of this group: fn(const ResourceBlock&, bool is_alias). Not the one of that name itself.
    template <class Fn>
    void for_each_of(std::string_view key, Fn&& fn) const {
        keys_.for_each_near(key_hash(key), kKeyBits, [&](const Other& other, const Nothing&) {
            if (other.block->key(other.index) == key) fn(*other.block, other.block->is_alias(other.index));
        });
    }
    // fn(const ResourceBlock* before, const ResourceBlock* after), null where it is missing; not called for what is the same.
    template <class Fn>
    static void diff(const ResourceSet& before, const ResourceSet& after, Fn&& fn) {
        const auto each = [&](const ResourceRef* a, const ResourceRef* b) {
            if (a == nullptr || b == nullptr || a->get() != b->get())
                fn(a == nullptr ? nullptr : a->get(), b == nullptr ? nullptr : b->get());
        };
        Blocks::diff(before.blocks_, after.blocks_, each);
    }
    [[nodiscard]] bool same_as(const ResourceSet& o) const { return blocks_.shares_all_with(o.blocks_); }

  private:
    struct Nothing {};
    struct Key {  // the name of the block beside it
        const ResourceBlock* block;
        bool operator==(const Key& o) const { return block == o.block || block->name() == o.block->name(); }
    };
    struct KeyHash {
        uint64_t operator()(const Key& key) const { return hash(key.block->name()); }
    };
    // An alias or a group of a block in blocks_. Those of one text agree in the lowest bits, so they lie together.
    struct Other {
        const ResourceBlock* block;
        uint32_t index;
        bool operator==(const Other& o) const { return block->name() == o.block->name() && block->key(index) == o.block->key(o.index); }
    };
    static constexpr unsigned kKeyBits = 30;
    static uint64_t hash(std::string_view text) { return std::hash<std::string_view>{}(text); }
    static uint64_t key_hash(std::string_view key) { return hash(key) & ((uint64_t{1} << kKeyBits) - 1); }
    struct OtherHash {
        uint64_t operator()(const Other& o) const { return key_hash(o.block->key(o.index)) | hash(o.block->name()) << kKeyBits; }
    };
    using Blocks = base::PersistentMap<Key, ResourceRef, KeyHash>;
    using Keys = base::PersistentMap<Other, Nothing, OtherHash>;

    Blocks blocks_;
    Keys keys_;  // borrows from blocks_: whatever leaves that leaves this first
    size_t bytes_ = 0;
    bool with_keys_;
};

}  // namespace warren::xds
