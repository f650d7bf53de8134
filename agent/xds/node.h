// SPDX-License-Identifier: Apache-2.0
// Who this node says it is on the first requests of an xDS stream (data-plane contract 3.2). Plain values; the functions are pure but for a
// log line about unreadable JSON, and may be called from any thread.
#pragma once

#include <map>
#include <string>

namespace envoy::service::discovery::v3 {
class Node;
}

namespace warren::xds {

struct NodeSettings {
    std::string instance_ip = "1.1.1.1";               // INSTANCE_IP
    std::string pod_name = {};                         // POD_NAME
    std::string pod_namespace = {};                    // POD_NAMESPACE
    std::string node_name = {};                        // NODE_NAME
    std::map<std::string, std::string> metadata = {};  // proxyMetadata and ISTIO_META_X, the prefix stripped
    std::map<std::string, std::string> json = {};      // ISTIO_METAJSON_X, the prefix stripped: JSON text

    // metadata: the configuration's proxyMetadata, which the environment's entries override. environment: as in environ(7).
    static NodeSettings from_environment(const char* const* environment, std::map<std::string, std::string> metadata = {});
};

// Later entries replace earlier ones of their name: the fixed ones, then metadata, then json. What is no JSON is logged and left out.
void to_proto(const NodeSettings& from, envoy::service::discovery::v3::Node& to);

}  // namespace warren::xds
