// SPDX-License-Identifier: Apache-2.0
// Objects as YAML in, outputs out: as JSON by key, and policies in the short notation of the Kubernetes contract (3.7).
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/read_objects.h"
#include "agent/cluster/to_json.h"
#include "tests/catch.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace warren::cluster {

struct Converted {
    Outputs outputs;
    nlohmann::json json;
    Diagnostics problems;

    nlohmann::json workload(const std::string& uid) const { return json["workloads"].value(uid, nlohmann::json()); }
    nlohmann::json pod(const std::string& key) const { return workload("Kubernetes//Pod/" + key); }
    nlohmann::json service(const std::string& key) const { return json["services"].value(key, nlohmann::json()); }
};

inline Converted converted(std::string_view yaml, const Settings& settings = {}) {
    ObjectReader reader;
    reader.add(yaml, "t.yaml");
    Converted out;
    out.outputs = convert(reader.objects(), settings, reader.problems());
    out.json = nlohmann::json::parse(to_json(out.outputs, settings));
    out.problems = reader.problems();
    return out;
}

// For inputs with nothing wrong in them.
inline Converted clean(std::string_view yaml, const Settings& settings = {}) {
    Converted out = converted(yaml, settings);
    for (const std::string& error : out.problems.errors()) FAIL_CHECK(error);
    return out;
}

// A pod of app "web" with a port 8080 named http, in the namespace; more goes into its metadata and spec.
inline std::string pod_yaml(const std::string& ns, const std::string& name, const std::string& metadata = "labels: {app: web}",
                            const std::string& spec = "nodeName: n1", const std::string& status = "phase: Running, podIP: 10.0.0.1") {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: " + ns + ", " + metadata +
           "}\nspec: {serviceAccountName: web, " + spec +
           ", containers: [{name: a, ports: [{containerPort: 8080, name: http}]}]}\nstatus: {" + status +
           ", conditions: [{type: Ready, status: \"True\"}]}\n";
}

inline std::string object_yaml(const std::string& version, const std::string& kind, const std::string& metadata, const std::string& rest) {
    return "---\napiVersion: " + version + "\nkind: " + kind + "\nmetadata: {" + metadata + "}\n" + rest + '\n';
}

}  // namespace warren::cluster
