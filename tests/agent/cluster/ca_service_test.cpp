// SPDX-License-Identifier: Apache-2.0
// The certificate service over gRPC and TLS, asked by the tunnel's own client, by a node that joins, and by callers with bad manners.
#include "agent/cluster/ca_service.h"

#include "agent/cluster/serving.h"
#include "agent/xds/channel.h"
#include "agent/xds/server.h"
#include "proto/ca.grpc.pb.h"
#include "tests/agent/cluster/issuance_fixture.h"
#include "tests/agent/xds/fake_xds_server.h"
#include "ztunnel/ca_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;

namespace {

namespace auth = istio::v1::auth;

const bool kTls13Only = (xds::restrict_grpc_to_tls13(), true);

const auto in = [](std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; };

struct ServiceWorld : IssuanceWorld {
    std::unique_ptr<cluster::ServingCertificate> serving;
    std::unique_ptr<cluster::CaService> service;
    std::unique_ptr<grpc::Server> server;
    int port = 0;

    explicit ServiceWorld(const cluster::CaServiceOptions& service_options = {}, std::chrono::seconds ago = 0s)
        : IssuanceWorld({}, false, ago) {
        auto made = cluster::ServingCertificate::create(*authority, {{"localhost"}, 24h}, clock);
        REQUIRE(made);
        serving = std::move(*made);
        service = std::make_unique<cluster::CaService>(issuance, service_options);
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", serving->credentials(), &port);
        builder.RegisterService(service->service());
        server = builder.BuildAndStart();
        REQUIRE(server);
        REQUIRE(port > 0);
    }
    ~ServiceWorld() {
        service->stop();
        server->Shutdown(std::chrono::system_clock::now() + 5s);
    }
    [[nodiscard]] std::string address() const { return "https://localhost:" + std::to_string(port); }
    [[nodiscard]] std::string roots() const { return authority->trust()->roots_pem; }

    std::unique_ptr<ztunnel::CaClient> tunnel(const std::string& token, bool impersonate = true) {
        ztunnel::CaClientOptions made;
        made.address = address();
        made.roots = std::move(*ztunnel::WatchedRoots::from_setting(dir.write("client-roots.pem", roots()), nullptr));
        made.token = xds::TokenSource::literal(token);
        made.cluster_id = "Kubernetes";
        made.impersonate = impersonate;
        auto client = ztunnel::CaClient::create(std::move(made));
        REQUIRE(client);
        return std::move(*client);
    }
    xds::JoinOptions joining(const std::string& token, const std::string& node) {
        xds::JoinOptions made;
        made.address = address();
        made.roots = xds::RootSource::pem(roots());
        if (!token.empty()) made.token = xds::TokenSource::literal(token);
        made.node = node;
        return made;
    }
    std::shared_ptr<grpc::Channel> channel(const xds::ClientCertificate& certificate = {}) {
        xds::ChannelOptions channel_options;
        channel_options.certificate = certificate;
        auto made = xds::make_channel(*xds::parse_endpoint(address()), roots(), channel_options);
        REQUIRE(made);
        return *made;
    }
    // One call over a channel, with headers as given.
    static grpc::Status call(const std::shared_ptr<grpc::Channel>& channel, const auth::IstioCertificateRequest& request,
                             const xds::Headers& headers = {}, auth::IstioCertificateResponse* out = nullptr) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 10s);
        for (const auto& [name, value] : headers) context.AddMetadata(name, value);
        auth::IstioCertificateResponse response;
        const auto status = auth::IstioCertificateService::NewStub(channel)->CreateCertificate(&context, request, &response);
        if (out != nullptr) *out = response;
        return status;
    }
    static auth::IstioCertificateRequest request_for(const std::string& identity) {
        auth::IstioCertificateRequest request;
        request.set_csr(fresh_request().csr_pem);
        (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(identity);
        return request;
    }
};

}  // namespace

TEST_CASE("ca service: the tunnel's client gets its workloads' certificates, and a refusal it understands") {
    ServiceWorld w;
    const auto client = w.tunnel("zt");
    const auto made = client->sign(kWeb, in(10s));
    if (!made) FAIL(made.error().message());
    CHECK((*made)->identity() == kWeb);
    CHECK((*made)->chain().size() == 2);
    CHECK((*made)->roots().size() == 1);
    const auto refused = client->sign(kDb, in(10s));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == base::Errc::Denied);
    CHECK(refused.error().message().find("UNAUTHENTICATED") != std::string::npos);
    w.workloads.add("n1", kDb);
    CHECK(client->sign(kDb, in(10s)));
    // A stranger is not told why.
    const auto stranger = w.tunnel("nobody")->sign(kWeb, in(10s));
    REQUIRE_FALSE(stranger);
    CHECK(stranger.error().message().find("authentication failed") != std::string::npos);
    CHECK(stranger.error().message().find("API server") == std::string::npos);
    // Dedicated mode: its own identity.
    w.kubernetes.tokens["app"] = {"prod", "web", "app-1", "uid-9"};
    CHECK((*w.tunnel("app", false)->sign(kWeb, in(10s)))->identity() == kWeb);
}

TEST_CASE("ca service: a node joins with a bootstrap token, asks with its certificate, renews it with itself") {
    ServiceWorld w({}, 13h);
    const auto now = w.clock.wall() + 13h;  // which is what handshakes go by
    const std::string path = w.dir.file("node.pem");
    auto options = w.joining(w.token("one", "n1"), "n1");
    auto joined = xds::join(options, path, w.clock, in(10s));
    if (!joined) FAIL(joined.error().message());
    CHECK(joined->changed);
    CHECK(joined->credential.not_after == w.clock.wall() + 24h);
    // Now by certificate, without a token.
    options.token = xds::TokenSource();
    const auto channel = w.channel(joined->credential.certificate());
    CHECK(ServiceWorld::call(channel, ServiceWorld::request_for(kWeb.uri())).ok());
    CHECK(ServiceWorld::call(channel, ServiceWorld::request_for(kDb.uri())).error_code() == grpc::StatusCode::UNAUTHENTICATED);
    const auto again = xds::join(options, path, w.clock, in(10s));
    REQUIRE(again);
    CHECK_FALSE(again->changed);
    CHECK(again->credential.key_pem == joined->credential.key_pem);
    w.clock.advance(13h);
    const auto renewed = xds::join(options, path, w.clock, in(10s));
    if (!renewed) FAIL(renewed.error().message());
    CHECK(renewed->changed);
    CHECK(renewed->credential.key_pem != joined->credential.key_pem);
    // The service away: the old one serves on, and says so.
    w.clock.advance(13h);
    options.address = "https://localhost:1";
    const auto alone = xds::join(options, path, w.clock, in(2s));
    REQUIRE(alone);
    CHECK_FALSE(alone->changed);
    CHECK_FALSE(alone->renewal_error.empty());
    w.clock.advance(24h);
    CHECK_FALSE(xds::join(options, path, w.clock, in(2s)));
    w.clock.set_wall(now);
    std::filesystem::remove(path);
    // A token for another node; a file that is damaged.
    options = w.joining(w.token("two", "n2"), "n1");
    const auto denied = xds::join(options, path, w.clock, in(10s));
    REQUIRE_FALSE(denied);
    CHECK(denied.error().code == base::Errc::Denied);
    w.dir.write("node.pem", "rubbish");
    CHECK(xds::join(w.joining(w.token("three", "n1"), "n1"), path, w.clock, in(10s)));
    CHECK(w.audit_text().find("token/one") != std::string::npos);
}

TEST_CASE("ca service: renewed now or joined anew, whatever the age of the certificate; one of a clock ahead of ours is used") {
    ServiceWorld w;
    const std::string path = w.dir.file("node.pem");
    auto options = w.joining(w.token("one", "n1", 1h, 2), "n1");
    const auto first = xds::join(options, path, w.clock, in(10s));
    REQUIRE(first);
    w.clock.set_wall(w.clock.wall() - 1h);
    CHECK_FALSE(xds::join(options, path, w.clock, in(10s))->changed);
    w.clock.set_wall(w.clock.wall() + 1h);
    options.renew = xds::Renew::Now;
    auto token = std::exchange(options.token, {});
    const auto second = xds::join(options, path, w.clock, in(10s));
    REQUIRE(second);
    CHECK(second->changed);
    options.renew = xds::Renew::Anew;
    CHECK_FALSE(xds::join(options, path, w.clock, in(10s))->renewal_error.empty());
    options.token = token;
    CHECK(xds::join(options, path, w.clock, in(10s))->changed);
    options.stop = [] {
        std::stop_source source;
        source.request_stop();
        return source.get_token();
    }();
    options.renew = xds::Renew::Now;
    CHECK_FALSE(xds::join(options, path, w.clock, in(10s))->renewal_error.empty());
}

TEST_CASE("ca service: the tunnel shows the certificate of its node from the agent's file, once it is there and valid") {
    ServiceWorld w;
    const std::string path = w.dir.file("node.pem");
    const auto tunnel = [&](xds::TokenSource token) {
        ztunnel::CaClientOptions made;
        made.address = w.address();
        made.roots = std::move(*ztunnel::WatchedRoots::from_setting(w.dir.write("client-roots.pem", w.roots()), nullptr));
        made.proof = xds::proof_from_files(path, path, !token.none(), w.clock);
        made.token = std::move(token);
        auto client = ztunnel::CaClient::create(std::move(made));
        REQUIRE(client);
        return std::move(*client);
    };
    const auto client = tunnel({});
    const auto early = client->sign(kWeb, in(10s));
    REQUIRE_FALSE(early);
    CHECK(early.error().message().find("the node agent writes once it has joined") != std::string::npos);
    CHECK(early.error().message().find(path) != std::string::npos);
    // With a token it does without.
    CHECK(tunnel(xds::TokenSource::literal("zt"))->sign(kWeb, in(10s)));
    REQUIRE(xds::join(w.joining(w.token("one", "n1"), "n1"), path, w.clock, in(10s)));
    client->roots_changed();
    CHECK(client->sign(kWeb, in(10s)));
    CHECK_FALSE(client->sign(kDb, in(10s)));
    // Of somebody else's key, or too old: an error that says so.
    auto other = xds::make_node_request();
    REQUIRE(other);
    const auto torn = xds::load_node_proof(path, w.dir.write("other.key", other->key_pem), w.clock);
    REQUIRE_FALSE(torn);
    CHECK(torn.error().message().find("not of our key") != std::string::npos);
    CHECK(torn.error().message().find("PRIVATE") == std::string::npos);
    w.clock.advance(25h);
    const auto old = xds::load_node_proof(path, path, w.clock);
    REQUIRE_FALSE(old);
    CHECK(old.error().message().find("has expired") != std::string::npos);
}

TEST_CASE("ca service: a revoked node is refused on the connection it already has") {
    ServiceWorld w;
    auto joined = xds::join(w.joining(w.token("one", "n1"), "n1"), w.dir.file("node.pem"), w.clock, in(10s));
    REQUIRE(joined);
    const auto channel = w.channel(joined->credential.certificate());
    REQUIRE(ServiceWorld::call(channel, ServiceWorld::request_for(kWeb.uri())).ok());
    w.dir.write("state/revoked", "node n1\n");
    REQUIRE(*w.authority->refresh());
    CHECK(ServiceWorld::call(channel, ServiceWorld::request_for(kWeb.uri())).error_code() == grpc::StatusCode::UNAUTHENTICATED);
}

TEST_CASE("ca service: hostile requests are refused and counted, the next one is served") {
    ServiceWorld w({.threads = 2, .queue = 16, .max_request_bytes = 8192, .deadline = 5s});
    const auto channel = w.channel();
    const xds::Headers token{{"authorization", "Bearer zt"}, {"clusterid", "Kubernetes"}};
    const auto good = [&] { return ServiceWorld::call(channel, ServiceWorld::request_for(kWeb.uri()), token).ok(); };
    const auto code = [&](const auth::IstioCertificateRequest& request, const xds::Headers& headers) {
        const auto status = ServiceWorld::call(channel, request, headers);
        INFO(status.error_message());
        CHECK(good());
        return status.error_code();
    };
    REQUIRE(good());
    auto request = ServiceWorld::request_for(kWeb.uri());
    request.set_csr(std::string(9000, 'x'));
    CHECK(code(request, token) == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(w.service->stats().oversize == 1);
    CHECK(w.audit_text().find("the request is larger than 8192 bytes") != std::string::npos);
    request.set_csr("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    CHECK(code(request, token) == grpc::StatusCode::INVALID_ARGUMENT);
    request = ServiceWorld::request_for(kWeb.uri());
    request.set_validity_duration(91 * 86400);
    CHECK(code(request, token) == grpc::StatusCode::INVALID_ARGUMENT);
    request.set_validity_duration(INT64_MAX);
    CHECK(code(request, token) == grpc::StatusCode::INVALID_ARGUMENT);
    request = ServiceWorld::request_for(kWeb.uri());
    (*request.mutable_metadata()->mutable_fields())["CertSigner"].set_string_value("foo");
    CHECK(code(request, token) == grpc::StatusCode::INVALID_ARGUMENT);
    (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_number_value(1);
    CHECK(code(request, token) == grpc::StatusCode::INVALID_ARGUMENT);
    request = ServiceWorld::request_for(kWeb.uri());
    CHECK(code(request, {}) == grpc::StatusCode::UNAUTHENTICATED);
    CHECK(code(request, {{"authorization", "zt"}}) == grpc::StatusCode::UNAUTHENTICATED);
    CHECK(code(request, {{"authorization", "Bearer zt"}, {"authorization", "Bearer zt"}}) == grpc::StatusCode::UNAUTHENTICATED);
    w.service->stop();
    CHECK(ServiceWorld::call(channel, request, token).error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("ca service: of a stranger's request no more than a window is taken in; of one who is known it is refused as too large") {
    ServiceWorld w({.threads = 2, .queue = 16, .deadline = 20s});
    const auto material = w.serving->current();
    xds::ServerOptions shared;  // as the controller has it
    shared.listeners = {{"127.0.0.1:0"}};
    shared.tls = {material->identity.chain_pem, material->identity.key_pem, material->roots_pem};
    shared.services = {w.service->service()};
    const auto both = xds::Server::create(std::move(shared));
    REQUIRE(both);
    Relay relay((*both)->ports().at(0));
    const auto channel = *xds::make_channel(*xds::parse_endpoint("localhost:" + std::to_string(relay.port())), w.roots(), {});
    auth::IstioCertificateRequest request;
    request.set_csr(std::string(3 << 20, 'x'));  // what a plain gRPC server still takes
    const auto before = relay.sent_to_server();
    CHECK(ServiceWorld::call(channel, request, {{"authorization", "Bearer nobody"}}).error_code() == grpc::StatusCode::UNAUTHENTICATED);
    CHECK(relay.sent_to_server() - before < 512 << 10);
    CHECK(w.service->stats().oversize == 0);
    const xds::Headers token{{"authorization", "Bearer zt"}, {"clusterid", "Kubernetes"}};
    CHECK(ServiceWorld::call(channel, request, token).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(w.service->stats().oversize == 1);
    CHECK(ServiceWorld::call(channel, ServiceWorld::request_for(kWeb.uri()), token).ok());
    w.service->stop();
}

TEST_CASE("ca service: a known caller that sends no request is given up at the deadline") {
    ServiceWorld w({.threads = 2, .queue = 16, .deadline = 300ms});
    grpc::GenericStub stub(w.channel());
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer zt");
    context.AddMetadata("clusterid", "Kubernetes");
    struct Silent final : grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
        std::promise<grpc::Status> ended;
        void OnDone(const grpc::Status& status) override { ended.set_value(status); }
    } silent;
    stub.PrepareBidiStreamingCall(&context, "/istio.v1.auth.IstioCertificateService/CreateCertificate", {}, &silent);
    silent.StartCall();
    auto ended = silent.ended.get_future();
    const bool came = ended.wait_for(20s) == std::future_status::ready;
    if (!came) context.TryCancel();
    CHECK(came);
    CHECK_FALSE(ended.get().ok());
}

TEST_CASE("ca service: a reviewer that hangs fills the queue, and no more") {
    struct Slow final : cluster::TokenReviewer {
        std::mutex mutex;
        std::condition_variable changed;
        bool open = false;
        int inside = 0;
        base::Result<cluster::ReviewedToken> review(std::string_view, std::string_view, base::MonoTime deadline) override {
            std::unique_lock lock(mutex);
            ++inside;
            changed.notify_all();
            changed.wait_until(lock, deadline, [&] { return open; });
            return cluster::ReviewedToken{"prod", "web", "", ""};
        }
    } slow;
    ServiceWorld w;
    cluster::Authenticator authenticator({w.authority.get(), nullptr, &slow, false});
    cluster::Issuance issuance({w.authority.get(), &authenticator, &w.authorizer, nullptr}, {}, w.clock);
    cluster::CaService service(issuance, {.threads = 1, .queue = 2, .max_request_bytes = 8192, .deadline = 20s});
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", w.serving->credentials(), &port);
    builder.RegisterService(service.service());
    const auto server = builder.BuildAndStart();
    REQUIRE(server);
    const auto channel = *xds::make_channel(*xds::parse_endpoint("localhost:" + std::to_string(port)), w.roots(), {});
    std::mutex mutex;
    std::map<grpc::StatusCode, int> codes;
    std::vector<std::thread> callers;
    auth::IstioCertificateRequest request;
    request.set_csr(fresh_request().csr_pem);
    const auto caller = [&] {
        const auto status = ServiceWorld::call(channel, request, {{"authorization", "Bearer t"}});
        const std::lock_guard lock(mutex);
        ++codes[status.error_code()];
    };
    callers.emplace_back(caller);
    {
        std::unique_lock lock(slow.mutex);
        REQUIRE(slow.changed.wait_for(lock, 20s, [&] { return slow.inside == 1; }));
    }
    for (int i = 0; i < 7; ++i) callers.emplace_back(caller);
    const auto deadline = in(20s);
    while (service.stats().overloaded < 5 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    CHECK(service.stats().waiting == 2);
    {
        const std::lock_guard lock(slow.mutex);
        slow.open = true;
    }
    slow.changed.notify_all();
    for (std::thread& one : callers) one.join();
    CHECK(codes[grpc::StatusCode::UNAVAILABLE] == 5);
    CHECK(codes[grpc::StatusCode::OK] == 3);
    service.stop();
    server->Shutdown(std::chrono::system_clock::now() + 5s);
}

TEST_CASE("ca service: its own certificate and the root change under a connection that stays") {
    ServiceWorld w({}, 13h);  // handshakes go by the machine's clock, which is where this one arrives
    const xds::Headers token{{"authorization", "Bearer zt"}};
    const auto old_channel = w.channel();
    REQUIRE(ServiceWorld::call(old_channel, ServiceWorld::request_for(kWeb.uri()), token).ok());
    const auto first = w.serving->current();
    w.clock.advance(11h);
    CHECK(w.serving->current()->serial == first->serial);
    w.clock.advance(2h);
    CHECK(w.serving->current()->serial != first->serial);
    const std::string old_roots = w.roots();
    REQUIRE(w.authority->begin_rotation());
    REQUIRE(w.authority->hasten_rotation());
    // A new connection meets the new root, which the old bundle does not know; the old connection goes on.
    auto stale = xds::make_channel(*xds::parse_endpoint(w.address()), old_roots, {});
    REQUIRE(stale);
    CHECK_FALSE(ServiceWorld::call(*stale, ServiceWorld::request_for(kWeb.uri()), token).ok());
    CHECK(ServiceWorld::call(w.channel(), ServiceWorld::request_for(kWeb.uri()), token).ok());
    auth::IstioCertificateResponse response;
    CHECK(ServiceWorld::call(old_channel, ServiceWorld::request_for(kWeb.uri()), token, &response).ok());
    CHECK(old_channel->GetState(false) == GRPC_CHANNEL_READY);
    // And a node whose certificate is of the old root is believed while it lasts.
    CHECK(response.cert_chain_size() == 3);
}

TEST_CASE("ca service: a client certificate of nobody's is refused by the handshake") {
    ServiceWorld w;
    CaWorld other;
    const auto foreign = other.open();
    auto request = fresh_request();
    const auto made = foreign->sign(request.csr_pem, {cluster::Purpose::Node, "spiffe://cluster.local/node/n1", {}}, 0s);
    REQUIRE(made);
    const auto status =
        ServiceWorld::call(w.channel({made->chain[0] + made->chain[1], request.key_pem}), ServiceWorld::request_for(kWeb.uri()));
    CHECK_FALSE(status.ok());
    CHECK(w.issuance.stats().issued == 0);
}
