// SPDX-License-Identifier: Apache-2.0
// Keys and hashes of the mesh indexes. Tries branch on every bit of a hash from the lowest up, so each hash here is mixed to the end;
// none is keyed, for names and addresses come from the control plane. Pure.
#pragma once

#include "base/ip.h"
#include "policy/text.h"
#include "policy/workload.h"

#include <cstdint>
#include <string_view>

namespace warren::policy {

[[nodiscard]] constexpr uint64_t mix_hash(uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct AddressHash {
    uint64_t operator()(const NetworkAddress& a) const noexcept { return mix_hash(a.hash()); }
};

// Of two names that only together say what is meant: namespace and pod name, namespace and hostname.
[[nodiscard]] constexpr uint64_t hash_pair(uint64_t ns, uint64_t name) noexcept { return mix_hash(ns * 0x9e3779b97f4a7c15u ^ name); }

// For maps whose key is a finished hash.
struct AsItIs {
    uint64_t operator()(uint64_t hash) const noexcept { return hash; }
};

struct NetworkPrefix {
    Text network;
    base::Cidr cidr;
    bool operator==(const NetworkPrefix&) const = default;
};

struct NetworkPrefixHash {
    uint64_t operator()(const NetworkPrefix& p) const noexcept {
        return hash_pair(p.network.hash(), p.cidr.first().hash() * 131 + p.cidr.length());
    }
};

// Finds in a map keyed by Text without making one.
template <class Map>
[[nodiscard]] auto find_text(const Map& map, std::string_view text) {
    return map.find(hash_text(text), [&](const Text& key) { return key.view() == text; });
}

}  // namespace warren::policy
