// SPDX-License-Identifier: Apache-2.0
// Server: delta discovery for many clients from one set of resources (Kubernetes contract 5): the controller's towards nodes, over TLS, and
// the node agent's towards its tunnel, over a Unix socket or loopback. It carries resources and does not read them.
//
// An owner edits its ResourceSets and publishes copies of them. Publications within the debounce become one push; each client is owed the
// difference between what it was sent last and what is current when it has answered, so a slow one costs a pointer and holds up nobody. No
// stream is accepted (Unavailable) before every type has been published: an empty answer would take from a client all it has.
//
// Memory: the resources once, encodings once for all clients that are owed the same and only while they are being sent (bounded), a few
// kilobytes a client and the names an on-demand client asked for. Threads: gRPC's own (as many as the machine suits, not as the clients),
// and one that pushes. create, stop and the destructor belong to one owner; the rest to any thread. gRPC makes threads: create after the
// last fork(), and not while other threads make files (the process's umask is narrowed while a Unix socket is bound).
#pragma once

#include "agent/xds/admission.h"
#include "agent/xds/client_session.h"
#include "agent/xds/resource_set.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grpc {
class Service;
}

namespace warren::xds {

// PEM texts. Clients' certificates are asked for and verified when client_roots is not empty at create; a client may do without one, the
// Authenticator decides.
struct ServerTls {
    std::string chain;
    std::string key;
    std::string client_roots = {};
};

struct Listener {
    std::string address;  // "HOST:PORT", "[::]:PORT", port 0: any; "unix:/PATH": without TLS, for the owner of the process only (0600)
    bool tls = true;      // not of Unix sockets. Without: tests, and the reference's 15010, where nobody is authenticated
};

// Who opens a stream. unix_socket: the file's mode let it in; gRPC shows no peer credentials.
struct Caller {
    std::string peer;  // "ipv4:10.0.0.1:1234"
    bool unix_socket = false;
    bool tls = false;
    std::vector<std::pair<std::string, std::string>> metadata;  // names in lower case
    std::string certificate;                                    // verified, PEM; empty when the client has shown none
    std::vector<std::string> names;                             // its subject alternative names
};

// Called on gRPC's threads, several at once. Outlives the server.
class Authenticator {
  public:
    virtual ~Authenticator() = default;
    using Done = std::function<void(base::Result<std::string> identity)>;
    // done is called once, at once or later, on any thread; one that never comes is given up with the first-request deadline. Denied ends
    // the stream as Unauthenticated; the detail goes to the client, so it says what to fix and nothing secret.
    virtual void authenticate(const Caller& caller, Done done) = 0;
    // The first request says which node this is. Denied: PermissionDenied. Must not block.
    virtual base::Result<void> authorize(const std::string& identity, const NodeInfo& node) {
        static_cast<void>(identity);
        static_cast<void>(node);
        return {};
    }
    // Of a stream that is open, every ServerOptions::recheck_interval: may it go on? certificate: that of its Caller. Denied ends it as
    // Unauthenticated. Must not block.
    virtual base::Result<void> recheck(const std::string& identity, const std::string& certificate) {
        static_cast<void>(identity);
        static_cast<void>(certificate);
        return {};
    }
};

struct ServerOptions {
    std::vector<Listener> listeners;
    ServerTls tls = {};                         // needed by listeners with TLS
    Authenticator* authenticator = nullptr;     // null: whoever reaches a listener is let in
    std::vector<grpc::Service*> services = {};  // others on the same ports (certificates); outlive the server
    std::vector<std::string> types = {"type.googleapis.com/istio.workload.Address", "type.googleapis.com/istio.security.Authorization"};
    SessionOptions session = {};

    std::chrono::milliseconds debounce_quiet = std::chrono::milliseconds(50);  // no change for so long, or
    std::chrono::milliseconds debounce_max = std::chrono::milliseconds(500);   // since the first change
    std::chrono::milliseconds first_request_timeout = std::chrono::seconds(30);
    std::chrono::milliseconds answer_timeout = std::chrono::minutes(5);  // a response without its ACK or NACK: the stream ends
    std::chrono::milliseconds max_stream_age = {};                       // ended in good order after that, give or take a tenth; 0: never
    std::chrono::milliseconds recheck_interval = std::chrono::seconds(30);  // between questions whether a stream may go on; 0: never
    std::chrono::milliseconds ping_interval = std::chrono::seconds(30);
    std::chrono::milliseconds ping_timeout = std::chrono::seconds(10);

    size_t max_streams = 5'000;
    size_t max_streams_per_peer = 32;           // of one address; not of Unix sockets
    uint32_t max_new_streams_per_second = 200;  // of all, and as many at once
    // Of one peer: the identity of its verified certificate, else its address. Not of Unix sockets. A node opens one and comes back with
    // back-off; several behind one address have their identities, or share this.
    double max_new_streams_per_peer_second = 10;
    double max_new_streams_per_peer_at_once = 64;
    // A client that lists 100,000 resources needs 8 MB. Read only of callers that are authenticated; others get no further than the first
    // window of a stream, 64 KiB.
    int max_request_bytes = 32 << 20;
    // What gRPC takes in for all connections together; beyond that it ends streams until there is room. A connection takes about 30 KB.
    size_t max_receive_memory = size_t{512} << 20;
    size_t max_encoded_bytes = size_t{256} << 20;  // responses on their way, all clients together; others wait

    const base::Clock* clock = nullptr;  // outlives the server. Null: the machine's
};

struct ClientStatus {
    uint64_t id = 0;
    std::string node_id, role, peer, identity;
    base::WallTime connected_since{};
    std::vector<TypeStatus> types;
};

struct ServerStats {
    size_t clients = 0;  // streams now
    uint64_t streams = 0, refused = 0, denied = 0, timed_out = 0;
    uint64_t not_ready = 0;  // of those refused: there was no state yet; the others met a limit:
    Admission::Stats limits;
    uint64_t publications = 0, flushes = 0;  // changes that were coalesced: the difference
    uint64_t responses = 0, bytes = 0, acks = 0, nacks = 0;
    uint64_t encoded = 0, shared = 0;  // pushes that were encoded, and those that another client's encoding served
    size_t encoded_bytes = 0;          // on their way now
    // From the end of the debounce to the ACK.
    std::chrono::nanoseconds last_convergence{}, max_convergence{};
};

// By type URL; a type that is left out stays as it is.
using Snapshot = std::map<std::string, ResourceSet, std::less<>>;

class Server {
  public:
    // Listens. Errors name the listener or the setting at fault.
    static base::Result<std::unique_ptr<Server>> create(ServerOptions options);
    ~Server();

    // An error names a type that is not served; nothing is published then.
    base::Result<void> publish(const Snapshot& snapshot);
    // For handshakes from now on; no stream ends. An error leaves the present one.
    base::Result<void> set_tls(const ServerTls& tls);
    // Ends all streams and the listeners. For good.
    void stop();

    [[nodiscard]] std::vector<int> ports() const;  // by listener; of a Unix socket 1
    [[nodiscard]] ServerStats stats() const;
    [[nodiscard]] std::vector<ClientStatus> clients() const;

  private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::xds
