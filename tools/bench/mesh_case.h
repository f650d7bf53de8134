// SPDX-License-Identifier: Apache-2.0
// A large mesh as a control plane would send it: serialised resources, made in a child process so that what making them costs does not
// count in the memory of the one that loads them. Deterministic.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace warren::bench {

struct MeshSize {
    uint32_t workloads = 100'000;
    uint32_t services = 10'000;
    uint32_t policies = 2'000;
    uint32_t rules = 10;  // of each policy
};

enum class ResourceKind : uint8_t { Address, Policy };

// The resources in a mapped temporary file; gone with the object.
class MeshCase {
  public:
    static base::Result<MeshCase> make(const MeshSize& size);
    MeshCase(MeshCase&& o) noexcept;
    MeshCase& operator=(MeshCase&&) = delete;
    ~MeshCase();
    // In the order of delta xDS: services, workloads, policies.
    void each(const std::function<void(ResourceKind, std::string_view name, std::span<const uint8_t> bytes)>& fn) const;
    [[nodiscard]] size_t bytes() const { return size_; }

  private:
    MeshCase(void* data, size_t size) : data_(data), size_(size) {}
    void* data_;
    size_t size_;
};

// One workload of that mesh, changed: another capacity each round.
[[nodiscard]] std::string changed_workload(uint32_t index, uint32_t round, const MeshSize& size);

}  // namespace warren::bench
