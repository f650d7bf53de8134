// SPDX-License-Identifier: Apache-2.0
// One client's stream on gRPC's callback interface: authenticates, hands requests to its ClientSession and writes what that owes. Holds
// itself until gRPC is done with it. Its lock is taken before the hub's, never after. Shows gRPC; included by server*.cpp only.
#pragma once

#include "agent/xds/admission.h"
#include "agent/xds/client_session.h"
#include "agent/xds/server.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace warren::xds {

class ServerStream;

struct Counters {
    std::atomic<uint64_t> streams{0}, refused{0}, not_ready{0}, denied{0}, timed_out{0}, responses{0}, bytes{0}, acks{0}, nacks{0};
    std::atomic<int64_t> last_convergence_ns{0}, max_convergence_ns{0};
};

// What all streams of a server share.
struct Hub {
    explicit Hub(const ServerOptions& o)
        : options(o),
          clock(*o.clock),
          cache(o.max_encoded_bytes),
          admission({.streams = o.max_streams,
                     .per_peer = o.max_streams_per_peer,
                     .per_second = o.max_new_streams_per_second,
                     .peer_per_second = o.max_new_streams_per_peer_second,
                     .peer_at_once = o.max_new_streams_per_peer_at_once},
                    clock) {}

    [[nodiscard]] std::shared_ptr<const Published> current() const;  // null before all types were published
    [[nodiscard]] std::vector<std::shared_ptr<ServerStream>> all() const;

    const ServerOptions& options;
    const base::Clock& clock;
    EncodingCache cache;
    Admission admission;
    Counters counters;

    mutable std::mutex mutex;  // all below
    std::shared_ptr<const Published> published;
    std::map<uint64_t, std::shared_ptr<ServerStream>> streams;
    uint64_t next_id = 1;
};

class ServerStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public std::enable_shared_from_this<ServerStream> {
  public:
    // The reactor for gRPC; refused streams end at once. The hub outlives it.
    static ServerStream* open(const std::shared_ptr<Hub>& hub, grpc::CallbackServerContext* context);
    ServerStream(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context);

    void push();   // something was published
    void sweep();  // deadlines. True of deferred(): it is to be pushed again soon
    [[nodiscard]] bool deferred() const;
    [[nodiscard]] ClientStatus status() const;

    void OnReadDone(bool ok) override;
    void OnWriteDone(bool ok) override;
    void OnCancel() override;
    void OnDone() override;

  private:
    void admit();
    void authenticated(base::Result<std::string> identity);
    // Under the lock.
    base::Result<void> handle_request();
    void count_answer();
    bool still_welcome(base::MonoTime now);
    void pump();
    void finish(grpc::Status status);
    void finish(const base::Error& error, grpc::StatusCode denied);

    const std::shared_ptr<Hub> hub_;
    grpc::CallbackServerContext* const context_;  // until OnDone
    const uint64_t id_;
    const base::MonoTime opened_;
    const base::WallTime connected_;
    std::string peer_, peer_key_;
    bool admitted_ = false;

    mutable std::mutex mutex_;  // all below
    ClientSession session_;
    std::string identity_, certificate_;
    base::MonoTime checked_;
    grpc::ByteBuffer in_, out_;
    std::optional<grpc::Status> last_;  // to finish with once the write under way is done
    base::MonoTime write_began_{};      // of the write under way
    bool authenticated_ = false, authorized_ = false, writing_ = false, finished_ = false;
};

}  // namespace warren::xds
