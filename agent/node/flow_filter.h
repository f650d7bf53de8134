// SPDX-License-Identifier: Apache-2.0
// Which flows a reader asked for (proto/flow.proto, FlowFilter): of one filter every field that is set must hold, a list holds when any of
// its entries does; of several filters any; none takes everything. Pure; any thread.
#pragma once

#include "proto/flow.pb.h"

#include <google/protobuf/repeated_field.h>

namespace warren::node {

[[nodiscard]] bool accepts(const google::protobuf::RepeatedPtrField<flow::v1::FlowFilter>& filters, const flow::v1::Flow& flow);

}  // namespace warren::node
