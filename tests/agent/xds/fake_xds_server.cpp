// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/xds/fake_xds_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

// Debian's c-ares 1.18 loses the ten bytes of "localhost" each time gRPC looks it up.
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares.so"; }  // NOLINT(bugprone-reserved-identifier)

namespace warren::tests {

namespace {

using namespace std::chrono_literals;

sockaddr_in loopback(int port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(static_cast<uint16_t>(port));
    return at;
}

}  // namespace

ServerStream::ServerStream(const grpc::CallbackServerContext& context) {
    for (const auto& [name, value] : context.client_metadata()) metadata[{name.data(), name.size()}] = {value.data(), value.size()};
}

std::shared_ptr<ServerStream> ServerStream::make(const grpc::CallbackServerContext& context) {
    auto stream = std::make_shared<ServerStream>(context);
    stream->self_ = stream;
    return stream;
}

void ServerStream::go_on() {
    if (finished_ || writing_) return;
    if (!responses_.empty()) {
        writing_ = true;
        StartWrite(&responses_.front());
    } else if (status_) {
        finished_ = true;
        Finish(*status_);
    }
}

void ServerStream::leave() {
    gone_ = true;
    changed_.notify_all();
    if (finished_) return;
    finished_ = true;
    Finish(grpc::Status::CANCELLED);
}

void ServerStream::OnReadDone(bool ok) {
    const std::lock_guard lock(mutex_);
    if (!ok) return leave();
    requests_.push_back(std::move(incoming_));
    changed_.notify_all();
    StartRead(&incoming_);
}

void ServerStream::OnWriteDone(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    responses_.pop_front();
    if (ok) go_on();
}

void ServerStream::OnCancel() {
    const std::lock_guard lock(mutex_);
    leave();
}

void ServerStream::OnDone() {
    const auto last = std::move(self_);
    const std::lock_guard lock(mutex_);
    gone_ = true;
    changed_.notify_all();
}

DeltaDiscoveryRequest ServerStream::take() {
    auto request = next();
    REQUIRE(request);
    return *std::move(request);
}

std::optional<DeltaDiscoveryRequest> ServerStream::next() {
    REQUIRE(wait([&] { return !requests_.empty() || gone_; }));
    const std::lock_guard lock(mutex_);
    if (requests_.empty()) return std::nullopt;
    auto request = std::move(requests_.front());
    requests_.pop_front();
    return request;
}

bool ServerStream::quiet_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [&] { return !requests_.empty(); });
}

void ServerStream::send(DeltaDiscoveryResponse response) {
    const std::lock_guard lock(mutex_);
    responses_.push_back(std::move(response));
    go_on();
}

void ServerStream::end(grpc::Status status) {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
    go_on();
}

bool ServerStream::wait_gone() {
    return wait([&] { return gone_; });
}

FakeXdsServer::FakeXdsServer(Options options) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options.address, options.credentials, &port_);
    builder.RegisterService(this);
    builder.SetMaxSendMessageSize(-1);
    if (options.max_request_bytes > 0) builder.SetMaxReceiveMessageSize(options.max_request_bytes);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    server_ = builder.BuildAndStart();
    REQUIRE(server_);
}

FakeXdsServer::~FakeXdsServer() {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
}

std::shared_ptr<ServerStream> FakeXdsServer::stream() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, kPatience, [&] { return !arrived_.empty(); }));
    auto stream = std::move(arrived_.front());
    arrived_.pop_front();
    return stream;
}

void FakeXdsServer::refuse(std::vector<grpc::Status> statuses) {
    const std::lock_guard lock(mutex_);
    refusals_.assign(statuses.begin(), statuses.end());
}

grpc::ServerBidiReactor<DeltaDiscoveryRequest, DeltaDiscoveryResponse>* FakeXdsServer::DeltaAggregatedResources(
    grpc::CallbackServerContext* context) {
    ++calls_;
    auto stream = ServerStream::make(*context);
    const std::lock_guard lock(mutex_);
    if (refusals_.empty()) {
        stream->begin();
        arrived_.push_back(stream);
        changed_.notify_all();
    } else {
        stream->end(refusals_.front());
        refusals_.pop_front();
    }
    return stream.get();
}

std::vector<xds::Rejection> RecordingHandler::apply(const xds::Update& update) {
    const std::lock_guard lock(mutex_);
    std::vector<xds::Rejection> rejections;
    Seen one{std::string(update.type_url), {}, {}, {}};
    for (const xds::Resource& resource : update.resources) {
        const std::string body(reinterpret_cast<const char*>(resource.body.data()), resource.body.size());
        one.resources.emplace_back(resource.name, body);
        const std::string reason = reject ? reject(resource) : "";
        if (reason.empty())
            state[std::string(resource.name)] = body;
        else
            rejections.push_back({std::string(resource.name), reason});
    }
    for (const auto name : update.removed) {
        one.removed.emplace_back(name);
        state.erase(std::string(name));
    }
    for (const auto& refused : update.refused) one.refused.push_back(refused.name + ": " + refused.reason);
    seen.push_back(std::move(one));
    changed_.notify_all();
    return rejections;
}

void RecordingHandler::synced(std::string_view type_url) {
    const std::lock_guard lock(mutex_);
    synced_types.emplace_back(type_url);
    changed_.notify_all();
}

void RecordingHandler::connected() {
    const std::lock_guard lock(mutex_);
    ++connections;
    changed_.notify_all();
}

void RecordingHandler::disconnected(xds::Termination reason, std::string_view detail) {
    const std::lock_guard lock(mutex_);
    ends.emplace_back(reason, detail);
    changed_.notify_all();
}

std::pair<xds::Termination, std::string> RecordingHandler::end_at(size_t index) {
    const std::lock_guard lock(mutex_);
    return ends.at(index);
}

bool RecordingHandler::wait_for(const std::function<bool()>& pred) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, pred);
}

bool RecordingHandler::quiet_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this, before = ends.size()] { return ends.size() > before; });
}

Relay::Relay(int to_port) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), to_port_(to_port) {
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
}

Relay::~Relay() {
    stop_ = true;
    thread_.join();
}

bool Relay::wait_called() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return accepted_ > 0; });
}

void Relay::run() {
    std::vector<std::pair<base::Fd, base::Fd>> pairs;
    while (!stop_) {
        std::vector<pollfd> fds{{listener_.get(), POLLIN, 0}};
        const bool frozen = frozen_;
        for (const auto& [a, b] : pairs)
            for (const int fd : {a.get(), b.get()}) fds.push_back({fd, static_cast<short>(frozen ? 0 : POLLIN), 0});
        ::poll(fds.data(), frozen ? 1 : fds.size(), 20);
        for (size_t i = 1; !frozen && i < fds.size(); ++i) {
            if (fds[i].revents == 0) continue;
            auto& [a, b] = pairs[(i - 1) / 2];
            const int to = fds[i].fd == a.get() ? b.get() : a.get();
            char buffer[16384];
            const ssize_t n = ::recv(fds[i].fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (n > 0) ::send(to, buffer, static_cast<size_t>(n), MSG_NOSIGNAL);
            if (n > 0 && to == b.get()) sent_ += static_cast<size_t>(n);
            if (n == 0) {
                ::shutdown(to, SHUT_WR);
                ::shutdown(fds[i].fd, SHUT_RD);
            }
        }
        // A side that closed reports for ever; the pair goes with the first hang-up.
        std::erase_if(pairs, [&](const auto& pair) {
            return std::any_of(fds.begin(), fds.end(),
                               [&](const pollfd& p) { return p.fd == pair.first.get() && (p.revents & (POLLHUP | POLLERR)) != 0; });
        });
        if ((fds[0].revents & POLLIN) == 0) continue;
        base::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        base::Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const sockaddr_in at = loopback(to_port_);
        if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0)
            pairs.emplace_back(std::move(client), std::move(server));
        const std::lock_guard lock(mutex_);
        ++accepted_;
        changed_.notify_all();
    }
}

XdsWorld::XdsWorld(const std::string& name, int max_request_bytes) {
    const Leaf leaf = ca.leaf(LeafSpec{.uris = {}, .dns = {name}, .eku = "serverAuth"});
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs.push_back({leaf.key_pem, leaf.cert_pem});
    server = std::make_unique<FakeXdsServer>(
        FakeXdsServer::Options{.credentials = grpc::SslServerCredentials(tls), .max_request_bytes = max_request_bytes});
    token = dir.write("token", "first-token\n");
    root = dir.write("root.pem", ca.pem());
}

xds::ClientOptions XdsWorld::options() {
    xds::ClientOptions made;
    made.address = "https://localhost:" + std::to_string(server->port());
    made.roots = xds::RootSource::file(root);
    made.token = xds::TokenSource::file(token);
    made.cluster_id = "Kubernetes";
    made.node.pod_name = "ztunnel-x";
    made.node.pod_namespace = "istio-system";
    made.wait = [this](std::chrono::nanoseconds pause) {
        const std::lock_guard lock(pauses_mutex);
        pauses.push_back(pause);
        return true;
    };
    return made;
}

xds::Client& XdsWorld::start(xds::ClientOptions options) {
    auto made = xds::Client::create(std::move(options), handler);
    REQUIRE(made);
    client = std::move(*made);
    client->start();
    return *client;
}

DeltaDiscoveryResponse response(const std::string& type, const std::string& nonce, const std::vector<Item>& items,
                                const std::vector<std::string>& removed) {
    DeltaDiscoveryResponse made;
    made.set_type_url(type);
    made.set_nonce(nonce);
    for (const Item& item : items) {
        auto& resource = *made.add_resources();
        resource.set_name(item.name);
        resource.set_version(item.version);
        resource.mutable_resource()->set_type_url("type.example/not.looked.at");
        resource.mutable_resource()->set_value(item.body);
    }
    for (const std::string& name : removed) made.add_removed_resources(name);
    return made;
}

std::map<std::string, std::string> versions(const DeltaDiscoveryRequest& request) {
    return {request.initial_resource_versions().begin(), request.initial_resource_versions().end()};
}

std::vector<std::string> subscribed(const DeltaDiscoveryRequest& request) {
    return {request.resource_names_subscribe().begin(), request.resource_names_subscribe().end()};
}

std::vector<std::string> unsubscribed(const DeltaDiscoveryRequest& request) {
    return {request.resource_names_unsubscribe().begin(), request.resource_names_unsubscribe().end()};
}

void answer_first(ServerStream& stream) {
    for (const std::string& type : {kAddress, kAuthorization}) CHECK(stream.take().type_url() == type);
    stream.send(response(kAddress, "a", {}));
    CHECK(stream.take().response_nonce() == "a");
    stream.send(response(kAuthorization, "b", {}));
    CHECK(stream.take().response_nonce() == "b");
}

}  // namespace warren::tests
