// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/error_texts.h"

#include "tests/catch.h"
#include "tests/ztunnel/observe_fixture.h"

#include <cerrno>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

TEST_CASE("error texts: a policy's refusal reads as the stock tunnel's") {
    const policy::Policy strict(policy_spec("istio-system/istio_converted_static_strict", policy::Scope::WorkloadSelector));
    policy::Decision denied;
    denied.reason = policy::Reason::DeniedByPolicy;
    denied.policy = &strict;
    CHECK(policy_rejection(denied) ==
          "connection closed due to policy rejection: explicitly denied by: istio-system/istio_converted_static_strict");
    denied.policy = nullptr;
    denied.reason = policy::Reason::DeniedNoAllowMatched;
    CHECK(policy_rejection(denied) == "connection closed due to policy rejection: allow policies exist, but none allowed");
    for (const auto own : {policy::Reason::DeniedPolicyMissing, policy::Reason::DeniedPolicyRefused}) {
        denied.reason = own;
        CHECK(policy_rejection(denied).starts_with("connection closed due to policy rejection: a policy of the workload "));
    }
}

TEST_CASE("error texts: a status stands with its phrase, an unknown one alone") {
    CHECK(http_status(401) == "http status: 401 Unauthorized");
    CHECK(http_status(400) == "http status: 400 Bad Request");
    CHECK(http_status(503) == "http status: 503 Service Unavailable");
    CHECK(http_status(204) == "http status: 204 No Content");
    CHECK(http_status(511) == "http status: 511 Network Authentication Required");
    CHECK(http_status(299) == "http status: 299");
    CHECK(http_status(999) == "http status: 999");
}

TEST_CASE("error texts: where a dial failed decides its flag") {
    const base::Error timeout = base::os_error_of(ETIMEDOUT, "connect");
    CHECK(dial_failure(timeout).flag == ResponseFlag::NetworkPolicy);
    CHECK(dial_failure(timeout).text.starts_with("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: "));
    CHECK(dial_failure(base::os_error_of(ECONNREFUSED, "connect")).flag == ResponseFlag::Connect);
    CHECK(dial_failure(base::Error{base::Errc::Timeout, 0, "", "TLS handshake timed out"}).flag == ResponseFlag::Connect);
    CHECK(dial_failure(base::Error{base::Errc::Denied, 0, "TLS handshake", "not trusted"}).flag == ResponseFlag::Connect);
    CHECK(dial_failure(base::Error{base::Errc::Timeout, 0, kOwnCertificate, "no answer"}).flag == ResponseFlag::IdentityError);
    CHECK(dial_failure(base::Error{base::Errc::Internal, 0, kTlsConfiguration, "no context"}).flag == ResponseFlag::TlsFailure);
    const auto gateway = dial_failure(base::Error{base::Errc::Unavailable, 0, kGatewayAnswered, http_status(401)});
    CHECK(gateway.flag == ResponseFlag::Connect);
    CHECK(gateway.text == "http status: 401 Unauthorized");
    CHECK(gateway.note == "answered by the network gateway");
}
