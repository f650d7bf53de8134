// SPDX-License-Identifier: Apache-2.0
// A pod as an API server tells of it, and a process's cgroup: what is accepted has a name, and no more addresses than are kept.
#include "agent/node/kube_pod.h"
#include "agent/node/pod_processes.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::node;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string uid = pod_uid_of_cgroup(text);
    if (!uid.empty() && uid.size() != 36 && uid.size() != 32) std::abort();
    (void)read_labels(text);
    if (const auto pod = read_kube_pod(text)) {
        if (pod->uid.empty() || pod->name.empty() || pod->ns.empty() || pod->addresses.size() > 64) std::abort();
        std::vector<std::string> ignored;
        if (enrolled_form(*pod, true, ignored).uid != pod->uid) std::abort();
    }
    return 0;
}
