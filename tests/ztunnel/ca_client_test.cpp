// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/ca_client.h"

#include "agent/xds/channel.h"
#include "base/fd.h"
#include "proto/ca.grpc.pb.h"
#include "tests/ztunnel/mini_authority.h"
#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using warren::xds::TokenSource;
using ztunnel::CaClient;
using ztunnel::CaClientOptions;
using ztunnel::WatchedRoots;

namespace {

// Before gRPC reads it, as main does.
const bool kTls13Only = (xds::restrict_grpc_to_tls13(), true);

namespace auth = istio::v1::auth;

const policy::Identity kWeb("cluster.local", "prod", "web");
const policy::Identity kDb("cluster.local", "prod", "db");

const auto in = [](std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; };

class Service final : public auth::IstioCertificateService::Service {
  public:
    enum class Answer : uint8_t { Certificate, Other, Empty, OneElement, Rubbish };

    grpc::Status CreateCertificate(grpc::ServerContext* context, const auth::IstioCertificateRequest* request,
                                   auth::IstioCertificateResponse* response) override {
        std::unique_lock lock(mutex_);
        ++calls;
        seen = *request;
        metadata.clear();
        for (const auto& [name, value] : context->client_metadata()) metadata[{name.data(), name.size()}] = {value.data(), value.size()};
        changed_.notify_all();
        while (slow && !context->IsCancelled()) changed_.wait_for(lock, 10ms);
        if (!failure.ok()) return failure;
        const std::string impersonated = request->metadata().fields().contains("ImpersonatedIdentity")
                                             ? request->metadata().fields().at("ImpersonatedIdentity").string_value()
                                             : kDb.uri();
        if (answer == Answer::Empty) return grpc::Status::OK;
        response->add_cert_chain(
            answer == Answer::Rubbish ? "rubbish" : authority.issue(request->csr(), answer == Answer::Other ? kDb.uri() : impersonated));
        if (answer != Answer::OneElement) response->add_cert_chain(authority.pem());
        return grpc::Status::OK;
    }
    bool wait_called() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return calls > 0; });
    }

    MiniAuthority authority;
    Answer answer = Answer::Certificate;
    grpc::Status failure;
    std::atomic<bool> slow = false;
    int calls = 0;
    auth::IstioCertificateRequest seen;
    std::map<std::string, std::string> metadata;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
};

// A certificate service on a port of this machine, and what is needed to call it.
struct World {
    explicit World(const std::string& name = "localhost") {
        const Leaf leaf = tls_ca.leaf(LeafSpec{.uris = {}, .dns = {name}, .eku = "serverAuth"});
        grpc::SslServerCredentialsOptions options;
        options.pem_key_cert_pairs.push_back({leaf.key_pem, leaf.cert_pem});
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
        builder.RegisterService(&service);
        server = builder.BuildAndStart();
        REQUIRE(server);
        token = dir.write("token", "first-token\n");
        root = dir.write("root.pem", tls_ca.pem());
    }
    ~World() {
        service.slow = false;
        server->Shutdown(std::chrono::system_clock::now() + 5s);
    }
    CaClientOptions options() {
        CaClientOptions made;
        made.address = "https://localhost:" + std::to_string(port);
        made.roots = std::move(*WatchedRoots::from_setting(root, nullptr));
        made.token = TokenSource::file(token);
        made.cluster_id = "Kubernetes";
        return made;
    }
    static std::unique_ptr<CaClient> client(CaClientOptions options) {
        auto made = CaClient::create(std::move(options));
        REQUIRE(made);
        return std::move(*made);
    }

    TempDir dir;
    TestCa tls_ca{"control plane"};
    Service service;
    int port = 0;
    std::unique_ptr<grpc::Server> server;
    std::string token, root;
};

// One handshake of a server of some TLS version, in a thread: what it came to.
struct RawTlsServer {
    RawTlsServer(const TestCa& ca, int most)
        : context(SSL_CTX_new(TLS_server_method())), fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const Leaf leaf = ca.leaf(LeafSpec{.uris = {}, .dns = {"localhost"}, .eku = "serverAuth"});
        const ztunnel::BioPtr key_bio(BIO_new_mem_buf(leaf.key_pem.data(), -1));
        const ztunnel::KeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
        const auto certificate = ztunnel::parse_certificate(pem_to_der(leaf.cert_pem));
        REQUIRE(certificate);
        SSL_CTX_use_certificate(context.get(), certificate->get());
        SSL_CTX_use_PrivateKey(context.get(), key.get());
        SSL_CTX_set_max_proto_version(context.get(), most);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
        REQUIRE(::listen(fd.get(), 8) == 0);
        REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
        port = ntohs(at.sin_port);
        thread = std::thread([this] { accept(); });
    }
    ~RawTlsServer() {
        if (thread.joinable()) thread.join();
    }
    std::string result() {
        thread.join();
        return outcome;
    }
    void accept() {
        // OpenSSL writes to a client that may have left.
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
        pollfd wait{fd.get(), POLLIN, 0};
        if (::poll(&wait, 1, 20'000) != 1) return;
        const base::Fd connection(::accept(fd.get(), nullptr, nullptr));
        const ztunnel::SslPtr ssl(SSL_new(context.get()));
        SSL_set_fd(ssl.get(), connection.get());
        outcome = SSL_accept(ssl.get()) == 1 ? SSL_get_version(ssl.get()) : "refused";
    }

    ztunnel::SslCtxPtr context;
    base::Fd fd;
    int port = 0;
    std::string outcome = "nobody came";
    std::thread thread;
};

}  // namespace

TEST_CASE("ca client: fetch_certificate: in shared mode it asks for the workload, with token, cluster and extra headers") {
    World w;
    auto options = w.options();
    options.headers = {{"x-tenant", "blue"}};
    options.lifetime = 1h;
    const auto client = w.client(std::move(options));
    const auto made = client->sign(kWeb, in(10s));
    REQUIRE(made);
    CHECK((*made)->identity() == kWeb);
    CHECK((*made)->roots().size() == 1);
    CHECK(w.service.metadata["authorization"] == "Bearer first-token");
    CHECK(w.service.metadata["clusterid"] == "Kubernetes");
    CHECK(w.service.metadata["x-tenant"] == "blue");
    CHECK(w.service.seen.validity_duration() == 3600);
    CHECK(w.service.seen.csr().starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    CHECK(w.service.seen.metadata().fields().size() == 1);
    CHECK(w.service.seen.metadata().fields().at("ImpersonatedIdentity").string_value() == kWeb.uri());
    CHECK(client->stats().requests == 1);
    CHECK(client->stats().failures == 0);
}

TEST_CASE("ca client: in dedicated mode the service decides who the caller is") {
    World w;
    auto options = w.options();
    options.impersonate = false;
    const auto client = w.client(std::move(options));
    const auto made = client->sign(kWeb, in(10s));
    REQUIRE(made);
    CHECK((*made)->identity() == kDb);
    CHECK_FALSE(w.service.seen.has_metadata());
}

TEST_CASE("ca client: empty_chain, wrong_identity, a chain without roots and rubbish are refused") {
    World w;
    const auto client = w.client(w.options());
    const std::pair<Service::Answer, const char*> cases[] = {{Service::Answer::Empty, "chain is empty"},
                                                             {Service::Answer::Other, "/sa/db"},
                                                             {Service::Answer::OneElement, "root"},
                                                             {Service::Answer::Rubbish, "leaf certificate"}};
    for (const auto& [answer, text] : cases) {
        w.service.answer = answer;
        const auto made = client->sign(kWeb, in(10s));
        REQUIRE_FALSE(made);
        CHECK(made.error().code == base::Errc::Invalid);
        CHECK(made.error().message().find(text) != std::string::npos);
        CHECK(made.error().message().find(kWeb.uri()) != std::string::npos);
    }
    CHECK(client->stats().failures == 4);
}

TEST_CASE("ca client: errors of the service keep their meaning, and its text stays on one line") {
    World w;
    const auto client = w.client(w.options());
    w.service.failure = {grpc::StatusCode::UNAUTHENTICATED, "request impersonation\nfailure"};
    const auto denied = client->sign(kWeb, in(10s));
    REQUIRE_FALSE(denied);
    CHECK(denied.error().code == base::Errc::Denied);
    CHECK(denied.error().message().find("UNAUTHENTICATED") != std::string::npos);
    CHECK(denied.error().message().find("request impersonation") != std::string::npos);
    CHECK(denied.error().message().find('\n') == std::string::npos);
    w.service.failure = {grpc::StatusCode::INVALID_ARGUMENT, "ttl"};
    CHECK(client->sign(kWeb, in(10s)).error().code == base::Errc::Invalid);
    w.service.failure = {grpc::StatusCode::INTERNAL, "ca not ready"};
    CHECK(client->sign(kWeb, in(10s)).error().code == base::Errc::Unavailable);
    w.service.failure = grpc::Status::OK;
    CHECK(client->sign(kWeb, in(10s)));
}

TEST_CASE("ca client: a slow service costs no more than the deadline") {
    World w;
    const auto client = w.client(w.options());
    REQUIRE(client->sign(kWeb, in(10s)));
    w.service.slow = true;
    const auto made = client->sign(kWeb, in(100ms));
    REQUIRE_FALSE(made);
    CHECK(made.error().code == base::Errc::Timeout);
    CHECK_FALSE(client->sign(kWeb, in(-1s)));
}

TEST_CASE("ca client: stop ends calls in flight and refuses later ones") {
    World w;
    const auto client = w.client(w.options());
    w.service.slow = true;
    bool failed = false;
    std::thread caller([&] { failed = !client->sign(kWeb, in(60s)); });
    CHECK(w.service.wait_called());
    const auto began = std::chrono::steady_clock::now();
    client->stop();
    caller.join();
    CHECK(failed);
    CHECK(std::chrono::steady_clock::now() - began < 20s);
    CHECK_FALSE(client->sign(kWeb, in(10s)));
    CHECK(w.service.calls == 1);
}

TEST_CASE("ca client: nobody there") {
    World w;
    auto options = w.options();
    // A port that was free a moment ago, bound but not listening.
    const base::Fd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(bound.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    options.address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    const auto made = w.client(std::move(options))->sign(kWeb, in(10s));
    REQUIRE_FALSE(made);
    CHECK(made.error().code == base::Errc::Unavailable);
}

TEST_CASE("ca client: roots that do not vouch for the server refuse it, until the file has those that do") {
    World w;
    const TestCa other("someone else");
    w.dir.write("root.pem", other.pem());
    const auto client = w.client(w.options());
    const auto refused = client->sign(kWeb, in(10s));
    REQUIRE_FALSE(refused);
    CHECK(w.service.calls == 0);
    w.dir.write("root.pem", w.tls_ca.pem());
    client->roots_changed();
    CHECK(client->sign(kWeb, in(10s)));
    CHECK(client->stats().channels == 2);
}

TEST_CASE("ca client: a channel that cannot be rebuilt stays, and the next request tries again") {
    World w;
    const auto client = w.client(w.options());
    REQUIRE(client->sign(kWeb, in(10s)));
    w.dir.write("root.pem", "half a fi");
    client->roots_changed();
    CHECK(client->sign(kWeb, in(10s)));
    CHECK(client->sign(kWeb, in(10s)));
    CHECK(client->stats().rebuild_failures == 2);
    w.dir.write("root.pem", w.tls_ca.pem());
    CHECK(client->sign(kWeb, in(10s)));
    CHECK(client->stats().channels == 2);
    CHECK(client->stats().rebuild_failures == 2);
    CHECK(client->sign(kWeb, in(10s)));
    CHECK(client->stats().channels == 2);
}

TEST_CASE("ca client: a changed root file is noticed by itself") {
    World w;
    const TestCa other("someone else");
    w.dir.write("root.pem", other.pem());
    auto watcher = base::FileWatcher::create({.settle = 10ms, .look = 60s, .max_files = 4});
    REQUIRE(watcher);
    auto options = w.options();
    options.roots = std::move(*WatchedRoots::from_setting(w.root, watcher->get()));
    const auto client = w.client(std::move(options));
    REQUIRE_FALSE(client->sign(kWeb, in(10s)));
    w.dir.replace("root.pem", w.tls_ca.pem());
    const auto deadline = in(20s);
    bool good = false;
    while (!good && std::chrono::steady_clock::now() < deadline) good = client->sign(kWeb, in(10s)).has_value();
    CHECK(good);
}

TEST_CASE("ca client: the server's name is the address's host or the alternative one") {
    World w("istiod.istio-system.svc");
    const auto refused = w.client(w.options())->sign(kWeb, in(10s));
    REQUIRE_FALSE(refused);
    CHECK(w.service.calls == 0);
    auto wrong = w.options();
    wrong.alternative_host = "istiod.other.svc";
    CHECK_FALSE(w.client(std::move(wrong))->sign(kWeb, in(10s)));
    auto right = w.options();
    right.alternative_host = "istiod.istio-system.svc";
    CHECK(w.client(std::move(right))->sign(kWeb, in(10s)));
    // The alternative comes beside the real one, not in its place.
    World plain;
    auto both = plain.options();
    both.alternative_host = "istiod.other.svc";
    CHECK(plain.client(std::move(both))->sign(kWeb, in(10s)));
}

TEST_CASE("ca client: a rotated token is used at once, an empty one sends nothing, none needs no headers") {
    World w;
    const auto client = w.client(w.options());
    REQUIRE(client->sign(kWeb, in(10s)));
    w.dir.replace("token", "second-token");
    REQUIRE(client->sign(kWeb, in(10s)));
    CHECK(w.service.metadata["authorization"] == "Bearer second-token");
    w.dir.replace("token", "\n");
    const auto empty = client->sign(kWeb, in(10s));
    REQUIRE_FALSE(empty);
    CHECK(empty.error().message().find(w.token) != std::string::npos);
    CHECK(w.service.calls == 2);
    auto options = w.options();
    options.token = TokenSource();
    REQUIRE(w.client(std::move(options))->sign(kWeb, in(10s)));
    CHECK(w.service.metadata.count("authorization") == 0);
    CHECK(w.service.metadata.count("clusterid") == 0);
}

TEST_CASE("ca client: bad settings are errors that name them") {
    World w;
    const auto error = [&](const std::function<void(CaClientOptions&)>& change) {
        auto options = w.options();
        change(options);
        const auto made = CaClient::create(std::move(options));
        return made ? std::string("no error") : made.error().message();
    };
    for (const char* address :
         {"", "http://istiod:15012", "istiod:0", "istiod:65536", "istiod:15012/path", "[::1", "ist iod:1", "https://", ":15012"})
        CHECK(error([&](auto& o) { o.address = address; }).find("CA_ADDRESS") != std::string::npos);
    for (const char* address : {"istiod", "istiod.istio-system.svc:15012", "https://[::1]:15012/", "10.0.0.1:15012"})
        CHECK(error([&](auto& o) { o.address = address; }) == "no error");
    CHECK(error([](auto& o) { o.headers = {{"bad name", "x"}}; }).find("CA_HEADER_bad name") != std::string::npos);
    CHECK(error([](auto& o) { o.headers = {{"name", "bad\nvalue"}}; }).find("CA_HEADER_name") != std::string::npos);
    CHECK(error([](auto& o) { o.headers = {{"x-bin", "y"}}; }).find("CA_HEADER_x-bin") != std::string::npos);
    CHECK(error([](auto& o) { o.headers = {{"grpc-timeout", "1S"}}; }).find("CA_HEADER_grpc-timeout") != std::string::npos);
    CHECK(error([](auto& o) { o.cluster_id = "a\nb"; }).find("cluster id") != std::string::npos);
    CHECK(error([](auto& o) { o.lifetime = 0s; }).find("SECRET_TTL") != std::string::npos);
    CHECK(error([](auto& o) { o.roots.reset(); }).find("CA_ROOT_CA") != std::string::npos);
    w.dir.write("root.pem", "nothing");
    CHECK(error([](auto&) {}).find("CA_ROOT_CA") != std::string::npos);
}

TEST_CASE("ca client: TLS 1.2 is not spoken") {
    World w;
    const auto call = [&](int most) {
        RawTlsServer server(w.tls_ca, most);
        auto options = w.options();
        options.address = "localhost:" + std::to_string(server.port);
        const auto made = w.client(std::move(options))->sign(kWeb, in(3s));
        CHECK_FALSE(made);
        return server.result();
    };
    CHECK(call(TLS1_3_VERSION) == "TLSv1.3");
    CHECK(call(TLS1_2_VERSION) == "refused");
}
