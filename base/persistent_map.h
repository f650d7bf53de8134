// SPDX-License-Identifier: Apache-2.0
// PersistentMap: a hash array mapped trie with value semantics. Copying is one reference count; a change copies only the nodes on its
// path that somebody else still shares, so bulk loading edits in place and a published copy never moves.
//
// Shape (CHAMP, Steindorfer and Vinju 2015): five bits of a 64-bit hash a level; a node is one allocation holding its entries, then its
// children, each in bit order; keys whose whole hashes agree share a collision node below the last level. A child never holds one entry
// alone: it moves up, so equal contents have equal shapes whatever the history.
//
// Threads: one map object belongs to one thread at a time; copies of it may be read, copied and dropped on any others meanwhile.
// Pointers from find and edit live until the next change of that same map object. Running out of memory ends the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <utility>

namespace warren::base {

template <class Key, class Value, class Hash = std::hash<Key>>
class PersistentMap {
  public:
    PersistentMap() = default;
    PersistentMap(const PersistentMap& o) noexcept : root_(o.root_), size_(o.size_) {
        if (root_ != nullptr) retain(root_);
    }
    PersistentMap(PersistentMap&& o) noexcept : root_(std::exchange(o.root_, nullptr)), size_(std::exchange(o.size_, 0)) {}
    PersistentMap& operator=(PersistentMap o) noexcept {
        std::swap(root_, o.root_);
        std::swap(size_, o.size_);
        return *this;
    }
    ~PersistentMap() {
        if (root_ != nullptr) release(root_);
    }

    [[nodiscard]] size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] const Value* find(const Key& key) const {
        return find(Hash{}(key), [&](const Key& k) { return k == key; });
    }
    // By a probe that is not a Key: the hash its key would have, and same(const Key&) -> bool. Allocates nothing.
    template <class Same>
    [[nodiscard]] const Value* find(uint64_t hash, Same&& same) const {
        const Node* n = root_;
        for (unsigned shift = 0; n != nullptr; shift += kBits) {
            if (shift >= kHashBits) {
                const Entry* e = n->find(same);
                return e != nullptr ? &e->value : nullptr;
            }
            const uint32_t bit = bit_of(hash, shift);
            if ((n->data & bit) != 0) {
                const Entry& e = n->entries()[index(n->data, bit)];
                return same(e.key) ? &e.value : nullptr;
            }
            n = (n->nodes & bit) != 0 ? n->children()[index(n->nodes, bit)] : nullptr;
        }
        return nullptr;
    }

    // The value of the key, made if it was not there, for changing in place: nobody else sees it. The key given is the one kept, so a key
    // that shares its text with the value does so after a replacement, too.
    Value& edit(Key key) {
        Put put{Hash{}(key), std::move(key)};
        root_ = root_ == nullptr ? lone(put) : insert(root_, 0, put);
        size_ += put.added ? 1 : 0;
        return *put.value;
    }
    void set(Key key, Value value) { edit(std::move(key)) = std::move(value); }

    // False when there was no such key; nothing is copied then.
    bool erase(const Key& key) {
        return erase(Hash{}(key), [&](const Key& k) { return k == key; });
    }
    template <class Same>
    bool erase(uint64_t hash, Same&& same) {
        if (find(hash, same) == nullptr) return false;
        root_ = remove(root_, 0, hash, same);
        --size_;
        return true;
    }

    // fn(const Key&, const Value&), in no order. fn must not change this map object.
    template <class Fn>
    void for_each(Fn&& fn) const {
        if (root_ != nullptr) visit(root_, fn);
    }
    // fn as above, for every entry whose hash agrees with the one given in its lowest bits (a multiple of five), and perhaps for a few
    // others.
    template <class Fn>
    void for_each_near(uint64_t hash, unsigned bits, Fn&& fn) const {
        const Node* n = root_;
        for (unsigned shift = 0; n != nullptr; shift += kBits) {
            if (shift >= bits || shift >= kHashBits) return visit(n, fn);
            const uint32_t bit = bit_of(hash, shift);
            if ((n->data & bit) != 0) {
                const Entry& e = n->entries()[index(n->data, bit)];
                return fn(e.key, e.value);
            }
            n = (n->nodes & bit) != 0 ? n->children()[index(n->nodes, bit)] : nullptr;
        }
    }

    // What leads from one map to the other: fn(const Value* before, const Value* after), null where the key is missing. Parts that the two
    // maps share are passed over, so the cost is that of the changes between them; neighbours of a change come up unchanged.
    template <class Fn>
    static void diff(const PersistentMap& before, const PersistentMap& after, Fn&& fn) {
        compare(before.root_, after.root_, 0, fn);
    }
    // The very same nodes: nothing was changed in between. False says nothing.
    [[nodiscard]] bool shares_all_with(const PersistentMap& o) const noexcept { return root_ == o.root_; }

  private:
    static constexpr unsigned kBits = 5;
    static constexpr unsigned kHashBits = 64;

    struct Entry {
        Key key;
        [[no_unique_address]] Value value;
    };

    struct Node {
        mutable std::atomic<uint32_t> refs{1};
        uint32_t data;   // slots with an entry; 0 in a collision node
        uint32_t nodes;  // slots with a child
        uint32_t count;  // entries; popcount(data) but in a collision node

        Node(uint32_t data_map, uint32_t node_map, uint32_t entry_count) : data(data_map), nodes(node_map), count(entry_count) {}
        Entry* entries() const noexcept { return reinterpret_cast<Entry*>(address() + kFirst); }
        Node** children() const noexcept { return reinterpret_cast<Node**>(address() + children_at(count)); }
        [[nodiscard]] uint32_t child_count() const noexcept { return ones(nodes); }
        const Entry* entry_at(uint32_t bit) const noexcept { return (data & bit) != 0 ? &entries()[index(data, bit)] : nullptr; }
        const Node* child_at(uint32_t bit) const noexcept { return (nodes & bit) != 0 ? children()[index(nodes, bit)] : nullptr; }
        template <class Same>
        Entry* find(Same&& same) const {
            for (uint32_t i = 0; i < count; ++i)
                if (same(std::as_const(entries()[i].key))) return &entries()[i];
            return nullptr;
        }

      private:
        std::byte* address() const noexcept { return reinterpret_cast<std::byte*>(const_cast<Node*>(this)); }
    };

    static constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
    static constexpr size_t kFirst = round_up(sizeof(Node), alignof(Entry));
    static constexpr size_t children_at(size_t entries) { return round_up(kFirst + entries * sizeof(Entry), alignof(Node*)); }
    static_assert(alignof(Entry) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

    // One insertion on its way down.
    struct Put {
        uint64_t hash;
        Key key;
        Value* value = nullptr;
        bool added = false;
    };

    static uint32_t bit_of(uint64_t hash, unsigned shift) noexcept { return 1u << (hash >> shift & 31); }
    static uint32_t index(uint32_t map, uint32_t bit) noexcept { return ones(map & (bit - 1)); }
    // std::popcount is a library call on the baseline x86-64 we build for, several times the cost of this.
    static constexpr uint32_t ones(uint32_t v) noexcept {
        v -= v >> 1 & 0x55555555u;
        v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
        return ((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
    }

    static void retain(const Node* n) noexcept { n->refs.fetch_add(1, std::memory_order_relaxed); }
    // True when the one reference is ours. As long as we reach n through unshared nodes only, nobody else can make another.
    static bool unique(const Node* n) noexcept { return n->refs.load(std::memory_order_acquire) == 1; }
    static void release(Node* n) noexcept {
        if (n->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
        std::destroy_n(n->entries(), n->count);
        for (uint32_t i = 0; i < n->child_count(); ++i) release(n->children()[i]);
        free_shell(n);
    }
    static void free_shell(Node* n) noexcept {
        n->~Node();
        ::operator delete(n);
    }
    static Node* make(uint32_t data, uint32_t nodes, uint32_t count) noexcept {
        return new (::operator new(children_at(count) + ones(nodes) * sizeof(Node*))) Node(data, nodes, count);
    }
    static Entry* construct(Entry* at, Put& put) noexcept {
        Entry* e = new (at) Entry{std::move(put.key), Value()};
        put.value = &e->value;
        put.added = true;
        return e;
    }
    static void replace(Entry& e, Put& put) noexcept {
        e.key = std::move(put.key);
        put.value = &e.value;
    }
    // Out of a node we may empty, or a copy out of one that others read.
    static void transfer(Entry* to, Entry& from, bool ours) noexcept {
        if (ours) {
            new (to) Entry(std::move(from));
        } else {
            new (to) Entry(std::as_const(from));
        }
    }

    // n with other maps: what is in both is carried over, new slots are left for the caller to fill at once. Takes over n's reference.
    // Children that fall away belong to the caller already.
    static Node* reshape(Node* n, uint32_t data, uint32_t nodes) noexcept {
        const bool ours = unique(n);
        Node* out = make(data, nodes, ones(data));
        Entry* from = n->entries();
        for (uint32_t left = n->data; left != 0; left &= left - 1, ++from) {
            const uint32_t bit = left & (0u - left);
            if ((data & bit) != 0) transfer(out->entries() + index(data, bit), *from, ours);
        }
        Node** child = n->children();
        for (uint32_t left = n->nodes; left != 0; left &= left - 1, ++child) {
            const uint32_t bit = left & (0u - left);
            if ((nodes & bit) == 0) continue;
            if (!ours) retain(*child);
            out->children()[index(nodes, bit)] = *child;
        }
        drop(n, ours);
        return out;
    }
    // A collision node with room for `extra` more entries at the end, without the one at `skip`. Takes over n's reference.
    static Node* regrow(Node* n, uint32_t extra, const Entry* skip) noexcept {
        const bool ours = unique(n);
        Node* out = make(0, 0, n->count + extra - (skip != nullptr ? 1 : 0));
        Entry* to = out->entries();
        for (Entry* from = n->entries(); from != n->entries() + n->count; ++from)
            if (from != skip) transfer(to++, *from, ours);
        drop(n, ours);
        return out;
    }
    static void drop(Node* n, bool ours) noexcept {
        if (!ours) return release(n);
        std::destroy_n(n->entries(), n->count);
        free_shell(n);
    }
    // n itself where nobody shares it, else a copy. Takes over n's reference.
    static Node* own(Node* n, bool collision) noexcept {
        if (unique(n)) return n;
        return collision ? regrow(n, 0, nullptr) : reshape(n, n->data, n->nodes);
    }

    static Node* lone(Put& put) noexcept {
        Node* n = make(bit_of(put.hash, 0), 0, 1);
        construct(n->entries(), put);
        return n;
    }

    static Node* insert(Node* n, unsigned shift, Put& put) noexcept {
        if (shift >= kHashBits) return insert_collision(n, put);
        const uint32_t bit = bit_of(put.hash, shift);
        if ((n->nodes & bit) != 0) {
            n = own(n, false);
            Node*& child = n->children()[index(n->nodes, bit)];
            child = insert(child, shift + kBits, put);
            return n;
        }
        if ((n->data & bit) == 0) {
            n = reshape(n, n->data | bit, n->nodes);
            construct(n->entries() + index(n->data, bit), put);
            return n;
        }
        const uint32_t at = index(n->data, bit);
        if (n->entries()[at].key == put.key) {
            n = own(n, false);
            replace(n->entries()[at], put);
            return n;
        }
        const uint64_t hash = Hash{}(n->entries()[at].key);
        alignas(Entry) std::byte room[sizeof(Entry)];
        Entry* resident = reinterpret_cast<Entry*>(room);
        transfer(resident, n->entries()[at], unique(n));
        n = reshape(n, n->data & ~bit, n->nodes | bit);
        n->children()[index(n->nodes, bit)] = split(shift + kBits, hash, *resident, put);
        std::destroy_at(resident);
        return n;
    }

    // The smallest tree that tells two entries apart.
    static Node* split(unsigned shift, uint64_t hash, Entry& resident, Put& put) noexcept {
        if (shift >= kHashBits) {
            Node* n = make(0, 0, 2);
            transfer(n->entries(), resident, true);
            construct(n->entries() + 1, put);
            return n;
        }
        const uint32_t a = bit_of(hash, shift), b = bit_of(put.hash, shift);
        if (a == b) {
            Node* n = make(0, a, 0);
            n->children()[0] = split(shift + kBits, hash, resident, put);
            return n;
        }
        Node* n = make(a | b, 0, 2);
        transfer(n->entries() + (a < b ? 0 : 1), resident, true);
        construct(n->entries() + (a < b ? 1 : 0), put);
        return n;
    }

    static Node* insert_collision(Node* n, Put& put) noexcept {
        if (const Entry* e = n->find([&](const Key& k) { return k == put.key; })) {
            const auto at = e - n->entries();
            n = own(n, true);
            replace(n->entries()[at], put);
            return n;
        }
        n = regrow(n, 1, nullptr);
        construct(n->entries() + n->count - 1, put);
        return n;
    }

    // The key is there. Null when nothing is left. Takes over n's reference.
    template <class Same>
    static Node* remove(Node* n, unsigned shift, uint64_t hash, Same& same) noexcept {
        if (shift >= kHashBits) return regrow(n, 0, n->find(same));
        const uint32_t bit = bit_of(hash, shift);
        if ((n->data & bit) != 0) {
            if (n->count > 1 || n->nodes != 0) return reshape(n, n->data & ~bit, n->nodes);
            release(n);
            return nullptr;
        }
        n = own(n, false);
        Node*& slot = n->children()[index(n->nodes, bit)];
        Node* child = remove(slot, shift + kBits, hash, same);
        slot = child;
        if (child->count != 1 || child->nodes != 0) return n;
        n = reshape(n, n->data | bit, n->nodes & ~bit);
        transfer(n->entries() + index(n->data, bit), child->entries()[0], unique(child));
        drop(child, unique(child));
        return n;
    }

    template <class Fn>
    static void visit(const Node* n, Fn& fn) {
        for (uint32_t i = 0; i < n->count; ++i) fn(std::as_const(n->entries()[i].key), std::as_const(n->entries()[i].value));
        for (uint32_t i = 0; i < n->child_count(); ++i) visit(n->children()[i], fn);
    }

    template <class Fn>
    static void compare(const Node* a, const Node* b, unsigned shift, Fn& fn) {
        if (a == b) return;
        if (shift >= kHashBits || a == nullptr || b == nullptr) return compare_lists(a, b, fn);
        for (uint32_t left = a->data | a->nodes | b->data | b->nodes; left != 0; left &= left - 1) {
            const uint32_t bit = left & (0u - left);
            const Entry *x = a->entry_at(bit), *y = b->entry_at(bit);
            const Node *p = a->child_at(bit), *q = b->child_at(bit);
            // Under one bit a node has an entry or a child, never both.
            if (x == nullptr && y == nullptr) {
                compare(p, q, shift + kBits, fn);
            } else if (p != nullptr && y != nullptr) {
                compare_one(p, *y, [&](const Value* many, const Value* one) { fn(many, one); });
            } else if (q != nullptr && x != nullptr) {
                compare_one(q, *x, [&](const Value* many, const Value* one) { fn(one, many); });
            } else if (x != nullptr && y != nullptr && x->key == y->key) {
                fn(&x->value, &y->value);
            } else {
                if (x != nullptr) fn(&x->value, static_cast<const Value*>(nullptr));
                if (y != nullptr) fn(static_cast<const Value*>(nullptr), &y->value);
            }
        }
    }
    // A subtree here, one entry there. fn(of the subtree, the one).
    template <class Fn>
    static void compare_one(const Node* n, const Entry& one, Fn&& fn) {
        bool met = false;
        const auto each = [&](const Key& key, const Value& value) {
            const bool same = key == one.key;
            met = met || same;
            fn(&value, same ? &one.value : nullptr);
        };
        visit(n, each);
        if (!met) fn(static_cast<const Value*>(nullptr), &one.value);
    }
    // Collision nodes, or a subtree that is on one side only.
    template <class Fn>
    static void compare_lists(const Node* a, const Node* b, Fn& fn) {
        const auto of = [](const Node* n, const Key& key) {
            const Entry* e = n == nullptr ? nullptr : n->find([&](const Key& k) { return k == key; });
            return e == nullptr ? nullptr : &e->value;
        };
        const auto gone = [&](const Key& key, const Value& value) { fn(&value, of(b, key)); };
        const auto come = [&](const Key& key, const Value& value) {
            if (of(a, key) == nullptr) fn(static_cast<const Value*>(nullptr), &value);
        };
        if (a != nullptr) visit(a, gone);
        if (b != nullptr) visit(b, come);
    }

    Node* root_ = nullptr;
    size_t size_ = 0;
};

}  // namespace warren::base
