// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_service.h"

#include "agent/node/flow_filter.h"
#include "agent/node/unix_listener.h"
#include "base/log.h"
#include "proto/flow.grpc.pb.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

const base::log::Area kFlows("flows");

constexpr size_t kBatch = 256;
constexpr auto kPatience = std::chrono::milliseconds(250);  // between looks at a client that went away
constexpr auto kShutdown = std::chrono::milliseconds(500);

class Service final : public v1::FlowService::Service {
  public:
    Service(FlowHub& hub, FlowHistory history, size_t max_streams) : hub_(hub), history_(std::move(history)), max_streams_(max_streams) {}

    grpc::Status StreamFlows(grpc::ServerContext* context, const v1::StreamFlowsRequest* request,
                             grpc::ServerWriter<v1::FlowBatch>* writer) override {
        struct Count {
            std::atomic<size_t>& open;
            size_t now = open.fetch_add(1) + 1;
            ~Count() { --open; }
        } count{open_};
        if (count.now > max_streams_) {
            ++refused_;
            return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many flow streams are open on this node"};
        }
        ++streams_;
        const auto filters = request->filters();
        const auto filter = [filters](const v1::Flow& flow) { return accepts(filters, flow); };
        // Listening begins before the history is read, so nothing falls between; what is in both is the same record twice.
        const auto listener = hub_.listen(filter);
        uint64_t sequence = 0;
        const std::vector<FlowRef> history = history_(filter);
        for (size_t at = 0; at < history.size(); at += kBatch) {
            const size_t n = std::min(kBatch, history.size() - at);
            if (!send(*writer, {history.begin() + static_cast<long>(at), history.begin() + static_cast<long>(at + n)}, 0, ++sequence)) {
                return grpc::Status::OK;
            }
        }
        // An empty batch tells that the history is over.
        if (!send(*writer, {}, 0, ++sequence)) return grpc::Status::OK;
        while (!context->IsCancelled()) {
            const auto batch = listener->next(kBatch, kPatience);
            if (!batch.flows.empty() && !send(*writer, batch.flows, batch.lost, ++sequence)) break;
            if (batch.ended) break;
        }
        return grpc::Status::OK;
    }

    uint64_t streams() const { return streams_; }
    uint64_t refused() const { return refused_; }
    size_t open() const { return open_; }

  private:
    static bool send(grpc::ServerWriter<v1::FlowBatch>& writer, const std::vector<FlowRef>& flows, uint64_t lost, uint64_t sequence) {
        v1::FlowBatch batch;
        batch.set_sequence(sequence);
        batch.set_lost(lost);
        for (const FlowRef& flow : flows) *batch.add_flows() = *flow;
        return writer.Write(batch);
    }

    FlowHub& hub_;
    const FlowHistory history_;
    const size_t max_streams_;
    std::atomic<size_t> open_ = 0;
    std::atomic<uint64_t> streams_ = 0, refused_ = 0;
};

// Accepts by itself, because gRPC does not tell a Unix peer's credentials; the descriptor goes to gRPC once they are believed.
class Running final : public FlowService {
  public:
    Running(FlowServiceOptions options, FlowHub& hub, FlowHistory history, UnixListener listener, base::Fd stop)
        : options_(std::move(options)),
          listener_(std::move(listener)),
          stop_(std::move(stop)),
          service_(hub, std::move(history), options_.max_streams) {}
    ~Running() override {
        const uint64_t one = 1;
        (void)!::write(stop_.get(), &one, sizeof one);
        if (thread_.joinable()) thread_.join();
        if (server_) server_->Shutdown(std::chrono::system_clock::now() + kShutdown);
    }
    base::Result<void> run() {
        grpc::ServerBuilder builder;
        builder.RegisterService(&service_);
        builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
        builder.SetMaxReceiveMessageSize(64 * 1024);  // a request is a handful of filters
        server_ = builder.BuildAndStart();
        if (!server_) return base::Error{base::Errc::Internal, 0, "flow service", "gRPC did not start"};
        thread_ = std::thread([this] { accept_loop(); });
        return {};
    }
    FlowServiceStats stats() const override { return {service_.streams(), refused_peers_, service_.refused(), service_.open()}; }

  private:
    bool may_read(const UnixPeer& peer) const {
        const auto& readers = options_.readers;
        const bool named = std::find(readers.begin(), readers.end(), peer.uid) != readers.end();
        return peer.trusted() || (named && peer.uid != UnixPeer::kUnknown);
    }
    void accept_loop() {
        for (;;) {
            pollfd fds[] = {{stop_.get(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
            if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
            if (fds[0].revents != 0) return;
            UnixPeer peer = listener_.accept();
            if (!peer.fd) {
                // Who waits stays in the listener's queue; not a busy loop meanwhile.
                if (peer.beyond_means()) (void)::poll(fds, 1, 100);
                continue;
            }
            if (!may_read(peer)) {
                ++refused_peers_;
                WARREN_LOG(kFlows, base::log::Level::Warn, "reader of flows refused", {"uid", static_cast<uint64_t>(peer.uid)},
                           {"pid", static_cast<int64_t>(peer.pid)});
                continue;
            }
            grpc::AddInsecureChannelFromFd(server_.get(), peer.fd.release());
        }
    }

    const FlowServiceOptions options_;
    UnixListener listener_;
    base::Fd stop_;
    Service service_;
    std::unique_ptr<grpc::Server> server_;
    std::atomic<uint64_t> refused_peers_ = 0;
    std::thread thread_;
};

}  // namespace

base::Result<std::unique_ptr<FlowService>> FlowService::start(FlowServiceOptions options, FlowHub& hub, FlowHistory history) {
    UnixListener listener = TRY(UnixListener::take(options.path, SOCK_STREAM));
    base::Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop) return base::os_error("eventfd");
    // Other users may connect where the settings name some; the credentials decide.
    const bool shared = !options.readers.empty();
    if (shared && ::chmod(options.path.c_str(), 0666) != 0) return base::os_error("chmod", options.path);
    auto running = std::make_unique<Running>(std::move(options), hub, std::move(history), std::move(listener), std::move(stop));
    TRY(running->run());
    return std::unique_ptr<FlowService>(std::move(running));
}

}  // namespace warren::node
