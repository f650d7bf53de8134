// SPDX-License-Identifier: Apache-2.0
// TypedMap<Key, Value>: one kernel map as its rows of bpf/abi.h. Borrows the descriptor from the KernelObject that loaded it, which
// outlives it. Calls are system calls: any thread, but a map has one writer (bpf/README.md). Errors: NotFound, Exists, Exhausted (the map
// is full) and the kernel's own.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace warren::node {

// The untyped half: sizes are checked once, when bound.
class RawMap {
  public:
    RawMap() = default;
    // Refused when the kernel's sizes are not these.
    static base::Result<RawMap> bind(std::string name, int fd, size_t key_size, size_t value_size);

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] uint32_t capacity() const { return capacity_; }

    [[nodiscard]] base::Result<bool> lookup(const void* key, void* value) const;
    [[nodiscard]] base::Result<void> update(const void* key, const void* value) const;
    // True: it was there.
    [[nodiscard]] base::Result<bool> erase(const void* key) const;
    // Whole batches in one call where the kernel has it for this kind of map, else one by one. Stops at the first refusal.
    [[nodiscard]] base::Result<void> update_many(const void* keys, const void* values, size_t count) const;
    [[nodiscard]] base::Result<void> erase_many(const void* keys, size_t count) const;
    // A copy of the rows, batch by batch where the kernel can. Rows that come or go meanwhile may or may not be among them.
    [[nodiscard]] base::Result<size_t> read(std::vector<std::byte>& keys, std::vector<std::byte>* values) const;

  private:
    std::string name_;
    int fd_ = -1;
    size_t key_size_ = 0, value_size_ = 0;
    uint32_t capacity_ = 0;
};

template <class Key, class Value>
class TypedMap {
    static_assert(std::has_unique_object_representations_v<Key> && std::has_unique_object_representations_v<Value>, "holes leak and miss");

  public:
    TypedMap() = default;
    static base::Result<TypedMap> bind(std::string name, int fd) {
        TypedMap map;
        map.raw_ = TRY(RawMap::bind(std::move(name), fd, sizeof(Key), sizeof(Value)));
        return map;
    }

    [[nodiscard]] const RawMap& raw() const { return raw_; }
    [[nodiscard]] base::Result<std::optional<Value>> lookup(const Key& key) const {
        Value value{};
        if (!TRY(raw_.lookup(&key, &value))) return std::optional<Value>();
        return std::optional<Value>(value);
    }
    [[nodiscard]] base::Result<void> update(const Key& key, const Value& value) const { return raw_.update(&key, &value); }
    [[nodiscard]] base::Result<bool> erase(const Key& key) const { return raw_.erase(&key); }
    [[nodiscard]] base::Result<void> update(std::span<const Key> keys, std::span<const Value> values) const {
        return raw_.update_many(keys.data(), values.data(), keys.size());
    }
    [[nodiscard]] base::Result<void> erase(std::span<const Key> keys) const { return raw_.erase_many(keys.data(), keys.size()); }
    [[nodiscard]] base::Result<std::vector<std::pair<Key, Value>>> rows() const {
        std::vector<std::byte> keys, values;
        const size_t count = TRY(raw_.read(keys, &values));
        std::vector<std::pair<Key, Value>> out(count);
        for (size_t i = 0; i < count; ++i) {
            __builtin_memcpy(&out[i].first, keys.data() + i * sizeof(Key), sizeof(Key));
            __builtin_memcpy(&out[i].second, values.data() + i * sizeof(Value), sizeof(Value));
        }
        return out;
    }
    [[nodiscard]] base::Result<size_t> count() const {
        std::vector<std::byte> keys;
        return raw_.read(keys, nullptr);
    }

  private:
    RawMap raw_;
};

}  // namespace warren::node
