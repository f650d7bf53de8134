// SPDX-License-Identifier: Apache-2.0
// Flow events as proto/flow.proto has them, without protobuf in the header. Pure; any thread.
//
// A message of the feed is one serialized FlowBatch of at most kFlowMessageBytes. Flows are put together as they come: FlowBatch's fields
// are written one after the other, so a batch grows by appending and nothing is copied twice.
#pragma once

#include "ztunnel/flow_event.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warren::ztunnel {

// Well below a Unix socket's default buffer (208 KiB), so that several messages fit, and what a reader's buffer must hold.
inline constexpr size_t kFlowMessageBytes = 64 * 1024;
inline constexpr size_t kFlowsPerMessage = 128;

// One Flow, serialized.
[[nodiscard]] std::string flow_message(const FlowEvent& event, std::string_view node);

class FlowBatchWriter {
  public:
    // False: it does not fit any more (an empty batch: it never will).
    [[nodiscard]] bool add(std::string_view flow);
    [[nodiscard]] bool empty() const { return flows_ == 0; }
    // The message; the writer is empty after it.
    [[nodiscard]] std::string finish(uint64_t sequence, uint64_t lost);

  private:
    std::string body_;
    size_t flows_ = 0;
};

}  // namespace warren::ztunnel
