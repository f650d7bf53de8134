// SPDX-License-Identifier: Apache-2.0
// The paths that the stubs really call, seen by a server that takes any method: an istiod or a stock node answers to these names only.
#include "proto/ca.grpc.pb.h"
#include "proto/flow.grpc.pb.h"
#include "proto/xds.grpc.pb.h"

#include "tests/catch.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

namespace {

// Answers every call with UNIMPLEMENTED and remembers its path.
class Recorder final : public grpc::CallbackGenericService {
  public:
    grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
        const std::lock_guard lock(mutex_);
        path_ = context->method();
        struct Refuse final : grpc::ServerGenericBidiReactor {
            Refuse() { Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "recorded")); }
            void OnDone() override { delete this; }
        };
        return new Refuse;  // gRPC calls OnDone exactly once, last
    }

    std::string path() {
        const std::lock_guard lock(mutex_);
        return path_;
    }

  private:
    std::mutex mutex_;
    std::string path_;
};

struct Fixture {
    Fixture() {
        grpc::ServerBuilder builder;
        builder.RegisterCallbackGenericService(&recorder);
        server = builder.BuildAndStart();
        REQUIRE(server != nullptr);
        channel = server->InProcessChannel({});
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    }
    ~Fixture() { server->Shutdown(std::chrono::system_clock::now()); }

    Recorder recorder;
    std::unique_ptr<grpc::Server> server;
    std::shared_ptr<grpc::Channel> channel;
    grpc::ClientContext context;
};

}  // namespace

TEST_CASE("proto: the delta discovery stub calls the path that control planes serve") {
    Fixture f;
    auto stub = envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(f.channel);
    CHECK(stub->DeltaAggregatedResources(&f.context)->Finish().error_message() == "recorded");
    CHECK(f.recorder.path() == "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources");
}

TEST_CASE("proto: the state-of-the-world discovery stub calls the path that control planes serve") {
    Fixture f;
    auto stub = envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(f.channel);
    CHECK(stub->StreamAggregatedResources(&f.context)->Finish().error_message() == "recorded");
    CHECK(f.recorder.path() == "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
}

TEST_CASE("proto: the certificate stub calls the path that certificate authorities serve") {
    Fixture f;
    auto stub = istio::v1::auth::IstioCertificateService::NewStub(f.channel);
    istio::v1::auth::IstioCertificateResponse response;
    CHECK(stub->CreateCertificate(&f.context, {}, &response).error_message() == "recorded");
    CHECK(f.recorder.path() == "/istio.v1.auth.IstioCertificateService/CreateCertificate");
}

TEST_CASE("proto: the flow stub calls our own path") {
    Fixture f;
    auto stub = warren::flow::v1::FlowService::NewStub(f.channel);
    CHECK(stub->StreamFlows(&f.context, {})->Finish().error_message() == "recorded");
    CHECK(f.recorder.path() == "/warren.flow.v1.FlowService/StreamFlows");
}
