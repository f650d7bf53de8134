// SPDX-License-Identifier: Apache-2.0
// Names of things as fixed-size rows of the agent's own pinned maps: 128 bits that are equal on every machine, compiler and version, which
// std::hash is not. No secret and no signature: who can choose names of pods or policies is trusted with more than their numbers. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace warren::node {

using Digest = std::array<uint64_t, 2>;

// FNV-1a over the fields, twice with different beginnings; each field is ended, so {"ab", "c"} is not {"a", "bc"}.
[[nodiscard]] inline Digest digest_of(std::initializer_list<std::string_view> fields) {
    Digest digest{0xcbf29ce484222325u, 0x9ae16a3b2f90404fu};
    for (uint64_t& half : digest) {
        for (const std::string_view field : fields) {
            for (const char c : field) half = (half ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
            half = (half ^ 0xff) * 0x100000001b3u;
        }
    }
    return digest;
}

}  // namespace warren::node
