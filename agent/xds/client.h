// SPDX-License-Identifier: Apache-2.0
// Client: delta discovery of a few types over one stream that is reopened for as long as the client runs (data-plane contract 3; for the
// server's half, Kubernetes contract 5). It carries resources and does not read them: a Handler applies them, on the client's own thread.
//
// A response is handed over as one Update. What could not be read, or what the handler rejects, is NACKed by name and reason; the rest of
// the response counts. Nothing is forgotten while the control plane is away; versions are kept across streams, and removals that happened
// meanwhile arrive with the first response. One message is held in memory at a time (twice, while it is put together).
//
// Back-off: 3.5, with 20 % of jitter, and with these differences, all towards patience: a stream that ended without any response is never
// retried at once, whatever its status (an unready istiod answers Unknown); nor is an attempt that failed here, as over a bad root file;
// and an Error after 15 s of stream begins a new series. To a socket of this machine the longest wait is 1 s. Beside the pings, a stream on
// which a type stays unanswered is given up.
//
// Threads: create, start, stop and the destructor belong to one owner (never the handler); subscribe, unsubscribe and stats to any thread.
// gRPC makes threads of its own: start after the last fork().
#pragma once

#include "agent/xds/auth_source.h"
#include "agent/xds/node.h"
#include "agent/xds/node_proof.h"
#include "agent/xds/update.h"
#include "base/clock.h"
#include "base/result.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

// Why a stream ended: the reasons of istio_xds_connection_terminations_total.
enum class Termination : uint8_t { ConnectionError, Error, Reconnect, Complete };
[[nodiscard]] std::string_view to_string(Termination reason) noexcept;

// Called on the client's thread, one call at a time. A call that takes long holds up the next response, and stop().
class Handler {
  public:
    virtual ~Handler() = default;
    // Applies what it can, as one change; names what it does not accept. Waiters for a name may go on after that.
    virtual std::vector<Rejection> apply(const Update& update) = 0;
    // The first full state of a wildcard type was applied, rejections aside. Once per type, and for good: readiness (3.8), except that a
    // bad resource does not hold it up.
    virtual void synced(std::string_view type_url) { static_cast<void>(type_url); }
    virtual void connected() {}  // a stream's first response
    virtual void disconnected(Termination reason, std::string_view detail) {
        static_cast<void>(reason);
        static_cast<void>(detail);
    }
};

struct TypeOptions {
    std::string type_url;
    bool on_demand = false;  // else wildcard
};

struct ClientOptions {
    std::string address;                // XDS_ADDRESS: https://HOST:PORT, or unix:/PATH (no TLS, no token) for the node agent
    std::string alternative_host = {};  // ALT_XDS_HOSTNAME
    RootSource roots = {};              // read at each connection
    TokenSource token = {};             // read for each stream
    NodeProofSource proof = {};         // asked at each connection, not of a socket; empty: no client certificate
    std::string cluster_id = {};        // the header beside a token
    Headers headers = {};               // XDS_HEADER_*, names in lower case
    NodeSettings node = {};
    std::vector<TypeOptions> types = {{std::string(kAddressType)}, {std::string(kAuthorizationType)}};  // in the order of the requests

    std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);  // one TCP connection and its handshake
    std::chrono::milliseconds open_timeout = std::chrono::seconds(20);    // all of it, name resolution and several addresses included
    std::chrono::milliseconds ping_interval = std::chrono::seconds(30);
    std::chrono::milliseconds ping_timeout = std::chrono::seconds(10);
    // istiod answers every first request, an empty state too; one that pushes to thousands of nodes may need minutes.
    std::chrono::milliseconds answer_timeout = std::chrono::minutes(5);
    int max_message_bytes = 200 * 1024 * 1024;
    size_t max_pending_names = 65'536;  // asked for by subscribe and unsubscribe and not sent yet

    // Waits out the back-off; false when it was cut short by stop(). Empty: the client's own. Tests pass one that returns at once.
    std::function<bool(std::chrono::nanoseconds)> wait = {};
    const base::Clock* clock = nullptr;  // for the age of a stream; outlives the client. Null: the machine's
};

struct TypeStats {
    std::string type_url;  // empty: all types that were not asked for
    bool synced = false;
    uint64_t messages = 0;
    uint64_t bytes = 0;  // of bodies: istio_xds_message_bytes_total
    uint64_t resources = 0;
    uint64_t rejected = 0;
    uint64_t removed = 0;
    uint64_t held = 0;  // names known now
};

struct Stats {
    bool connected = false;
    uint64_t attempts = 0;
    std::array<uint64_t, 4> terminations = {};  // by Termination
    uint64_t acks = 0;
    uint64_t nacks = 0;
    uint64_t dropped_names = 0;    // subscribe or unsubscribe refused because too many were pending
    std::vector<TypeStats> types;  // those asked for, in order, then the rest
};

class Client {
  public:
    // Errors name the setting at fault. The handler outlives the client.
    static base::Result<std::unique_ptr<Client>> create(ClientOptions options, Handler& handler);
    ~Client();

    void start();
    // Ends the stream, hung or not, and the thread, within a second of the handler's return. For good.
    void stop();

    // Asks an on-demand type for names: workload uid, "network/ip", "namespace/hostname". Gathered into one request, sent again on the next
    // stream until answered (delivered or removed). Exhausted when too many are pending: none was taken then.
    base::Result<void> subscribe(std::string_view type_url, std::span<const std::string> names);
    // No word of them from the server any more; what the handler holds of them is its caller's to drop. Errors as above.
    base::Result<void> unsubscribe(std::string_view type_url, std::span<const std::string> names);

    [[nodiscard]] bool synced() const;  // every wildcard type
    [[nodiscard]] Stats stats() const;

  private:
    struct Impl;
    explicit Client(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::xds
