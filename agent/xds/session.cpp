// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/session.h"

#include "agent/xds/response.h"
#include "base/log.h"
#include "base/utf8.h"
#include "proto/xds.pb.h"

#include <algorithm>
#include <utility>

namespace warren::xds {

namespace {

using base::log::Level;
using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;

const base::log::Area kLog("xds");

constexpr size_t kMaxNackBytes = 8192;                    // for people and the server's log
constexpr size_t kMaxWishBytes = 1024UL * 1024;           // istiod takes requests of 4 MiB
constexpr std::string_view kTooLong = "larger than max";  // how gRPC's servers refuse a longer one, RESOURCE_EXHAUSTED

// "name: reason" joined with "; ".
std::string nack_text(const std::vector<Rejection>& rejections) {
    std::string text;
    for (size_t i = 0; i < rejections.size(); ++i) {
        if (text.size() >= kMaxNackBytes) return text + "; and " + std::to_string(rejections.size() - i) + " more";
        if (!text.empty()) text += "; ";
        std::string one;
        base::append_valid_utf8(one, rejections[i].name + ": " + rejections[i].reason);
        text += base::utf8_prefix(one, kMaxNackBytes);
    }
    return text;
}

}  // namespace

Session::Outcome Session::ended(End end) const { return {std::move(end), answered_, false}; }

bool Session::waits_for_answer(const Stream& stream) const {
    return stream.writing() ||
           std::any_of(types_.begin(), types_.end(), [](const auto& type) { return !type->on_demand() && !type->answered(); });
}

Session::Outcome Session::run(Stream& stream) {
    Stream::Event event = stream.open(options_.open_timeout);
    if (event == Stream::Event::TimedOut) {
        static_cast<void>(stream.finish());
        return ended({Termination::ConnectionError, Retry::Backoff, "no connection within the time for one"});
    }
    patience_ = std::chrono::steady_clock::now() + options_.answer_timeout;
    if (event != Stream::Event::Ended) {
        send_first_requests(stream);
        stream.read();
    }
    while (event != Stream::Event::Ended) {
        std::optional<Stream::Duration> limit;
        if (waits_for_answer(stream)) limit = std::max(Stream::Duration(0), Stream::Duration(patience_ - std::chrono::steady_clock::now()));
        event = stream.next(limit);
        if (event == Stream::Event::TimedOut) {
            static_cast<void>(stream.finish());
            return ended({Termination::Error, Retry::Backoff, "the server keeps the stream open and does not answer"});
        }
        if (event == Stream::Event::Message) {
            patience_ = std::chrono::steady_clock::now() + options_.answer_timeout;
            if (auto done = on_message(stream); !done) {
                static_cast<void>(stream.finish());
                return ended({Termination::Error, Retry::Backoff, done.error().message()});
            }
        }
        // Reads wait for the ACK, so that a server that sends and does not read cannot make the queue grow.
        if (event == Stream::Event::Sent && !stream.reading()) stream.read();
        if (event == Stream::Event::Sent || event == Stream::Event::Woken) send_wishes(stream);
    }
    const grpc::Status status = stream.finish();
    Outcome outcome = ended(classify(status.error_code(), status.error_message(), answered_));
    outcome.list_too_long = listed_ && !answered_ && status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
                            status.error_message().find(kTooLong) != std::string::npos;
    return outcome;
}

void Session::send_first_requests(Stream& stream) {
    std::vector<Wishes> wishes(types_.size());
    {
        const std::lock_guard lock(shared_.mutex);
        wishes.swap(shared_.wishes);
        shared_.wish_count = 0;
    }
    for (size_t i = 0; i < types_.size(); ++i) {
        // They go along in the list; a version known is never replaced by none.
        for (const auto& [name, wanted] : wishes[i]) wanted ? types_[i]->want(name) : types_[i]->forget(name);
        Request request;
        to_proto(options_.node, *request.mutable_node());
        types_[i]->begin(request, omit_versions_);
        listed_ = listed_ || request.initial_resource_versions_size() > 0;
        stream.write(request.SerializeAsString());
    }
}

void Session::send_wishes(Stream& stream) {
    if (stream.writing()) return;  // gathered until then
    for (size_t i = 0; i < types_.size(); ++i) {
        Request request;
        size_t bytes = 0;
        {
            const std::lock_guard lock(shared_.mutex);
            Wishes& wishes = shared_.wishes[i];
            while (!wishes.empty() && bytes < kMaxWishBytes) {
                const auto wish = wishes.extract(wishes.begin());
                --shared_.wish_count;
                bytes += wish.key().size();
                wish.mapped() ? types_[i]->want(wish.key()) : types_[i]->forget(wish.key());
                (wish.mapped() ? request.add_resource_names_subscribe() : request.add_resource_names_unsubscribe())->assign(wish.key());
            }
        }
        if (request.resource_names_subscribe_size() + request.resource_names_unsubscribe_size() == 0) continue;
        request.set_type_url(types_[i]->type_url());
        patience_ = std::chrono::steady_clock::now() + options_.answer_timeout;
        stream.write(request.SerializeAsString());
    }
}

base::Result<void> Session::on_message(Stream& stream) {
    // One block of memory for the message; the pieces it came in are released at once.
    grpc::Slice slice;
    grpc::ByteBuffer& message = stream.message();
    if (!message.TrySingleSlice(&slice).ok() && !message.DumpToSingleSlice(&slice).ok())
        return base::Error{base::Errc::Protocol, 0, "", "a message that cannot be read"};
    message.Clear();
    Response response = TRY(parse_response({slice.begin(), slice.size()}));
    if (!answered_) {
        answered_ = true;
        {
            const std::lock_guard lock(shared_.mutex);
            shared_.stats.connected = true;
        }
        handler_.connected();
    }
    const auto at = std::find_if(types_.begin(), types_.end(), [&](const auto& type) { return type->type_url() == response.type_url; });
    if (at != types_.end()) {
        reply(stream, response, apply(static_cast<size_t>(at - types_.begin()), response));
        return {};
    }
    if (!std::exchange(unknown_type_logged_, true))
        WARREN_LOG(kLog, Level::Warn, "a response of a type nobody asked for is acknowledged and ignored", {"type", response.type_url});
    {
        const std::lock_guard lock(shared_.mutex);
        ++shared_.stats.types.back().messages;
    }
    reply(stream, response, {});
    return {};
}

std::vector<Rejection> Session::apply(size_t index, Response& response) {
    TypeState& type = *types_[index];
    const std::vector<std::string> gone = type.vanished(response);
    Update update{type.type_url(), std::move(response.resources), std::move(response.removed), std::move(response.refused)};
    update.removed.insert(update.removed.end(), gone.begin(), gone.end());
    std::vector<Rejection> rejected = handler_.apply(update);
    type.commit(update, rejected);
    rejected.insert(rejected.begin(), update.refused.begin(), update.refused.end());
    if (count(index, update, rejected.size())) handler_.synced(type.type_url());
    return rejected;
}

// True: this was the type's first full state.
bool Session::count(size_t index, const Update& update, size_t rejected) {
    const std::lock_guard lock(shared_.mutex);
    TypeStats& stats = shared_.stats.types[index];
    ++stats.messages;
    for (const Resource& resource : update.resources) stats.bytes += resource.body.size();
    stats.resources += update.resources.size();
    stats.rejected += rejected;
    stats.removed += update.removed.size();
    stats.held = types_[index]->held();
    return !types_[index]->on_demand() && !std::exchange(stats.synced, true);
}

void Session::reply(Stream& stream, const Response& response, const std::vector<Rejection>& rejected) {
    Request request;
    request.set_type_url(std::string(response.type_url));
    request.set_response_nonce(std::string(response.nonce));
    if (!rejected.empty()) {
        request.mutable_error_detail()->set_message(nack_text(rejected));
        WARREN_LOG(kLog, Level::Warn, "resources refused; the rest of the response counts", {"type", response.type_url},
                   {"refused", rejected.size()}, {"error", request.error_detail().message()});
    }
    {
        const std::lock_guard lock(shared_.mutex);
        ++(rejected.empty() ? shared_.stats.acks : shared_.stats.nacks);
    }
    stream.write(request.SerializeAsString());
}

}  // namespace warren::xds
