// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/error_texts.h"

#include <algorithm>
#include <iterator>

namespace warren::ztunnel {
namespace {

struct Phrase {
    int status;
    std::string_view text;
};

// RFC 9110 15, RFC 6585. In order.
constexpr Phrase kPhrases[] = {
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {511, "Network Authentication Required"},
};
static_assert(std::is_sorted(std::begin(kPhrases), std::end(kPhrases),
                             [](const Phrase& a, const Phrase& b) { return a.status < b.status; }));

// What the stock tunnel has no such case for is told in the same form.
std::string refusal(const policy::Decision& denied) {
    switch (denied.reason) {
        case policy::Reason::DeniedByPolicy:
            return "explicitly denied by: " + (denied.policy != nullptr ? denied.policy->key().str() : std::string("a policy"));
        case policy::Reason::DeniedNoAllowMatched: return "allow policies exist, but none allowed";
        case policy::Reason::DeniedPolicyMissing: return "a policy of the workload has not arrived";
        case policy::Reason::DeniedPolicyRefused: return "a policy of the workload could not be read";
        default: return std::string(policy::to_string(denied.reason));
    }
}

}  // namespace

std::string policy_rejection(const policy::Decision& denied) { return "connection closed due to policy rejection: " + refusal(denied); }

std::string http_status(int status) {
    std::string text = "http status: " + std::to_string(status);
    const Phrase* found = std::lower_bound(std::begin(kPhrases), std::end(kPhrases), status,
                                           [](const Phrase& phrase, int wanted) { return phrase.status < wanted; });
    if (found != std::end(kPhrases) && found->status == status) text.append(" ").append(found->text);
    return text;
}

DialFailure dial_failure(const base::Error& why) {
    const std::string_view where = why.where;
    if (where == kOwnCertificate) return {ResponseFlag::IdentityError, why.message()};
    if (where == kTlsConfiguration) return {ResponseFlag::TlsFailure, why.message()};
    // Only the TCP connect: a peer that is silent in the handshake was reached.
    if (where == "connect" && why.code == base::Errc::Timeout)
        return {ResponseFlag::NetworkPolicy, "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: " + why.message()};
    if (where == kGatewayAnswered) return {ResponseFlag::Connect, why.detail, "answered by the network gateway"};
    return {ResponseFlag::Connect, why.message()};
}

}  // namespace warren::ztunnel
