// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/reconnect.h"

#include <grpcpp/support/status.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace warren::xds {

namespace {

constexpr auto kSoon = std::chrono::milliseconds(10);
constexpr auto kLongStream = std::chrono::seconds(15);
constexpr size_t kMaxText = 512;

// A connection that was closed under the stream, in the words of gRPC's libraries: the server rotates its streams (istiod every half hour),
// restarts, or is gone. Whether it is back shows at the next attempt.
bool is_closed_transport(std::string_view text) {
    std::string lower(text.substr(0, kMaxText));
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    static constexpr std::array<std::string_view, 7> kTexts = {
        "transport is closing", "transport closing",         "goaway", "socket closed", "connection reset",
        "connection closed",    "keepalive watchdog timeout"};
    return std::any_of(kTexts.begin(), kTexts.end(), [&](std::string_view known) { return lower.find(known) != std::string::npos; });
}

std::string_view name_of(int status) {
    static constexpr std::array<std::string_view, 17> kNames = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    return status >= 0 && static_cast<size_t>(status) < kNames.size() ? kNames[static_cast<size_t>(status)] : "status out of range";
}

}  // namespace

std::string_view to_string(Termination reason) noexcept {
    switch (reason) {
        case Termination::ConnectionError: return "ConnectionError";
        case Termination::Error: return "Error";
        case Termination::Reconnect: return "Reconnect";
        case Termination::Complete: return "Complete";
    }
    return "Error";
}

End classify(int status, std::string_view text, bool answered) {
    End end;
    end.detail = std::string(name_of(status));
    if (!text.empty()) end.detail.append(": ").append(text.substr(0, kMaxText));
    if (status == grpc::StatusCode::OK) {
        end.reason = Termination::Complete;
        end.retry = answered ? Retry::AtOnce : Retry::Backoff;
    } else if (!answered) {
        end.reason = Termination::ConnectionError;
    } else if (status == grpc::StatusCode::UNKNOWN || status == grpc::StatusCode::CANCELLED ||
               status == grpc::StatusCode::DEADLINE_EXCEEDED || (status == grpc::StatusCode::UNAVAILABLE && is_closed_transport(text))) {
        end.reason = Termination::Reconnect;
        end.retry = Retry::Soon;
    }
    return end;
}

std::chrono::nanoseconds Reconnect::wait_after(const End& end, std::chrono::nanoseconds age) {
    if (end.retry != Retry::Backoff || age >= kLongStream) backoff_.reset();
    switch (end.retry) {
        case Retry::AtOnce: return {};
        case Retry::Soon: return kSoon;
        case Retry::Backoff: break;
    }
    return backoff_.next(random_);
}

}  // namespace warren::xds
