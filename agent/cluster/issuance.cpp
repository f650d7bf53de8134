// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/issuance.h"

#include "base/bytes.h"
#include "base/log.h"

#include <openssl/sha.h>

#include <array>
#include <span>

namespace warren::cluster {

using base::Errc;

namespace {

const base::log::Area kLog("ca");

AuditEvent event_of(const CallerIdentity& caller, std::string_view peer) {
    AuditEvent event;
    event.caller = caller.name;
    event.peer = peer;
    if (caller.node.find('*') == std::string::npos) event.node = caller.node;
    return event;
}

}  // namespace

// Those with a client certificate were vouched for by the handshake; others behind the same address do not shut them out, and each
// answers for itself: the handshake also vouches for the revoked, and for every workload.
std::string failure_key(const PresentedCredentials& shown) {
    if (shown.certificate_pem.empty()) return base::peer_key(shown.peer);
    std::array<uint8_t, SHA256_DIGEST_LENGTH> hash{};
    SHA256(reinterpret_cast<const unsigned char*>(shown.certificate_pem.data()), shown.certificate_pem.size(), hash.data());
    return "certificate " + base::to_hex(std::span<const uint8_t>(hash).first(16));
}

std::string_view status_name(Errc code) {
    switch (code) {
        case Errc::Denied: return "UNAUTHENTICATED";
        case Errc::Invalid: return "INVALID_ARGUMENT";
        case Errc::Exhausted: return "RESOURCE_EXHAUSTED";
        case Errc::Unavailable: return "UNAVAILABLE";
        default: return "INTERNAL";
    }
}

Issuance::Issuance(IssuanceParts parts, const IssuanceLimits& limits, const base::Clock& clock)
    : parts_(parts), callers_(limits.caller, clock), failures_(limits.failures, clock) {}

base::Error Issuance::refused(const AuditEvent& who, base::Error why) {
    AuditEvent event = who;
    const std::string reason = why.message();
    event.code = status_name(why.code);
    event.reason = reason;
    if (parts_.audit != nullptr) parts_.audit->note(event);
    return why;
}

// A flood is one line an interval, with a count: the log is no place to be flooded either.
base::Error Issuance::limited(const AuditEvent& who, std::string_view key) {
    ++stats_.limited;
    base::Error why{Errc::Exhausted, 0, "", "too many requests of " + std::string(key)};
    const auto verdict = repeats_.note(key);
    if (!verdict.log) return why;
    AuditEvent event = who;
    event.repeated = verdict.repeated.value_or(0);
    return refused(event, why);
}

base::Result<CallerIdentity> Issuance::admit(const PresentedCredentials& shown, base::MonoTime deadline) {
    ++stats_.requests;
    AuditEvent event;
    event.peer = shown.peer;
    const std::string address = base::peer_key(shown.peer);
    const std::string failing = failure_key(shown);
    if (!failures_.peek(failing)) return limited(event, failing);
    auto caller = parts_.authenticator->authenticate(shown, deadline);
    if (!caller && caller.error().code == Errc::Unavailable) {
        ++stats_.unreviewed;
        (void)refused(event, std::move(caller).error());
        return base::Error{Errc::Unavailable, 0, "", "nobody can say at present who the caller is; try again"};
    }
    if (!caller) {
        ++stats_.unauthenticated;
        (void)failures_.take(failing);
        (void)refused(event, std::move(caller).error());
        return base::Error{Errc::Denied, 0, "", "authentication failed"};  // what exactly is for the audit log
    }
    event = event_of(*caller, shown.peer);
    // One bucket for all that cannot be told apart would be everybody's: the anonymous and a shared token count by address.
    const bool shared = caller->kind == CallerKind::Anonymous || caller->kind == CallerKind::Bootstrap;
    const std::string key = shared ? caller->name + " at " + address : caller->name;
    if (!callers_.take(key)) return limited(event, key);
    return caller;
}

void Issuance::turned_away(const base::Error& why, std::string_view peer) {
    const auto verdict = repeats_.note("turned away " + base::peer_key(peer));
    if (!verdict.log) return;
    AuditEvent event;
    event.peer = peer;
    event.repeated = verdict.repeated.value_or(0);
    (void)refused(event, why);
}

base::Error Issuance::refuse_request(const CallerIdentity& caller, base::Error why, std::string_view peer) {
    ++stats_.bad_requests;
    return refused(event_of(caller, peer), std::move(why));
}

// Before the certificate is handed out: a token whose use is not written down would buy another one after a restart.
base::Result<void> Issuance::use_token(const CallerIdentity& caller) {
    if (caller.kind != CallerKind::Bootstrap) return {};
    if (parts_.tokens == nullptr || !caller.token) return base::Error{Errc::Denied, 0, "", "bootstrap tokens are not in use"};
    auto used = parts_.tokens->consume(*caller.token);
    if (used) ++stats_.tokens_used;
    return used;
}

base::Result<void> Issuance::write_down(const AuditEvent& event) {
    if (parts_.audit == nullptr) return {};
    const auto written = parts_.audit->record(event);
    if (written) return {};
    ++stats_.unaudited;
    WARREN_LOG_LIMITED(kLog, base::log::Level::Error, repeats_, "audit", "no certificate is handed out: the audit log takes no lines",
                       {"error", written.error().message()});
    return base::Error{Errc::Unavailable, 0, "", "no certificate is handed out: the audit log takes no lines"};
}

base::Result<IssuedCertificate> Issuance::issue(const CallerIdentity& caller, const IssuanceRequest& request, std::string_view peer) {
    AuditEvent event = event_of(caller, peer);
    event.identity = request.impersonated;
    std::string pods_node;
    if (caller.kind == CallerKind::Kubernetes && !request.impersonated.empty()) {
        pods_node = parts_.authorizer->node_of(caller).value_or("");
        if (!pods_node.empty()) event.node = pods_node;
    }
    auto subject = parts_.authorizer->authorize(caller, request.impersonated);
    if (!subject) {
        ++(subject.error().code == Errc::Invalid ? stats_.bad_requests : stats_.not_allowed);
        return refused(event, std::move(subject).error());
    }
    event.identity = subject->uri;
    if (subject->purpose == Purpose::Node) event.node = event.identity.substr(event.identity.rfind('/') + 1);
    auto made = parts_.authority->sign(request.csr_pem, *subject, request.lifetime);
    if (!made) {
        ++(made.error().code == Errc::Invalid ? stats_.bad_requests : stats_.failed);
        return refused(event, std::move(made).error());
    }
    if (auto used = use_token(caller); !used) {
        const bool denied = used.error().code == Errc::Denied;
        ++(denied ? stats_.not_allowed : stats_.failed);
        base::Error why = refused(event, std::move(used).error());
        // Which file could not be written is for the audit log.
        return denied ? why : base::Error{Errc::Internal, 0, "", "the token's use could not be written down"};
    }
    event.issued = true;
    event.serial = made->serial;
    event.not_after = made->not_after;
    TRY(write_down(event));
    ++stats_.issued;
    return made;
}

}  // namespace warren::cluster
