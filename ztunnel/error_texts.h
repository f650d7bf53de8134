// SPDX-License-Identifier: Apache-2.0
// The texts of the access log's `error` that people's queries and alerts are written for, so they are the stock tunnel's (data-plane
// contract 4.5, 4.7, 6.8, 9.3 and its samples), and the flag that belongs to a failed dial. What Warren knows beyond them stands in fields
// of its own (access_log.h): a text that says more would be missed by an exact match. Values only; callable from anywhere.
#pragma once

#include "base/result.h"
#include "policy/evaluate.h"
#include "ztunnel/traffic.h"

#include <string>
#include <string_view>

namespace warren::ztunnel {

// A live connection that was judged anew and lost (contract 6.8).
inline constexpr std::string_view kPolicyChange = "connection closed due to policy change";

// A connection that policies refused when it began.
[[nodiscard]] std::string policy_rejection(const policy::Decision& denied);
// The answer of a peer that was not 200: "http status: 401 Unauthorized".
[[nodiscard]] std::string http_status(int status);

// base::Error::where of failures before the peer was spoken to.
inline constexpr const char* kOwnCertificate = "own certificate:";
inline constexpr const char* kTlsConfiguration = "TLS configuration:";
// Of an answer that was the network gateway's on the way to the peer.
inline constexpr const char* kGatewayAnswered = "network gateway:";

// Why no tunnel was made: its flag (contract 9.3), its text, and what Warren adds.
struct DialFailure {
    ResponseFlag flag = ResponseFlag::Connect;
    std::string text;
    std::string_view note = {};
};
[[nodiscard]] DialFailure dial_failure(const base::Error& why);

}  // namespace warren::ztunnel
