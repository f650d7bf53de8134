// SPDX-License-Identifier: Apache-2.0
// istio.workload.Address from bytes: no input may crash, and what is accepted survives message and back unchanged.
#include "base/bytes.h"
#include "policy/mesh_proto.h"
#include "proto/workload.pb.h"

#include <cstdlib>

using namespace warren::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    RecordPool pool;
    ResourceReader reader(pool);
    const auto read = reader.address({data, size});
    if (!read) return 0;
    istio::workload::Address address;
    if (const auto* workload = std::get_if<WorkloadRef>(&*read))
        to_proto(**workload, *address.mutable_workload());
    else
        to_proto(*std::get<ServiceRef>(*read), *address.mutable_service());
    const auto again = reader.address(warren::base::as_bytes(address.SerializeAsString()));
    if (!again || again->index() != read->index()) std::abort();
    const auto* workload = std::get_if<WorkloadRef>(&*read);
    const bool same =
        workload != nullptr ? **workload == *std::get<WorkloadRef>(*again) : *std::get<ServiceRef>(*read) == *std::get<ServiceRef>(*again);
    if (!same) std::abort();
    return 0;
}
