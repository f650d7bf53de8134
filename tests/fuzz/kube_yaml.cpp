// SPDX-License-Identifier: Apache-2.0
// Kubernetes objects and their conversion: no text may crash, hang or grow without bound; every problem is one line that starts with the
// file's name; and every policy that a workload names exists.
#include "agent/cluster/convert.h"
#include "agent/cluster/read_objects.h"
#include "agent/cluster/to_json.h"

#include <cstdlib>

using namespace warren::cluster;

namespace {

void check(const std::vector<std::string>& lines) {
    for (const std::string& line : lines)
        if (line.find('\n') != std::string::npos || !line.starts_with("f:")) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    ObjectReader reader;
    reader.add({reinterpret_cast<const char*>(data), size}, "f");
    const Settings settings;
    const Outputs outputs = convert(reader.objects(), settings, reader.problems());
    check(reader.problems().errors());
    check(reader.problems().warnings());
    for (const auto& [uid, workload] : outputs.workloads)
        for (const std::string& key : workload.authorization_policies())
            if (outputs.authorizations.count(key) == 0) std::abort();
    if (to_json(outputs, settings).empty()) std::abort();
    return 0;
}
