// SPDX-License-Identifier: Apache-2.0
// One resource as the server keeps it: name, version, body and the other names it goes by, in one allocation that never changes and that
// every snapshot and every client shares. A mesh has a hundred thousand of them, so what is beside the texts is 24 bytes and six a key,
// and a text that stands in the body anyhow (a workload's uid, the services it belongs to) is not kept twice.
// Any thread reads; the last reference frees.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::xds {

// What an owner says of a resource. Borrowed texts.
struct ResourceSpec {
    std::string_view name;
    // A pure function of the content, the same in every replica: it is all that a client's list is compared with after a reconnect. Empty
    // where there is none; such a resource is sent again then.
    std::string_view version = {};
    std::span<const uint8_t> body;  // the message, as it goes into the Any
    // Names an on-demand client may ask by beside the resource's own, and that responses to such clients list: "network/ip".
    std::vector<std::string> aliases = {};
    // Names that bring this resource among others and are not listed: a set such as all services, or the name of a resource this one
    // belongs to. Whoever asks for that resource, by name or alias, gets its members with it ("namespace/hostname": the workloads).
    std::vector<std::string> groups = {};
};

class ResourceRef;

class ResourceBlock {
  public:
    // Errors: no name, a text of more than 64 KiB or not UTF-8, more than 65,535 aliases or groups, a body of 2 GiB.
    static base::Result<ResourceRef> make(const ResourceSpec& spec);

    [[nodiscard]] std::string_view name() const { return {data() + name_at_, name_}; }
    [[nodiscard]] std::string_view version() const { return {data() + key_count() * sizeof(Place), version_}; }
    [[nodiscard]] std::span<const uint8_t> body() const { return base::as_bytes({data() + body_at_, body_}); }
    [[nodiscard]] uint32_t key_count() const { return uint32_t{aliases_} + groups_; }
    // Aliases first, then groups: fn(text, index, is_alias).
    template <class Fn>
    void each_key(Fn&& fn) const {
        for (uint32_t i = 0; i < key_count(); ++i) fn(key(i), i, i < aliases_);
    }
    [[nodiscard]] std::string_view key(uint32_t index) const;
    [[nodiscard]] bool is_alias(uint32_t index) const { return index < aliases_; }
    [[nodiscard]] bool same_keys(const ResourceBlock& o) const;
    [[nodiscard]] bool same_content(const ResourceBlock& o) const;
    // What a wildcard client sees of it.
    [[nodiscard]] bool same_to_client(const ResourceBlock& o) const;
    [[nodiscard]] size_t bytes() const { return sizeof *this + body_at_ + body_; }

  private:
    friend class ResourceRef;
    ResourceBlock() = default;
    // Behind the block: the places of its keys, the version, the texts that the body does not have, the body.
    struct Place {
        std::array<uint16_t, 2> at;  // from data(), low half first; halves, so that six bytes do for a place
        uint16_t size;
    };
    [[nodiscard]] const char* data() const { return reinterpret_cast<const char*>(this + 1); }
    [[nodiscard]] char* data() { return reinterpret_cast<char*>(this + 1); }

    mutable std::atomic<uint32_t> refs_{1};
    uint32_t body_at_ = 0, body_ = 0;  // from data(); bytes
    uint32_t name_at_ = 0;
    uint16_t name_ = 0, version_ = 0;    // bytes
    uint16_t aliases_ = 0, groups_ = 0;  // counts
};
static_assert(sizeof(ResourceBlock) == 24);

class ResourceRef {
  public:
    ResourceRef() = default;
    explicit ResourceRef(const ResourceBlock* shared) : block_(shared) {
        if (block_ != nullptr) block_->refs_.fetch_add(1, std::memory_order_relaxed);
    }
    ResourceRef(const ResourceRef& o) : ResourceRef(o.block_) {}
    ResourceRef(ResourceRef&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
    ResourceRef& operator=(ResourceRef o) noexcept {
        std::swap(block_, o.block_);
        return *this;
    }
    ~ResourceRef();

    [[nodiscard]] const ResourceBlock* get() const { return block_; }
    const ResourceBlock* operator->() const { return block_; }
    const ResourceBlock& operator*() const { return *block_; }

  private:
    const ResourceBlock* block_ = nullptr;
};

}  // namespace warren::xds
