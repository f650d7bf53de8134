// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/ca_bench.h"

#include "agent/cluster/ca_service.h"
#include "agent/cluster/node_name.h"
#include "agent/cluster/serving.h"
#include "agent/xds/channel.h"
#include "agent/xds/join.h"
#include "proto/ca.grpc.pb.h"

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include <unistd.h>

namespace warren::bench {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
namespace auth = istio::v1::auth;

const policy::Identity kIdentity("cluster.local", "bench", "web");

class Folder {
  public:
    Folder() {
        if (::mkdtemp(name_) == nullptr) name_[0] = '\0';
    }
    ~Folder() {
        std::error_code ignored;
        if (name_[0] != '\0') std::filesystem::remove_all(name_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string path(const char* file) const { return std::string(name_) + "/" + file; }

  private:
    char name_[32] = "/tmp/warren-bench-XXXXXX";
};

double cpu_seconds() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

double percentile(std::vector<double>& values, double p) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[std::min(values.size() - 1, static_cast<size_t>(p * static_cast<double>(values.size())))];
}

cluster::AuthorityOptions options_in(const std::string& state, cluster::KeyKind kind) {
    cluster::AuthorityOptions options;
    options.state = state;
    options.key = kind;
    return options;
}

// Certificates a second of processor time of one thread; checking the request is part of it.
base::Result<double> signing_rate(const Folder& folder, cluster::KeyKind kind, const char* name, unsigned n) {
    const base::RealClock clock;
    const auto authority = TRY(cluster::Authority::open(options_in(folder.path(name), kind), clock));
    const auto request = TRY(xds::make_node_request());
    const cluster::Subject subject{cluster::Purpose::Workload, kIdentity.uri(), {}};
    const double begin = cpu_seconds();
    for (unsigned i = 0; i < n; ++i) (void)TRY(authority->sign(request.csr_pem, subject, std::chrono::seconds(0)));
    return n / (cpu_seconds() - begin);
}

struct Service {
    explicit Service(const Folder& folder) : state(folder) {}
    base::Result<void> start() {
        authority = TRY(cluster::Authority::open(options_in(state.path("service"), cluster::KeyKind::EcP256), clock));
        audit = TRY(cluster::AuditLog::open(state.path("audit.log"), clock));
        serving = TRY(cluster::ServingCertificate::create(*authority, {{"localhost"}}, clock));
        workloads.add("n1", kIdentity);
        authenticator.emplace(cluster::AuthenticatorParts{authority.get(), nullptr, nullptr, false});
        authorizer.emplace(cluster::NodeAuthorizerParts{"cluster.local", &workloads, nullptr, {}, {}});
        cluster::IssuanceLimits limits;
        limits.caller = {.per_second = 1e9, .burst = 1e9};
        issuance.emplace(cluster::IssuanceParts{authority.get(), &*authenticator, &*authorizer, audit.get()}, limits, clock);
        service.emplace(*issuance, cluster::CaServiceOptions{});
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", serving->credentials(), &port);
        builder.RegisterService(service->service());
        server = builder.BuildAndStart();
        if (!server) return base::Error{base::Errc::Unavailable, 0, "listen", "127.0.0.1"};
        return {};
    }
    ~Service() {
        if (service) service->stop();
        if (server) server->Shutdown();
    }
    // As a node that has joined.
    base::Result<std::shared_ptr<grpc::Channel>> channel() {
        const auto request = TRY(xds::make_node_request());
        const cluster::Subject node{cluster::Purpose::Node, cluster::node_uri("cluster.local", "n1"), {}};
        const auto made = TRY(authority->sign(request.csr_pem, node, std::chrono::seconds(0)));
        xds::ChannelOptions options;
        options.certificate = {made.chain[0] + made.chain[1], request.key_pem};
        return xds::make_channel(TRY(xds::parse_endpoint("localhost:" + std::to_string(port))), authority->trust()->roots_pem, options);
    }

    const Folder& state;
    base::RealClock clock;
    cluster::NodeWorkloads workloads;
    std::unique_ptr<cluster::Authority> authority;
    std::unique_ptr<cluster::AuditLog> audit;
    std::unique_ptr<cluster::ServingCertificate> serving;
    std::optional<cluster::Authenticator> authenticator;
    std::optional<cluster::NodeAuthorizer> authorizer;
    std::optional<cluster::Issuance> issuance;
    std::optional<cluster::CaService> service;
    std::unique_ptr<grpc::Server> server;
    int port = 0;
};

struct Load {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<double> ms;
    unsigned failed = 0, outstanding = 0;
};

// Open loop: a request leaves at its time, whether or not those before it were answered; waiting counts.
base::Result<void> ask(auth::IstioCertificateService::Stub& stub, const auth::IstioCertificateRequest& request,
                       const CaBenchOptions& options, Load& load) {
    struct Call {
        grpc::ClientContext context;
        auth::IstioCertificateResponse response;
        Clock::time_point due;
    };
    const auto begin = Clock::now();
    const unsigned n = options.rate * options.seconds;
    for (unsigned i = 0; i < n; ++i) {
        const auto due = begin + std::chrono::nanoseconds(1'000'000'000LL * i / options.rate);
        std::this_thread::sleep_until(due);
        auto call = std::make_shared<Call>();
        call->due = due;
        call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
        {
            const std::lock_guard lock(load.mutex);
            ++load.outstanding;
        }
        stub.async()->CreateCertificate(&call->context, &request, &call->response, [call, &load](const grpc::Status& status) {
            const double took = std::chrono::duration<double, std::milli>(Clock::now() - call->due).count();
            const std::lock_guard lock(load.mutex);
            status.ok() ? load.ms.push_back(took) : void(++load.failed);
            --load.outstanding;
            load.changed.notify_all();
        });
    }
    std::unique_lock lock(load.mutex);
    load.changed.wait(lock, [&] { return load.outstanding == 0; });
    if (load.failed > 0) return base::Error{base::Errc::Internal, 0, "", std::to_string(load.failed) + " requests failed"};
    return {};
}

base::Result<void> measure_service(const Folder& folder, const CaBenchOptions& options, Json& out) {
    Service service(folder);
    TRY(service.start());
    const auto stub = auth::IstioCertificateService::NewStub(TRY(service.channel()));
    auth::IstioCertificateRequest request;
    request.set_csr(TRY(xds::make_node_request()).csr_pem);
    (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(kIdentity.uri());
    CaBenchOptions warm = options;
    warm.seconds = 1;
    Load first, load;
    TRY(ask(*stub, request, warm, first));
    TRY(ask(*stub, request, options, load));
    out["service"] = {{"rate_per_s", options.rate},
                      {"p50_ms", percentile(load.ms, 0.5)},
                      {"p99_ms", percentile(load.ms, 0.99)},
                      {"max_ms", percentile(load.ms, 1)}};
    return {};
}

}  // namespace

base::Result<std::string> ca_bench(const CaBenchOptions& options) {
    const Folder folder;
    Json out;
    out["sign_ec_per_s_core"] = TRY(signing_rate(folder, cluster::KeyKind::EcP256, "ec", options.certificates));
    out["sign_rsa2048_per_s_core"] = TRY(signing_rate(folder, cluster::KeyKind::Rsa2048, "rsa", std::max(1U, options.certificates / 4)));
    TRY(measure_service(folder, options, out));
    if (options.json) return out.dump(2) + "\n";
    const Json& service = out["service"];
    return fmt::format(
        "signing, one core, request checked   EC P-256 {:.0f}/s   RSA 2048 {:.0f}/s\n"
        "service over gRPC, {}/s              p50 {:.2f} ms   p99 {:.2f} ms   max {:.2f} ms\n",
        out["sign_ec_per_s_core"].get<double>(), out["sign_rsa2048_per_s_core"].get<double>(), options.rate,
        service["p50_ms"].get<double>(), service["p99_ms"].get<double>(), service["max_ms"].get<double>());
}

}  // namespace warren::bench
