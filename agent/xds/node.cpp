// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/node.h"

#include "base/log.h"
#include "base/utf8.h"
#include "proto/xds.pb.h"

#include <google/protobuf/util/json_util.h>

#include <string_view>

namespace warren::xds {

namespace {

const base::log::Area kLog("xds");

constexpr std::string_view kMeta = "ISTIO_META_";
constexpr std::string_view kMetaJson = "ISTIO_METAJSON_";

// Environments hold any bytes; a server could not read a request that does.
std::string valid(const std::string& text) {
    std::string out;
    base::append_valid_utf8(out, text);
    return out;
}

void set_text(google::protobuf::Struct& metadata, const std::string& key, const std::string& value) {
    (*metadata.mutable_fields())[valid(key)].set_string_value(valid(value));
}

}  // namespace

NodeSettings NodeSettings::from_environment(const char* const* environment, std::map<std::string, std::string> metadata) {
    NodeSettings node;
    node.metadata = std::move(metadata);
    for (; *environment != nullptr; ++environment) {
        const std::string_view entry = *environment;
        const size_t equals = entry.find('=');
        if (equals == std::string_view::npos) continue;
        const std::string_view name = entry.substr(0, equals);
        const std::string value(entry.substr(equals + 1));
        if (name == "INSTANCE_IP") node.instance_ip = value;
        if (name == "POD_NAME") node.pod_name = value;
        if (name == "POD_NAMESPACE") node.pod_namespace = value;
        if (name == "NODE_NAME") node.node_name = value;
        if (name.starts_with(kMeta)) node.metadata[std::string(name.substr(kMeta.size()))] = value;
        if (name.starts_with(kMetaJson)) node.json[std::string(name.substr(kMetaJson.size()))] = value;
    }
    return node;
}

void to_proto(const NodeSettings& from, envoy::service::discovery::v3::Node& to) {
    to.Clear();
    const std::string& ns = from.pod_namespace;
    to.set_id(valid("ztunnel~" + from.instance_ip + "~" + from.pod_name + "." + ns + "~" + ns + ".svc.cluster.local"));
    google::protobuf::Struct& metadata = *to.mutable_metadata();
    set_text(metadata, "NAME", from.pod_name);
    set_text(metadata, "NAMESPACE", ns);
    set_text(metadata, "INSTANCE_IPS", from.instance_ip);
    set_text(metadata, "NODE_NAME", from.node_name);
    for (const auto& [key, value] : from.metadata) set_text(metadata, key, value);
    for (const auto& [key, text] : from.json) {
        google::protobuf::Value value;
        const auto status = google::protobuf::util::JsonStringToMessage(text, &value);
        if (!status.ok()) {
            WARREN_LOG(kLog, base::log::Level::Warn, "ISTIO_METAJSON entry left out: its value is no JSON", {"name", key},
                       {"error", std::string_view(status.message().data(), status.message().size())});
            continue;
        }
        (*metadata.mutable_fields())[valid(key)] = std::move(value);
    }
}

}  // namespace warren::xds
