// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/proxy_config.h"

#include "policy/document_yaml.h"
#include "policy/fields_yaml.h"

#include <utility>

namespace warren::ztunnel {
namespace {

using policy::Node;

base::Result<std::string> scalar(Node node) {
    if (!node.is(Node::Kind::Scalar)) return node.refuse("must be a text or a number");
    return std::string(node.text());
}

base::Result<void> read_metadata(Node node, ProxyConfig& to) {
    for (const auto& [key, value] : TRY(policy::read_entries(node)))
        if (!value.is(Node::Kind::Null)) to.metadata[std::string(key.text())] = TRY(scalar(value));
    return {};
}

base::Result<ProxyConfig> read_block(Node node) {
    ProxyConfig config;
    for (const auto& [key, value] : TRY(policy::read_entries(node))) {
        if (value.is(Node::Kind::Null)) continue;
        if (key.text() == "discoveryAddress")
            config.discovery_address = TRY(scalar(value));
        else if (key.text() == "proxyAdminPort")
            config.admin_port = TRY(policy::read_port(value));
        else if (key.text() == "statsPort")
            config.stats_port = TRY(policy::read_port(value));
        else if (key.text() == "concurrency")
            config.concurrency = TRY(policy::read_number(value, 1024));
        else if (key.text() == "proxyMetadata")
            TRY(read_metadata(value, config));
    }
    return config;
}

}  // namespace

void ProxyConfig::merge(ProxyConfig over) {
    if (over.discovery_address) discovery_address = std::move(over.discovery_address);
    if (over.admin_port) admin_port = over.admin_port;
    if (over.stats_port) stats_port = over.stats_port;
    if (over.concurrency) concurrency = over.concurrency;
    for (auto& [key, value] : over.metadata) metadata[key] = std::move(value);
}

base::Result<ProxyConfig> parse_proxy_config(std::string_view text, std::string_view name) {
    const policy::Document document = TRY(policy::document_from_yaml(text, name));
    if (document.root().is(Node::Kind::Null)) return ProxyConfig{};
    return read_block(document.root());
}

base::Result<ProxyConfig> parse_mesh_config(std::string_view text, std::string_view name) {
    const policy::Document document = TRY(policy::document_from_yaml(text, name));
    if (document.root().is(Node::Kind::Null)) return ProxyConfig{};
    for (const auto& [key, value] : TRY(policy::read_entries(document.root())))
        if (key.text() == "defaultConfig" && !value.is(Node::Kind::Null)) return read_block(value);
    return ProxyConfig{};
}

}  // namespace warren::ztunnel
