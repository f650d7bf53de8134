// SPDX-License-Identifier: Apache-2.0
// A kind of Kubernetes object as the API server's paths name it, and one object as text. Plain values and pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace warren::kube {

struct Resource {
    std::string group;                  // "" for the core group
    std::vector<std::string> versions;  // those we read, the preferred first; a server may have any of them
    std::string plural, kind;
    bool namespaced = true;
};

// One object: JSON in one line, with apiVersion and kind, without managedFields and kubectl's last-applied annotation.
struct Object {
    std::string ns, name, uid, resource_version;
    std::string json;

    [[nodiscard]] std::string key() const { return ns + '/' + name; }
};

// RFC 3986: everything but unreserved characters.
[[nodiscard]] std::string percent_encoded(std::string_view text);
// "v1", "security.istio.io/v1".
[[nodiscard]] std::string api_version(const Resource& resource, std::string_view version);
// "/apis/GROUP/VERSION/namespaces/NS/PLURAL"; an empty ns is all of them.
[[nodiscard]] std::string collection_path(const Resource& resource, std::string_view version, std::string_view ns);
// With "/NAME" and, when not empty, "/SUBRESOURCE". The first version counts.
[[nodiscard]] std::string object_path(const Resource& resource, std::string_view ns, std::string_view name,
                                      std::string_view subresource = {});

}  // namespace warren::kube
