// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/client_session.h"

#include "base/bytes.h"

#include <algorithm>
#include <utility>

namespace warren::xds {

namespace {

// What an unknown type has: nothing, which is an answer.
PublishedType nothing(std::string_view type_url) {
    PublishedType type;
    type.type_url = type_url;
    type.generation = 1;
    return type;
}

const PublishedType* find(const Published& now, std::string_view type_url) {
    const auto found = std::find_if(now.begin(), now.end(), [&](const PublishedType& type) { return type.type_url == type_url; });
    return found == now.end() ? nullptr : &*found;
}

}  // namespace

base::Result<void> ClientSession::on_request(std::span<const uint8_t> bytes, const Published& now) {
    acked_since_.reset();
    nack_.clear();
    const RequestView request = TRY(parse_request(bytes, options_.max_names));
    if (!node_) {
        if (!request.node) return base::invalid("the first request carries no node");
        node_ = TRY(parse_node(*request.node));
    }
    if (request.type_url.empty()) return base::invalid("a request without a type_url");
    Subscription& subscription = *TRY(open(request));
    const uint64_t acks = subscription.acks(), nacks = subscription.nacks();
    const PublishedType* type = find(now, request.type_url);
    TRY(subscription.on_request(request, type != nullptr ? *type : nothing(request.type_url)));
    if (subscription.acks() != acks) acked_since_ = subscription.owed_since();
    if (subscription.nacks() != nacks) nack_ = subscription.type_url() + ": " + subscription.status().last_nack;
    return {};
}

Subscription* ClientSession::of(std::string_view type_url) {
    for (const auto& subscription : subscriptions_)
        if (subscription->type_url() == type_url) return subscription.get();
    return nullptr;
}

base::Result<Subscription*> ClientSession::open(const RequestView& request) {
    if (Subscription* known = of(request.type_url)) return known;
    if (subscriptions_.size() >= options_.max_types)
        return base::Error{base::Errc::Exhausted, 0, "", "more than " + std::to_string(options_.max_types) + " types on one stream"};
    const SubscriptionLimits limits{options_.max_names, options_.max_message_bytes};
    auto& made = *subscriptions_.emplace_back(std::make_unique<Subscription>(std::string(request.type_url), limits));
    if (options_.implied) made.imply(options_.implied(*node_, request.type_url));
    return &made;
}

std::optional<Outgoing> ClientSession::next(const Published& now, base::MonoTime time) {
    const auto from = [&](Subscription& subscription, const PublishedType& type) {
        const std::string nonce = std::to_string(nonces_ + 1);
        auto out = subscription.next(type, cache_, {nonce, time});
        if (out) ++nonces_;
        return out;
    };
    for (const PublishedType& type : now)
        if (Subscription* subscription = of(type.type_url))
            if (auto out = from(*subscription, type)) return out;
    for (const auto& subscription : subscriptions_)
        if (find(now, subscription->type_url()) == nullptr)
            if (auto out = from(*subscription, nothing(subscription->type_url()))) return out;
    return std::nullopt;
}

bool ClientSession::deferred() const {
    return std::any_of(subscriptions_.begin(), subscriptions_.end(), [](const auto& s) { return s->deferred(); });
}

std::optional<base::MonoTime> ClientSession::waiting_since() const {
    std::optional<base::MonoTime> oldest;
    for (const auto& s : subscriptions_)
        if (s->waiting() && (!oldest || s->sent_at() < *oldest)) oldest = s->sent_at();
    return oldest;
}

std::vector<TypeStatus> ClientSession::status() const {
    std::vector<TypeStatus> all;
    for (const auto& s : subscriptions_) all.push_back(s->status());
    return all;
}

}  // namespace warren::xds
