// SPDX-License-Identifier: Apache-2.0
// RecordPool: what many records of a mesh have in common, kept once: their names, and the services with their ports to which all pods of a
// deployment belong alike. What nobody else holds any more goes when the pool next grows.
// One thread, the writer's; what it gave out is read anywhere.
#pragma once

#include "policy/text.h"
#include "policy/workload.h"

#include <unordered_set>

namespace warren::policy {

class RecordPool : public TextPool {
  public:
    // An equal list, perhaps one that other workloads hold already. The names in it come from this pool.
    Array<WorkloadService> share(Array<WorkloadService> services);
    [[nodiscard]] size_t shared() const { return lists_.size(); }

  private:
    using List = Array<WorkloadService>;
    struct Hash {
        size_t operator()(const List& list) const noexcept;
    };
    std::unordered_set<List, Hash> lists_;
    size_t sweep_at_ = 64;
};

}  // namespace warren::policy
