// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_filter.h"

#include <algorithm>
#include <string>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

// An empty list asks for nothing.
template <class List, class... Value>
bool any(const List& list, const Value&... values) {
    return list.empty() || std::any_of(list.begin(), list.end(), [&](const auto& wanted) { return ((wanted == values) || ...); });
}

std::string pod(const v1::Endpoint& end) { return end.namespace_() + "/" + end.name(); }
std::string controller(const v1::Endpoint& end) { return end.namespace_() + "/" + end.workload(); }

bool accepts(const v1::FlowFilter& f, const v1::Flow& flow) {
    const v1::Endpoint &from = flow.source(), &to = flow.destination();
    return any(f.namespaces(), from.namespace_(), to.namespace_()) &&
           any(f.workloads(), pod(from), pod(to), controller(from), controller(to)) && any(f.source_identities(), from.identity()) &&
           any(f.destination_identities(), to.identity()) && any(f.destination_services(), flow.destination_service()) &&
           any(f.destination_ports(), flow.requested_address().port()) && any(f.verdicts(), flow.decision().verdict()) &&
           any(f.paths(), flow.path()) && any(f.directions(), flow.direction()) && any(f.reasons(), flow.decision().reason());
}

}  // namespace

bool accepts(const google::protobuf::RepeatedPtrField<v1::FlowFilter>& filters, const v1::Flow& flow) {
    return filters.empty() || std::any_of(filters.begin(), filters.end(), [&](const v1::FlowFilter& f) { return accepts(f, flow); });
}

}  // namespace warren::node
