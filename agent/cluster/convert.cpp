// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert.h"

#include "agent/cluster/convert_workload.h"
#include "agent/cluster/keys.h"
#include "base/bytes.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

namespace {

// Which objects count at all: those of discovered namespaces, and of policies and entries those of our revision.
class Filter {
  public:
    Filter(const Objects& objects, const Settings& settings) : settings_(settings) {
        for (const Namespace& ns : objects.namespaces) {
            const bool found = std::any_of(settings.discovery.begin(), settings.discovery.end(),
                                           [&](const LabelSelector& s) { return s.matches(ns.meta.labels); });
            if (found) discovered_.insert(ns.meta.name);
        }
    }

    template <class T>
    std::vector<T> of_namespaces(const std::vector<T>& all) const {
        return kept(all, [](const ObjectMeta&) { return true; });
    }
    template <class T>
    std::vector<T> of_revision(const std::vector<T>& all) const {
        return kept(all, [&](const ObjectMeta& meta) {
            return !has_label(meta.labels, keys::kRevision) || label(meta.labels, keys::kRevision) == settings_.revision;
        });
    }

  private:
    template <class T, class Fits>
    std::vector<T> kept(const std::vector<T>& all, Fits fits) const {
        std::vector<T> out;
        std::copy_if(all.begin(), all.end(), std::back_inserter(out), [&](const T& object) {
            return fits(object.meta) && (settings_.discovery.empty() || discovered_.count(object.meta.ns) != 0);
        });
        return out;
    }

    const Settings& settings_;
    std::set<std::string> discovered_;
};

Objects those_that_count(const Objects& all, const Settings& settings) {
    const Filter filter(all, settings);
    Objects out;
    out.pods = filter.of_namespaces(all.pods);
    out.nodes = all.nodes;
    out.namespaces = all.namespaces;
    out.services = filter.of_namespaces(all.services);
    out.slices = filter.of_namespaces(all.slices);
    out.workload_entries = filter.of_revision(all.workload_entries);
    out.service_entries = filter.of_revision(all.service_entries);
    out.gateways = filter.of_namespaces(all.gateways);
    out.gateway_classes = all.gateway_classes;
    out.authorization_policies = filter.of_revision(all.authorization_policies);
    out.peer_authentications = filter.of_revision(all.peer_authentications);
    return out;
}

}  // namespace

Outputs convert(const Objects& all, const Settings& settings, Diagnostics& problems) {
    const Objects objects = those_that_count(all, settings);
    const MeshView mesh(objects, settings, problems);
    Outputs out;
    const auto add = [&](Workload workload, const std::string& where) {
        std::string uid = workload.uid();
        if (!out.workloads.emplace(uid, std::move(workload)).second)
            problems.warning(where + ": " + base::quoted(uid) + " is there twice; the first counts, give endpoints different addresses");
    };
    for (const Pod& pod : objects.pods)
        if (auto workload = convert_pod(pod, mesh)) add(std::move(*workload), pod.meta.where);
    for (const WorkloadEntry& entry : objects.workload_entries) add(convert_workload_entry(entry, mesh), entry.meta.where);
    for (const ServiceEntry& entry : objects.service_entries)
        for (Workload& workload : convert_endpoints(entry, mesh)) add(std::move(workload), entry.meta.where);
    for (const EndpointSlice& slice : objects.slices)
        for (Workload& workload : convert_slice(slice, mesh)) add(std::move(workload), slice.meta.where);
    for (const NetworkGateway& gateway : mesh.network_gateways()) add(convert_network_gateway(gateway), gateway.where);
    for (const ServiceInfo& service : mesh.services()) out.services.emplace(service.key(), service.sent);
    out.authorizations = mesh.authorizations();
    return out;
}

}  // namespace warren::cluster
