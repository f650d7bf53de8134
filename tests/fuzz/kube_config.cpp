// SPDX-License-Identifier: Apache-2.0
// A kubeconfig file: no text may crash or hang; what is taken has a server that is safe to put into a URL.
#include "agent/kube/kube_config.h"

#include <cstdlib>

using namespace warren::kube;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto config = parse_kubeconfig({reinterpret_cast<const char*>(data), size}, "f", "/folder");
    if (!config) {
        if (!config.error().detail.starts_with("f")) std::abort();
        return 0;
    }
    if (!config->server.starts_with("https://") && !config->server.starts_with("http://")) std::abort();
    if (config->server.find_first_of(" \n\r\"@?#") != std::string::npos) std::abort();
    if (config->certificate.given() != config->key.given()) std::abort();
    return 0;
}
