// SPDX-License-Identifier: Apache-2.0
// ClientSession: one client's stream as the server sees it, without the stream: requests in, responses out (Kubernetes contract 5.1
// to 5.4). Belongs to one thread at a time; no I/O.
#pragma once

#include "agent/xds/payload.h"
#include "agent/xds/request.h"
#include "agent/xds/subscription.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

// All types that are served, in the order of a push: Address before Authorization.
using Published = std::vector<PublishedType>;

struct SessionOptions {
    size_t max_names = 500'000;  // in one request, and asked for by one client of one type
    size_t max_message_bytes = size_t{200} << 20;
    size_t max_types = 16;
    // Names that an on-demand client of this node is subscribed to without asking ("node:NAME").
    std::function<std::vector<std::string>(const NodeInfo& node, std::string_view type_url)> implied = {};
};

class ClientSession {
  public:
    // Both outlive the session.
    ClientSession(const SessionOptions& options, EncodingCache& cache) : options_(options), cache_(cache) {}

    // An error is the end of the stream.
    base::Result<void> on_request(std::span<const uint8_t> request, const Published& now);
    // The next response to write, if any; of a type there is one under way at most.
    std::optional<Outgoing> next(const Published& now, base::MonoTime time);

    [[nodiscard]] const std::optional<NodeInfo>& node() const { return node_; }  // after the first request
    [[nodiscard]] bool deferred() const;                                         // next() is to be called again soon
    // When the oldest response under way was sent; nothing when the client has answered all.
    [[nodiscard]] std::optional<base::MonoTime> waiting_since() const;
    [[nodiscard]] std::vector<TypeStatus> status() const;
    // Since the publication of what the request just handled has acknowledged; nothing when it was no ACK.
    [[nodiscard]] std::optional<base::MonoTime> acked_since() const { return acked_since_; }
    // Type and reason, when it was a NACK.
    [[nodiscard]] const std::string& nack() const { return nack_; }

  private:
    Subscription* of(std::string_view type_url);
    base::Result<Subscription*> open(const RequestView& request);

    const SessionOptions& options_;
    EncodingCache& cache_;
    std::optional<NodeInfo> node_;
    std::vector<std::unique_ptr<Subscription>> subscriptions_;  // in the order of their first requests
    std::optional<base::MonoTime> acked_since_;
    std::string nack_;
    uint64_t nonces_ = 0;
};

}  // namespace warren::xds
