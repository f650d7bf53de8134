// SPDX-License-Identifier: Apache-2.0
// The mesh model from and to the messages of delta xDS (data-plane contract 1.2 and 1.3). Reading is strict: a resource with anything
// that does not make sense is refused whole, with the path of the field, and the caller reports it (NACK); a policy comes back as a
// PolicyRefusal so that it can be put in force as one. Defaults of the wire are applied (trust domain cluster.local, account default,
// cluster Kubernetes, capacity 1). Unknown fields are dropped: whoever passes resources on passes on their bytes.
//
// Beyond the contract, refused because the reference's reading is a guess: ports above 65535, a workload without uid, a namespace with
// '/' in it (the key "namespace/hostname" splits at the first one). A policy is refused for any element of it (contract 7.6, quirk A8).
//
// Pure, but for the pool: call from the thread that owns it.
#pragma once

#include "base/result.h"
#include "policy/authorization.h"
#include "policy/record_pool.h"
#include "policy/service.h"
#include "policy/workload.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>

namespace istio::workload {
class Workload;
class Service;
}  // namespace istio::workload
namespace istio::security {
class Authorization;
}

namespace warren::policy {

using AddressResource = std::variant<WorkloadRef, ServiceRef>;
using PolicyResource = std::variant<PolicySpec, PolicyRefusal>;

base::Result<WorkloadRef> workload_from_proto(const istio::workload::Workload& from, RecordPool& pool);
base::Result<ServiceRef> service_from_proto(const istio::workload::Service& from, TextPool& pool);
// name: the resource name, which is the policy's key.
PolicyResource policy_from_proto(std::string_view name, const istio::security::Authorization& from, TextPool& pool);

// Each clears the message first. An empty trust domain, account or cluster (possible in a local file) reads back as its default.
void to_proto(const Workload& from, istio::workload::Workload& to);
void to_proto(const Service& from, istio::workload::Service& to);
void to_proto(const PolicySpec& from, istio::security::Authorization& to);

// Reads resources from their bytes and keeps the messages' memory from one to the next: several times as fast as a message for each.
// One thread, the pool's; the pool outlives it.
class ResourceReader {
  public:
    explicit ResourceReader(RecordPool& pool);
    ~ResourceReader();
    ResourceReader(const ResourceReader&) = delete;

    // istio.workload.Address
    base::Result<AddressResource> address(std::span<const uint8_t> bytes);
    // istio.security.Authorization. Of bytes that end or break in the middle, what was read before counts as readable; a scope that was
    // not read is WorkloadSelector.
    PolicyResource policy(std::string_view name, std::span<const uint8_t> bytes);
    // Subject alternative names of services that are no SPIFFE identities; they are ignored (contract 1.2), which accepts fewer peers.
    [[nodiscard]] uint64_t ignored_names() const { return ignored_names_; }

  private:
    struct Messages;
    RecordPool& pool_;
    std::unique_ptr<Messages> messages_;
    uint64_t ignored_names_ = 0;
};

}  // namespace warren::policy
