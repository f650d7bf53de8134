// SPDX-License-Identifier: Apache-2.0
// A delta discovery response of any bytes: never a crash, every view inside the message, and what protobuf reads is read alike.
#include "agent/xds/response.h"
#include "proto/xds.pb.h"

#include <cstdint>
#include <cstdlib>

namespace {

void require(bool good) {
    if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto got = warren::xds::parse_response({data, size}, 1000);
    if (!got) return 0;
    const auto inside = [&](const void* at, size_t n) {
        const auto* p = static_cast<const uint8_t*>(at);
        return n == 0 || (p >= data && p + n <= data + size);
    };
    for (const auto& r : got->resources)
        require(!r.name.empty() && inside(r.name.data(), r.name.size()) && inside(r.version.data(), r.version.size()) &&
                inside(r.body.data(), r.body.size()));
    for (const auto& name : got->removed) require(inside(name.data(), name.size()));

    envoy::service::discovery::v3::DeltaDiscoveryResponse known;
    if (!known.ParseFromArray(data, static_cast<int>(size)) || !got->refused.empty()) return 0;
    require(known.type_url() == got->type_url && known.nonce() == got->nonce);
    require(static_cast<size_t>(known.resources_size()) == got->resources.size());
    for (int i = 0; i < known.resources_size(); ++i) {
        const auto& theirs = known.resources(i);
        const auto& ours = got->resources[static_cast<size_t>(i)];
        const std::string body(reinterpret_cast<const char*>(ours.body.data()), ours.body.size());
        require(theirs.name() == ours.name && theirs.version() == ours.version && theirs.resource().value() == body);
    }
    require(static_cast<size_t>(known.removed_resources_size()) == got->removed.size());
    for (int i = 0; i < known.removed_resources_size(); ++i) require(known.removed_resources(i) == got->removed[static_cast<size_t>(i)]);
    return 0;
}
