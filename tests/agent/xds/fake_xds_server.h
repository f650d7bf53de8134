// SPDX-License-Identifier: Apache-2.0
// An xDS server that does what the test says, a handler that remembers, and a relay that can go silent. Calls from the test's thread; every
// wait ends after twenty seconds and fails the test.
#pragma once

#include "agent/xds/client.h"
#include "base/fd.h"
#include "proto/xds.grpc.pb.h"
#include "tests/ztunnel/temp_dir.h"
#include "tests/ztunnel/test_ca.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace warren::tests {

namespace discovery = envoy::service::discovery::v3;
using discovery::DeltaDiscoveryRequest;
using discovery::DeltaDiscoveryResponse;

inline constexpr std::chrono::seconds kPatience{20};

// One call of a client, as the server sees it. Holds itself until gRPC is done with it.
class ServerStream final : public grpc::ServerBidiReactor<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
  public:
    explicit ServerStream(const grpc::CallbackServerContext& context);
    static std::shared_ptr<ServerStream> make(const grpc::CallbackServerContext& context);
    void begin() { StartRead(&incoming_); }

    DeltaDiscoveryRequest take();                    // the next request
    std::optional<DeltaDiscoveryRequest> next();     // none: the stream ended without one
    bool quiet_for(std::chrono::milliseconds time);  // no request came
    void send(DeltaDiscoveryResponse response);
    void end(grpc::Status status);
    bool wait_gone();  // the client has left
    std::map<std::string, std::string> metadata;

    void OnReadDone(bool ok) override;
    void OnWriteDone(bool ok) override;
    void OnCancel() override;
    void OnDone() override;

  private:
    template <class Pred>
    bool wait(Pred pred) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, pred);
    }
    // Under the lock.
    void go_on();
    void leave();

    std::shared_ptr<ServerStream> self_;
    std::mutex mutex_;
    std::condition_variable changed_;
    DeltaDiscoveryRequest incoming_;
    std::deque<DeltaDiscoveryRequest> requests_;
    std::deque<DeltaDiscoveryResponse> responses_;  // the first one is on its way while writing_
    std::optional<grpc::Status> status_;
    bool writing_ = false, finished_ = false, gone_ = false;
};

class FakeXdsServer final : public discovery::AggregatedDiscoveryService::CallbackService {
  public:
    struct Options {
        std::string address = "127.0.0.1:0";
        std::shared_ptr<grpc::ServerCredentials> credentials;
        int max_request_bytes = 0;
    };
    explicit FakeXdsServer(Options options);
    ~FakeXdsServer() override;

    std::shared_ptr<ServerStream> stream();  // the next one to arrive
    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] int calls() const { return calls_; }
    // The next calls end with these before anything is said.
    void refuse(std::vector<grpc::Status> statuses);

    grpc::ServerBidiReactor<DeltaDiscoveryRequest, DeltaDiscoveryResponse>* DeltaAggregatedResources(
        grpc::CallbackServerContext* context) override;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<ServerStream>> arrived_;
    std::deque<grpc::Status> refusals_;
    std::atomic<int> calls_ = 0;
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
};

// What the client told its handler. reject: the reason for a resource, or empty.
class RecordingHandler final : public xds::Handler {
  public:
    struct Seen {
        std::string type;
        std::vector<std::pair<std::string, std::string>> resources;  // name, body
        std::vector<std::string> removed;
        std::vector<std::string> refused;
    };
    std::vector<xds::Rejection> apply(const xds::Update& update) override;
    void synced(std::string_view type_url) override;
    void connected() override;
    void disconnected(xds::Termination reason, std::string_view detail) override;

    bool wait_for(const std::function<bool()>& pred);  // under the lock
    std::pair<xds::Termination, std::string> end_at(size_t index);
    bool quiet_for(std::chrono::milliseconds time);  // no stream ended
    std::function<std::string(const xds::Resource&)> reject;
    std::vector<Seen> seen;
    std::vector<std::string> synced_types;
    std::vector<std::pair<xds::Termination, std::string>> ends;
    std::map<std::string, std::string> state;  // name to body
    int connections = 0;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
};

// Passes bytes between a client and a server until frozen: then it reads no more and closes nothing, as a machine that lost its power.
class Relay {
  public:
    explicit Relay(int to_port);
    ~Relay();
    [[nodiscard]] int port() const { return port_; }
    void freeze() { frozen_ = true; }
    void thaw() { frozen_ = false; }
    bool wait_called();                                              // a connection was accepted
    [[nodiscard]] uint64_t sent_to_server() const { return sent_; }  // bytes

  private:
    void run();
    base::Fd listener_;
    int to_port_, port_ = 0;
    std::atomic<bool> frozen_ = false, stop_ = false;
    std::atomic<uint64_t> sent_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    int accepted_ = 0;
    std::thread thread_;
};

// A server under TLS, its authority, a token, a handler, and a client that waits no longer than it is told.
struct XdsWorld {
    explicit XdsWorld(const std::string& name = "localhost", int max_request_bytes = 0);
    xds::ClientOptions options();
    xds::Client& start(xds::ClientOptions options);
    xds::Client& start() { return start(options()); }

    TempDir dir;
    TestCa ca{"control plane"};
    std::string token, root;
    std::unique_ptr<FakeXdsServer> server;
    RecordingHandler handler;
    std::mutex pauses_mutex;
    std::vector<std::chrono::nanoseconds> pauses;  // what the client would have waited
    std::unique_ptr<xds::Client> client;           // last: ends first
};

inline const std::string kAddress(xds::kAddressType);
inline const std::string kAuthorization(xds::kAuthorizationType);

struct Item {
    std::string name, version, body;
};
DeltaDiscoveryResponse response(const std::string& type, const std::string& nonce, const std::vector<Item>& items,
                                const std::vector<std::string>& removed = {});
std::map<std::string, std::string> versions(const DeltaDiscoveryRequest& request);
std::vector<std::string> subscribed(const DeltaDiscoveryRequest& request);
std::vector<std::string> unsubscribed(const DeltaDiscoveryRequest& request);
// Takes the first requests of the two types, and answers both with nothing.
void answer_first(ServerStream& stream);

}  // namespace warren::tests
