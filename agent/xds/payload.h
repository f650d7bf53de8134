// SPDX-License-Identifier: Apache-2.0
// What one push says of one type, and its encoding (data-plane contract 1.4). The bytes hold everything of a DeltaDiscoveryResponse but the
// nonce, which is appended for each client: fields may come in any order. So what fifty nodes are owed is encoded once and sent from the
// same memory; EncodingCache is where they meet.
//
// Threads: encode() any; EncodingCache any, it has a lock, under which the first of several clients encodes and the others wait.
#pragma once

#include "agent/xds/resource_block.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace warren::xds {

// Borrowed from sets that outlive it.
struct Delta {
    std::vector<const ResourceBlock*> changed;
    std::vector<std::string_view> removed;
    [[nodiscard]] bool empty() const { return changed.empty() && removed.empty(); }
};

// The messages of one push, usually one. More only where one would be larger than max_bytes; a single resource is never cut. At least one
// message, if an empty one.
using Messages = std::vector<std::shared_ptr<const std::string>>;
struct EncodeOptions {
    std::string_view type_url;
    bool with_aliases = false;
    size_t max_bytes = 0;
};
[[nodiscard]] Messages encode(const Delta& delta, const EncodeOptions& options);

// Of a message that says nothing.
[[nodiscard]] size_t empty_size(std::string_view type_url);

// Field 5, for the end of a message; and field 1 beside it.
[[nodiscard]] std::string nonce_field(std::string_view nonce, std::string_view version);

class EncodingCache {
  public:
    // Encodings that clients still hold, together; beyond that a new one is refused until others are gone, but never the only one.
    explicit EncodingCache(size_t max_bytes) : max_bytes_(max_bytes) {}

    struct Key {
        size_t type = 0;
        uint64_t from = 0, to = 0;  // generations; from 0: nothing
        bool operator<(const Key& o) const { return std::tie(type, from, to) < std::tie(o.type, o.from, o.to); }
    };
    // The encoding of the key, made with the function unless somebody holds it. Null: refused, try again later.
    [[nodiscard]] std::shared_ptr<const Messages> get(const Key& key, const std::function<Messages()>& make);
    // The same bound for what only one client is owed.
    [[nodiscard]] std::shared_ptr<const Messages> alone(const std::function<Messages()>& make);

    [[nodiscard]] size_t held_bytes() const;
    [[nodiscard]] size_t take_peak();        // the most that was held since the last call
    [[nodiscard]] uint64_t encoded() const;  // encodings made
    [[nodiscard]] uint64_t shared() const;   // asked for while somebody held them

  private:
    struct Books {  // outlives the cache with the last encoding
        std::mutex mutex;
        size_t held = 0, peak = 0;
    };
    std::shared_ptr<const Messages> track(Messages made);
    [[nodiscard]] bool full() const;

    const size_t max_bytes_;
    const std::shared_ptr<Books> books_ = std::make_shared<Books>();
    mutable std::mutex mutex_;  // all below, and encoding
    std::map<Key, std::weak_ptr<const Messages>> known_;
    uint64_t encoded_ = 0, shared_ = 0;
};

}  // namespace warren::xds
