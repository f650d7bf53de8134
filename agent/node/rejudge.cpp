// SPDX-License-Identifier: Apache-2.0
#include "agent/node/rejudge.h"

namespace warren::node {

Rejudged rejudge(const MeshView& view, const OpenConnection& connection) {
    const Member* source = view.find(connection.source);
    const Member* destination = view.find(connection.destination);
    if (source == nullptr || destination == nullptr) return {Judgement::Gone, {}};
    if (!source->record || !destination->record) return {Judgement::Unknown, {}};
    if (source->same_node == SameNode::Encrypted || destination->same_node == SameNode::Encrypted) return {Judgement::Encrypted, {}};
    const policy::Decision decision = destination->policies->decide({connection.src, connection.dst, &source->identity});
    return {decision.allowed ? Judgement::Keep : Judgement::Denied, decision};
}

}  // namespace warren::node
