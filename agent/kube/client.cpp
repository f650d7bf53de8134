// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/client.h"

#include <algorithm>

namespace warren::kube {

using base::Result;

Result<Reply> Client::exchange(const Request& request) {
    if (stopping_.load()) return base::Error{base::Errc::Unavailable, 0, "", shown(request) + ": stopping"};
    std::unique_ptr<Transfer> transfer;
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            transfer = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    if (!transfer) transfer = std::make_unique<Transfer>(endpoint_);
    requests_.fetch_add(1, std::memory_order_relaxed);
    Limits limits = limits_;
    if (request.within.count() > 0) {
        limits.total = std::min(limits.total, request.within);
        limits.connect = std::min(limits.connect, limits.total);
    }
    auto prepared = transfer->prepare(request, limits, nullptr, &stopping_);
    auto reply = prepared ? transfer->perform() : Result<Reply>(std::move(prepared).error());
    if (!reply)
        failures_.fetch_add(1, std::memory_order_relaxed);
    else if (!reply->ok())
        refusals_.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMaxIdle) idle_.push_back(std::move(transfer));
    return reply;
}

Result<std::string> Client::call(const Request& request) {
    Reply reply = TRY(exchange(request));
    if (!reply.ok()) return error_of(request, reply);
    return std::move(reply.body);
}

Result<std::string> Client::apply(std::string path, std::string json, std::string_view field_manager, Force force) {
    path += (force == Force::Yes ? "?force=true&fieldManager=" : "?fieldManager=") + percent_encoded(field_manager);
    return call({Method::Patch, std::move(path), std::move(json), "application/apply-patch+yaml"});
}

Result<std::string> Client::merge(std::string path, std::string json) {
    return call({Method::Patch, std::move(path), std::move(json), "application/merge-patch+json"});
}

ClientStats Client::stats() const { return {requests_.load(), failures_.load(), refusals_.load()}; }

}  // namespace warren::kube
