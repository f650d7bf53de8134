// SPDX-License-Identifier: Apache-2.0
// A certificate request: any bytes are an error, or a key that signed them and gets a certificate.
#include "agent/cluster/certificate.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::cluster;
    static const KeyPtr ca_key = std::move(*make_key(KeyKind::EcP256));
    static const warren::base::WallTime now{std::chrono::seconds(1'704'067'200)};
    static const X509Ptr ca = std::move(*make_root({"td", "root", now, now + std::chrono::hours(1)}, ca_key.get()));
    const auto key = key_of_request({reinterpret_cast<const char*>(data), size});
    if (!key) return 0;
    const Subject subject{Purpose::Workload, "spiffe://td/ns/a/sa/b", {}};
    const auto leaf = make_leaf({&subject, now, now + std::chrono::hours(1)}, key->get(), ca.get(), ca_key.get());
    if (!leaf || uri_names(leaf->get()) != std::vector<std::string>{subject.uri}) std::abort();
    return 0;
}
