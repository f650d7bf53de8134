// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/cluster/issuance_fixture.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using base::Errc;
using cluster::PresentedCredentials;

namespace {

constexpr const char* kPeer = "ipv4:10.0.0.1:4711";

PresentedCredentials bearer(const std::string& token) {
    PresentedCredentials shown;
    shown.bearer = token;
    shown.peer = kPeer;
    return shown;
}
PresentedCredentials with_certificate(const std::string& pem) {
    PresentedCredentials shown;
    shown.certificate_pem = pem;
    shown.peer = kPeer;
    return shown;
}
template <class T>
std::string failure(const base::Result<T>& result) {
    return result ? "no error" : std::string(cluster::status_name(result.error().code)) + ": " + result.error().message();
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("issuance: a node has exactly the identities of the workloads that run on it, and its own") {
    IssuanceWorld w;
    const std::string n1 = w.node_certificate("n1"), n2 = w.node_certificate("n2");
    CHECK(w.ask(with_certificate(n1), kWeb.uri()));
    CHECK(has(failure(w.ask(with_certificate(n2), kWeb.uri())), "UNAUTHENTICATED: "));
    CHECK(has(failure(w.ask(with_certificate(n1), kDb.uri())), "known to run on node 'n1'"));
    CHECK(has(failure(w.ask(with_certificate(n1), "spiffe://other.domain/ns/prod/sa/web")), "trust domain"));
    CHECK(has(failure(w.ask(with_certificate(n1), cluster::node_uri("cluster.local", "n2"))), "UNAUTHENTICATED"));
    CHECK(has(failure(w.ask(with_certificate(n1), "prod/web")), "INVALID_ARGUMENT: ImpersonatedIdentity"));
    CHECK(has(failure(w.ask(with_certificate(n1), "spiffe://cluster.local/ns//sa/web")), "INVALID_ARGUMENT"));
    // A pod comes and goes: the next question knows.
    w.workloads.add("n1", kDb);
    w.workloads.add("n1", kDb);
    CHECK(w.ask(with_certificate(n1), kDb.uri()));
    w.workloads.remove("n1", kDb);
    CHECK(w.ask(with_certificate(n1), kDb.uri()));
    w.workloads.remove("n1", kDb);
    CHECK_FALSE(w.ask(with_certificate(n1), kDb.uri()));
    // Itself: renewal, with a certificate that is no server's.
    const auto renewed = w.ask(with_certificate(n1), "");
    REQUIRE(renewed);
    CHECK(w.authority->verify(renewed->chain.front())->uri == "spiffe://cluster.local/node/n1");
    CHECK_FALSE(w.verified(*renewed, w.authority->trust()->roots_pem, "-purpose sslserver").first);
    CHECK(w.verified(*renewed, w.authority->trust()->roots_pem, "-purpose sslclient").first);
}

TEST_CASE("issuance: a workload's certificate, a stranger's, an expired and a revoked one open nothing") {
    IssuanceWorld w;
    const std::string workload = w.sign(*w.authority).chain.front(), n1 = w.node_certificate("n1");
    CHECK(failure(w.ask(with_certificate(workload), "")) == "UNAUTHENTICATED: authentication failed");
    CaWorld other;
    const auto stranger = other.sign(*other.open(), 0s, {cluster::Purpose::Node, "spiffe://cluster.local/node/n1", {}});
    CHECK_FALSE(w.ask(with_certificate(stranger.chain.front()), kWeb.uri()));
    w.dir.write("state/revoked", "node n1\n");
    REQUIRE(*w.authority->refresh());
    CHECK_FALSE(w.ask(with_certificate(n1), kWeb.uri()));
    CHECK_FALSE(w.ask(bearer(w.token("n1", "n1")), ""));
    w.dir.write("state/revoked", "");
    REQUIRE(*w.authority->refresh());
    CHECK(w.ask(with_certificate(n1), kWeb.uri()));
    w.clock.advance(25h);
    CHECK_FALSE(w.ask(with_certificate(n1), kWeb.uri()));
    CHECK(has(w.audit_text(), "not valid now"));
}

TEST_CASE("issuance: a bootstrap token buys the certificate of its node, nothing else, until it expires") {
    IssuanceWorld w;
    const std::string one = w.token("one", "n1"), two = w.token("two", "n1", 1h, 2), rack = w.token("rack", "rack-1-*", 2h, 3);
    const auto joined = w.ask(bearer(one), "");
    REQUIRE(joined);
    CHECK(w.authority->verify(joined->chain.front())->uri == "spiffe://cluster.local/node/n1");
    CHECK(failure(w.ask(bearer(one), "spiffe://cluster.local/node/n1")) == "UNAUTHENTICATED: authentication failed");
    CHECK(has(w.audit_text(), "bootstrap token one is used up"));
    // What is refused uses nothing.
    CHECK(has(failure(w.ask(bearer(two), "spiffe://cluster.local/node/n2")), "UNAUTHENTICATED"));
    CHECK(has(failure(w.ask(bearer(two), kWeb.uri())), "join with it first"));
    CHECK(w.ask(bearer(two), "spiffe://cluster.local/node/n1"));
    CHECK(has(failure(w.ask(bearer(rack), "")), "INVALID_ARGUMENT"));
    CHECK(w.ask(bearer(rack), "spiffe://cluster.local/node/rack-1-7"));
    CHECK_FALSE(w.ask(bearer(rack), "spiffe://cluster.local/node/rack-2-7"));
    CHECK_FALSE(w.ask(bearer(rack), "spiffe://elsewhere/node/rack-1-7"));
    w.clock.advance(61min);
    CHECK(failure(w.ask(bearer(two), "")) == "UNAUTHENTICATED: authentication failed");
    CHECK(has(w.audit_text(), "bootstrap token two has expired"));
    CHECK(w.ask(bearer(rack), "spiffe://cluster.local/node/rack-1-7"));
    CHECK(w.kubernetes.reviews == 0);  // bootstrap tokens are not shown to anybody
}

TEST_CASE("issuance: a token whose use cannot be written down buys nothing") {
    IssuanceWorld w;
    const std::string one = w.token("one", "n1");
    const std::string lock = w.dir.file("tokens.json.lock");
    std::filesystem::remove(lock);
    std::filesystem::create_directory(lock);
    const std::string said = failure(w.ask(bearer(one), ""));
    CHECK(has(said, "INTERNAL"));
    CHECK(w.issuance.stats().issued == 0);
    CHECK(w.issuance.stats().tokens_used == 0);
    std::filesystem::remove(lock);
    CHECK(w.ask(bearer(one), ""));
    CHECK(w.issuance.stats().tokens_used == 1);
}

TEST_CASE("issuance: the node authorizer's five checks of a Kubernetes token") {
    IssuanceWorld w;
    CHECK(w.ask(bearer("zt"), kWeb.uri()));
    CHECK(has(failure(w.ask(bearer("zt"), kDb.uri())), "UNAUTHENTICATED"));
    w.kubernetes.tokens["app"] = {"prod", "app", "app-1", "uid-9"};
    CHECK(has(failure(w.ask(bearer("app"), kWeb.uri())), "prod/app may not ask for others"));
    const auto own = w.ask(bearer("app"), "");
    REQUIRE(own);
    CHECK(w.authority->verify(own->chain.front())->uri == "spiffe://cluster.local/ns/prod/sa/app");
    w.kubernetes.tokens["zt"].pod_uid = "uid-of-before";
    CHECK_FALSE(w.ask(bearer("zt"), kWeb.uri()));
    w.kubernetes.tokens["zt"].pod_uid = "";
    CHECK(has(failure(w.ask(bearer("zt"), kWeb.uri())), "not bound to a pod"));
    CHECK_FALSE(w.ask(bearer("zt"), "spiffe://cluster.local/node/n1"));
    CHECK_FALSE(w.ask(bearer("forged"), kWeb.uri()));
    CHECK_FALSE(w.ask(bearer(std::string(17'000, 'x')), kWeb.uri()));
    CHECK_FALSE(w.ask(bearer(""), kWeb.uri()));
}

TEST_CASE("issuance: the insecure demo signs for whoever asks, but never for a node") {
    IssuanceWorld w({}, true);
    CHECK(w.ask(bearer("anything"), kDb.uri()));
    CHECK(w.ask(bearer(""), kDb.uri()));
    CHECK_FALSE(w.ask(bearer(""), ""));
    CHECK_FALSE(w.ask(bearer(""), "spiffe://cluster.local/node/n1"));
    CHECK(has(w.audit_text(), "\"caller\":\"anonymous\""));
}

TEST_CASE("issuance: a flood of one caller is limited, others are not, and the table stays bounded") {
    cluster::IssuanceLimits limits;
    limits.caller = {.per_second = 1, .burst = 3, .max_keys = 2};
    IssuanceWorld w(limits);
    const std::string n1 = w.node_certificate("n1"), n2 = w.node_certificate("n2");
    for (int i = 0; i < 3; ++i) CHECK(w.ask(with_certificate(n1), ""));
    for (int i = 0; i < 20; ++i) CHECK(has(failure(w.ask(with_certificate(n1), "")), "RESOURCE_EXHAUSTED"));
    CHECK(w.ask(with_certificate(n2), ""));
    w.clock.advance(2s);
    for (int i = 0; i < 2; ++i) CHECK(w.ask(with_certificate(n1), ""));
    CHECK_FALSE(w.ask(with_certificate(n1), ""));
    CHECK(w.issuance.stats().limited == 21);
    base::RateLimit table({.per_second = 1, .burst = 1, .max_keys = 5}, w.clock);
    for (int i = 0; i < 1000; ++i) CHECK(table.take("peer " + std::to_string(i)));
    CHECK(table.keys() == 5);
}

TEST_CASE("issuance: guessing tokens is limited by address before anybody is asked, and does not shut out nodes behind it") {
    IssuanceWorld w;
    const std::string n1 = w.node_certificate("n1"), good = w.token("one", "n1");
    int refused = 0;
    while (!has(failure(w.ask(bearer("warren-join-guess"), "")), "RESOURCE_EXHAUSTED") && refused < 1000) ++refused;
    CHECK(refused == 50);
    CHECK_FALSE(w.ask(bearer(good), ""));
    CHECK(w.ask(with_certificate(n1), kWeb.uri()));
    const std::string two = w.token("two", "n1");
    auto elsewhere = bearer(two);
    elsewhere.peer = "ipv4:10.0.0.2:1";
    CHECK(w.ask(elsewhere, ""));
    w.clock.advance(10s);
    CHECK(w.ask(bearer(good), ""));
}

TEST_CASE("issuance: a certificate that is no node's floods neither the audit log nor those who review tokens") {
    IssuanceWorld w;
    const std::string n1 = w.node_certificate("n1"), web = w.sign(*w.authority).chain.front();
    auto guess = with_certificate(web);
    guess.bearer = "guess";
    int refused = 0;
    while (!has(failure(w.ask(guess, "")), "RESOURCE_EXHAUSTED") && refused < 1000) ++refused;
    CHECK(refused == 50);
    CHECK(w.kubernetes.reviews == 50);
    CHECK(w.ask(with_certificate(n1), kWeb.uri()));
}

TEST_CASE("issuance: every issuance and refusal is one line of JSON that says who, what and why, and no secret") {
    IssuanceWorld w;
    const std::string n1 = w.node_certificate("n1"), secret = w.token("one", "n1");
    const auto made = w.ask(with_certificate(n1), kWeb.uri());
    REQUIRE(made);
    (void)w.ask(with_certificate(n1), "evil\n\xff{\"");
    (void)w.ask(bearer(secret + "x"), "");
    (void)w.ask(bearer(secret), "");
    std::vector<nlohmann::json> lines;
    std::istringstream text(w.audit_text());
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line, nullptr, false));
    REQUIRE(lines.size() == 4);
    CHECK(lines[0]["event"] == "certificate_issued");
    CHECK(lines[0]["caller"] == "node/n1");
    CHECK(lines[0]["node"] == "n1");
    CHECK(lines[0]["identity"] == kWeb.uri());
    CHECK(lines[0]["serial"] == made->serial);
    CHECK(lines[0]["not_after"] == base::to_rfc3339(made->not_after, 0));
    CHECK(lines[0]["peer"] == kPeer);
    CHECK(lines[1]["event"] == "certificate_refused");
    CHECK(lines[1]["code"] == "INVALID_ARGUMENT");
    CHECK(lines[2]["code"] == "UNAUTHENTICATED");
    CHECK(lines[2]["reason"] == "the bootstrap token is unknown");
    CHECK(lines[3]["caller"] == "token/one");
    CHECK(w.audit_text().find(secret) == std::string::npos);
    CHECK(w.audit->stats().dropped == 0);
}

TEST_CASE("issuance: no line, no certificate: a full disk and a pipe that nobody reads refuse, and hold up nothing for ever") {
    IssuanceWorld w;
    const std::string n1 = w.node_certificate("n1"), pipe = w.dir.file("pipe");
    const auto limits = cluster::IssuanceLimits{};
    SECTION("full") {
        auto full = cluster::AuditLog::open("/dev/full", w.clock);
        REQUIRE(full);
        cluster::Issuance issuance({w.authority.get(), &w.authenticator, &w.authorizer, full->get(), w.tokens.get()}, limits, w.clock);
        const auto caller = issuance.admit(with_certificate(n1), w.clock.now() + 1s);
        REQUIRE(caller);
        const auto refused = issuance.issue(*caller, {fresh_request().csr_pem, 0s, kWeb.uri()}, kPeer);
        CHECK(has(failure(refused), "UNAVAILABLE: no certificate is handed out: the audit log takes no lines"));
        CHECK(issuance.stats().issued == 0);
        CHECK(issuance.stats().unaudited == 1);
        CHECK((*full)->stats().failed == 1);
    }
    SECTION("stuck") {
        REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
        CHECK_FALSE(cluster::AuditLog::open(pipe, w.clock));  // nobody reads it; the start does not wait
        const base::Fd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        REQUIRE(reader);
        auto stuck = cluster::AuditLog::open(pipe, w.clock);
        REQUIRE(stuck);
        cluster::Issuance issuance({w.authority.get(), &w.authenticator, &w.authorizer, stuck->get(), w.tokens.get()}, limits, w.clock);
        const auto caller = issuance.admit(with_certificate(n1), w.clock.now() + 1s);
        REQUIRE(caller);
        const auto ask = [&] { return issuance.issue(*caller, {fresh_request().csr_pem, 0s, kWeb.uri()}, kPeer); };
        REQUIRE(ask());
        // Full to the last byte, by somebody else.
        const base::Fd writer(::open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        for (const std::string dots(4096, '.'); ::write(writer.get(), dots.data(), dots.size()) > 0;) continue;
        while (::write(writer.get(), ".", 1) > 0) continue;
        CHECK(has(failure(ask()), "UNAVAILABLE"));
        (void)issuance.refuse_request(*caller, base::invalid("x"), kPeer);  // does not wait
        std::string all(1 << 20, 0);
        REQUIRE(::read(reader.get(), all.data(), all.size()) > 0);
        // Read again, it goes on.
        CHECK((*stuck)->flush());
        CHECK(ask());
        CHECK(issuance.stats().issued == 2);
    }
}

TEST_CASE("issuance: a refusal names the node, also of a token's and of a pod's; what is turned away unread is written down") {
    IssuanceWorld w;
    const std::string rack = w.token("rack", "rack-*");
    REQUIRE(w.ask(bearer("zt"), kWeb.uri()));
    REQUIRE(w.ask(bearer(rack), "spiffe://cluster.local/node/rack-7"));
    CHECK_FALSE(w.ask(bearer("zt"), kDb.uri()));
    const auto caller = w.issuance.admit(with_certificate(w.node_certificate("n5")), w.clock.now() + 1s);
    REQUIRE(caller);
    (void)w.issuance.refuse_request(*caller, base::invalid("no request"), kPeer);
    for (int i = 0; i < 10; ++i) w.issuance.turned_away(base::invalid("too large"), kPeer);
    std::vector<nlohmann::json> lines;
    std::istringstream text(w.audit_text());
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line, nullptr, false));
    REQUIRE(lines.size() == 5);
    CHECK(lines[0]["node"] == "n1");
    CHECK(lines[1]["node"] == "rack-7");
    CHECK(lines[2]["node"] == "n1");
    CHECK(lines[3]["node"] == "n5");
    CHECK(lines[4]["reason"] == "too large");
    CHECK(lines[4]["peer"] == kPeer);
}

TEST_CASE("issuance: that nobody can say who a caller is, is not the caller's fault") {
    IssuanceWorld w;
    struct Away final : cluster::TokenReviewer {
        base::Result<cluster::ReviewedToken> review(std::string_view, std::string_view, base::MonoTime) override {
            return base::Error{Errc::Timeout, 0, "", "api.internal:6443 does not answer"};
        }
    } away;
    const cluster::Authenticator asks({w.authority.get(), w.tokens.get(), &away, false});
    cluster::Issuance issuance({w.authority.get(), &asks, &w.authorizer, w.audit.get(), w.tokens.get()}, {}, w.clock);
    for (int i = 0; i < 60; ++i) {  // more than the attempts that may fail
        const auto refused = issuance.admit(bearer("zt"), w.clock.now() + 1s);
        REQUIRE_FALSE(refused);
        REQUIRE(failure(refused) == "UNAVAILABLE: nobody can say at present who the caller is; try again");
    }
    CHECK(issuance.stats().unreviewed == 60);
    CHECK(issuance.stats().unauthenticated == 0);
    CHECK(has(w.audit_text(), "api.internal:6443 does not answer"));
}

TEST_CASE("issuance: peers are counted by address, IPv6 by its /64") {
    CHECK(base::peer_key("ipv4:10.0.0.1:4711") == "ipv4:10.0.0.1");
    CHECK(base::peer_key("ipv6:[2001:db8::1]:1") == base::peer_key("ipv6:%5B2001:db8::ffff%5D:2"));
    CHECK(base::peer_key("ipv6:[2001:db8::1]:1") != base::peer_key("ipv6:[2001:db8:0:1::1]:1"));
    CHECK(base::peer_key("ipv6:[::ffff:10.0.0.1]:1") == "ipv4:10.0.0.1");
    CHECK(base::peer_key("unix:/run/x") == "unix:/run/x");
    for (const char* odd : {"", "ipv6:", "ipv6:[", "ipv6:[]", "ipv4:"}) (void)base::peer_key(odd);
}
