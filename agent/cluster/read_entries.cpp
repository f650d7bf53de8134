// SPDX-License-Identifier: Apache-2.0
// WorkloadEntry, ServiceEntry and Gateway.
#include "agent/cluster/read_kinds.h"
#include "base/bytes.h"
#include "policy/fields_yaml.h"

namespace warren::cluster {

using policy::Node;

namespace {

EntrySpec read_entry(const FieldMap& spec) {
    EntrySpec out;
    out.address = spec.text("address");
    out.network = spec.text("network");
    // One of another network is reached through that network's gateway and needs no address of its own.
    if (spec && out.address.empty() && out.network.empty())
        spec.reading().refuse(spec.node(), "address is missing; give an address or a host name, or the network that it is in");
    const bool is_socket = out.address.starts_with("unix://");
    if (out.address.find('/') != std::string::npos && !is_socket)
        spec.reading().refuse(spec.get("address"), base::quoted(out.address) + " is neither an address nor a host name");
    // The API takes it, for proxies beside the application. Here it is a host name that nobody resolves, as with the reference: what else
    // the object says counts.
    if (is_socket)
        spec.reading().problems.warning(
            spec.get("address")
                .refuse(base::quoted(out.address) +
                        " is a socket of one machine, which node proxies cannot reach; give an address or a host name")
                .detail);
    const FieldMap ports = spec.map("ports");
    for (const auto& [name, number] : ports.entries()) out.ports.emplace(name.text(), ports.port(name.text()));
    out.labels = spec.labels("labels");
    out.locality = spec.text("locality");
    out.weight = spec.number("weight", UINT32_MAX);
    out.service_account = spec.text("serviceAccount");
    return out;
}

// "10.0.0.0/8" or an address; host bits are kept as written.
std::optional<EntryAddress> read_entry_address(Node node, Reading& reading) {
    const auto text = reading.take(policy::read_string(node));
    if (!text) return std::nullopt;
    const auto cidr = base::Cidr::parse(*text);
    const auto ip = base::IpAddr::parse(text->substr(0, text->find('/')));
    if (!cidr || !ip) {
        reading.refuse(node, base::quoted(*text) + " is neither an address nor a prefix; give 10.0.0.1 or 10.0.0.0/8");
        return std::nullopt;
    }
    EntryAddress out{*ip, std::nullopt};
    if (cidr->length() != ip->bits()) out.length = cidr->length();
    return out;
}

std::vector<GatewayAddress> read_gateway_addresses(const FieldMap& map) {
    std::vector<GatewayAddress> out;
    for (const FieldMap& address : map.maps("addresses")) {
        const std::string type = address.text("type");
        if (type.empty() || type == "IPAddress" || type == "Hostname") out.push_back({type == "Hostname", address.text("value")});
    }
    return out;
}

}  // namespace

WorkloadEntry read_workload_entry(const FieldMap& object) {
    WorkloadEntry out;
    out.meta = read_meta(object, true);
    read_told(object, {ConditionType::WaypointBound}, out.meta);
    out.spec = read_entry(object.map("spec"));
    return out;
}

ServiceEntry read_service_entry(const FieldMap& object) {
    ServiceEntry out;
    out.meta = read_meta(object, true);
    read_told(object, {ConditionType::WaypointBound, ConditionType::WaypointMissing}, out.meta);
    const FieldMap spec = object.map("spec");
    out.hosts = spec.texts("hosts");
    for (const Node host : spec.list("hosts"))
        if (host.is(Node::Kind::Scalar) && (host.text().empty() || host.text().find('/') != std::string_view::npos))
            spec.reading().refuse(host, base::quoted(host.text()) + " is no host name; give one, or *.example.com");
    for (const Node address : spec.list("addresses"))
        if (const auto value = read_entry_address(address, spec.reading())) out.addresses.push_back(*value);
    for (const FieldMap& port : spec.maps("ports")) {
        out.ports.push_back({port.text("name"), port.text("protocol"), port.port("number"), port.port("targetPort")});
        if (out.ports.back().number == 0) port.reading().refuse(port.node(), "number is missing or 0; give 1 to 65535");
    }
    out.resolution = spec.word("resolution", Resolution::None,
                               {{"NONE", Resolution::None},
                                {"STATIC", Resolution::Static},
                                {"DNS", Resolution::Dns},
                                {"DNS_ROUND_ROBIN", Resolution::DnsRoundRobin},
                                {"DYNAMIC_DNS", Resolution::DynamicDns}});
    for (const FieldMap& endpoint : spec.maps("endpoints")) out.endpoints.push_back(read_entry(endpoint));
    const FieldMap selector = spec.map("workloadSelector");
    out.has_workload_selector = static_cast<bool>(selector);
    out.workload_selector = selector.labels("labels");
    out.subject_alt_names = spec.texts("subjectAltNames");
    for (const FieldMap& allocated : object.map("status").maps("addresses"))
        if (const auto ip = read_address(allocated, "value")) out.allocated.emplace_back(allocated.text("host"), *ip);
    return out;
}

Gateway read_gateway(const FieldMap& object) {
    using From = Listener::From;
    Gateway out;
    out.meta = read_meta(object, true);
    read_told(object, {}, out.meta);
    const FieldMap spec = object.map("spec"), status = object.map("status");
    out.class_name = spec.text("gatewayClassName");
    for (const FieldMap& given : spec.maps("listeners")) {
        Listener listener;
        listener.name = given.text("name");
        listener.protocol = given.text("protocol");
        listener.port = given.port("port");
        const FieldMap namespaces = given.map("allowedRoutes").map("namespaces");
        // "None", and whatever comes later, lets nobody else in.
        listener.from = namespaces.text("from") == "All" ? From::All : namespaces.text("from") == "Selector" ? From::Selector : From::Same;
        listener.selector = read_label_selector(namespaces.map("selector"));
        out.listeners.push_back(std::move(listener));
    }
    out.spec_addresses = read_gateway_addresses(spec);
    out.status_addresses = read_gateway_addresses(status);
    out.programmed = !status.list("addresses").empty();
    return out;
}

}  // namespace warren::cluster
