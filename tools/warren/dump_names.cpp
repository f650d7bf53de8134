// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_names.h"

namespace warren::tools {

AddressNames::AddressNames(const Json& dump) {
    for (const Json& w : list_at(dump, "workloads")) {
        // Every pod of the host's network has the node's address.
        if (text_at(w, "networkMode") == "HostNetwork") continue;
        for (const Json& ip : list_at(w, "workloadIps")) names_.emplace(text_of(ip), text_at(w, "name") + '.' + text_at(w, "namespace"));
    }
    for (const Json& s : list_at(dump, "services"))
        for (const Json& vip : list_at(s, "vips")) {
            const std::string text = text_of(vip);
            names_.emplace(text.substr(text.find('/') + 1), text_at(s, "hostname"));
        }
}

std::string AddressNames::named(const std::string& address) const {
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos) return address;
    std::string host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const auto found = names_.find(host);
    return found == names_.end() ? address : found->second + address.substr(colon);
}

std::string waypoint_of(const Json& item, const Json& dump) {
    const std::string destination = text_at(at(item, "waypoint"), "destination");
    if (destination.empty()) return "None";
    for (const Json& s : list_at(dump, "services")) {
        if (text_at(s, "namespace") + '/' + text_at(s, "hostname") == destination) return text_at(s, "name");
        for (const Json& vip : list_at(s, "vips"))
            if (text_of(vip) == destination) return text_at(s, "name");
    }
    return destination;
}

Json in_namespace(const Json& list, const std::string& ns) {
    Json out = Json::array();
    for (const Json& item : list)
        if (ns.empty() || text_at(item, "namespace") == ns) out.push_back(item);
    return out;
}

}  // namespace warren::tools
