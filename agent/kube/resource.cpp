// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/resource.h"

namespace warren::kube {

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("-._~").find(c) != std::string_view::npos;
        const auto byte = static_cast<unsigned char>(c);
        if (plain)
            out += c;
        else
            out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
    return out;
}

std::string api_version(const Resource& resource, std::string_view version) {
    return resource.group.empty() ? std::string(version) : resource.group + '/' + std::string(version);
}

std::string collection_path(const Resource& resource, std::string_view version, std::string_view ns) {
    std::string out = (resource.group.empty() ? "/api/" : "/apis/") + api_version(resource, version);
    if (resource.namespaced && !ns.empty()) out += "/namespaces/" + percent_encoded(ns);
    return out + '/' + resource.plural;
}

std::string object_path(const Resource& resource, std::string_view ns, std::string_view name, std::string_view subresource) {
    std::string out = collection_path(resource, resource.versions.front(), ns) + '/' + percent_encoded(name);
    if (!subresource.empty()) out.append("/").append(subresource);
    return out;
}

}  // namespace warren::kube
