// SPDX-License-Identifier: Apache-2.0
// What the CLI reads from files and daemons: dumps, flow logs, statuses, and texts it takes secrets out of.
#include "tools/warren/certificates.h"
#include "tools/warren/check_daemons.h"
#include "tools/warren/check_host.h"
#include "tools/warren/dump_mesh.h"
#include "tools/warren/dump_names.h"
#include "tools/warren/policy_audit.h"
#include "tools/warren/policy_diff.h"
#include "tools/warren/redact.h"
#include "tools/warren/yaml_text.h"

using namespace warren;
using namespace warren::tools;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    policy::Mesh mesh;
    auto flows = flows_of_text(text, "f");
    (void)redact_text(text);
    (void)listeners(text);
    if (const auto j = parse_json(text, "f")) {
        (void)to_yaml(*j);
        (void)redact_json(*j);
        (void)audit_policies(*j, flows ? &*flows : nullptr);
        Findings out;
        check_agent_status(*j, out);
        check_certificates(*j, base::WallTime(), out);
        const AddressNames names(*j);
        if (auto batch = batch_of_dump(*j, "f", mesh.pool())) mesh.apply(*std::move(batch));
    }
    if (!flows) return 0;
    FlowDiffer differ(*mesh.snapshot());
    for (const Flow& flow : *flows) differ.add(flow.record);
    (void)differ.result();
    return 0;
}
