// SPDX-License-Identifier: Apache-2.0
// istio.security.Authorization from bytes: no input may crash, a refusal says why, and what is accepted survives message and back.
#include "base/bytes.h"
#include "policy/mesh_proto.h"
#include "proto/authorization.pb.h"

#include <cstdlib>

using namespace warren::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    RecordPool pool;
    ResourceReader reader(pool);
    const PolicyResource read = reader.policy("prod/p", {data, size});
    if (const auto* refusal = std::get_if<PolicyRefusal>(&read)) {
        if (refusal->reason.empty()) std::abort();
        return 0;
    }
    istio::security::Authorization message;
    to_proto(std::get<PolicySpec>(read), message);
    const PolicyResource again = reader.policy("prod/p", warren::base::as_bytes(message.SerializeAsString()));
    if (!std::holds_alternative<PolicySpec>(again) || !(std::get<PolicySpec>(again) == std::get<PolicySpec>(read))) std::abort();
    return 0;
}
