// SPDX-License-Identifier: Apache-2.0
// The local mesh file: no input may crash, hang or grow without bound; a refusal is one line that starts with the file's name, and an
// accepted file has every membership keyed "namespace/hostname", once.
#include "policy/mesh_yaml.h"

#include <cstdlib>

using namespace warren::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    TextPool pool;
    const auto batch = mesh_from_yaml({reinterpret_cast<const char*>(data), size}, "f", pool);
    if (!batch) {
        const std::string& why = batch.error().detail;
        if (!why.starts_with("f:") || why.find('\n') != std::string::npos) std::abort();
        return 0;
    }
    for (const WorkloadRef& workload : batch->workloads) {
        const Text* before = nullptr;
        for (const WorkloadService& service : workload->services) {
            if (service.service.view().find('/') == std::string_view::npos || (before != nullptr && *before == service.service))
                std::abort();
            before = &service.service;
        }
    }
    return 0;
}
