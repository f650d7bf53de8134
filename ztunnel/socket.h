// SPDX-License-Identifier: Apache-2.0
// Sockets of the data plane, with the options of data-plane contract 8.4 and 11.3: non-blocking, close-on-exec, marked, TCP_NODELAY,
// keepalive. Those of a pod are made inside its network namespace; switching costs two system calls, so a Stock makes several at once.
// Any thread; a Stock belongs to one.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace warren::ztunnel {

struct KeepAlive {
    bool enabled = true;
    std::chrono::seconds time{180};
    std::chrono::seconds interval{180};
    int retries = 9;
    bool user_timeout = false;  // TCP_USER_TIMEOUT = time + retries * interval
};

struct SocketOptions {
    uint32_t mark = 0;  // SO_MARK; 0: none
    KeepAlive keepalive;
    bool reuse_port = true;
    bool ipv6 = true;
    // Loopback hops carry no bytes far: a pacing default of the node (BBR) costs them half their speed (ARCHITECTURE.md, "Byte path").
    const char* local_congestion = "cubic";
};

struct ListenAt {
    base::SockAddr address;
    enum class Transparent : uint8_t { No, Try, Require } transparent = Transparent::No;
    int backlog = 128;
    // What accepted sockets inherit from the listener, which saves setting it on each.
    bool keepalive = false;
    bool local = false;  // connections of the pod's own applications: SocketOptions::local_congestion
};

// A listening TCP socket in the namespace the calling thread is in. A wildcard IPv6 address listens for IPv4 too.
[[nodiscard]] base::Result<base::Fd> listen_tcp(const ListenAt& at, const SocketOptions& options);

// An unconnected TCP socket in the namespace the calling thread is in.
[[nodiscard]] base::Result<base::Fd> make_tcp(int family, const SocketOptions& options);

// Begins to connect; success is reported by EPOLLOUT and connect_result().
[[nodiscard]] base::Result<void> begin_connect(int fd, const base::SockAddr& to);  // a socket of the address's own family
// 0 or the errno of the connect that has ended.
[[nodiscard]] int connect_result(int fd);

// Makes the socket speak with a foreign source address (transparent and freebind, contract 8.4). Behind packet rules the answers come
// back by them; under Warren's agent a bind hook replaces the address by the pod's own and remembers this one for getpeername.
[[nodiscard]] base::Result<void> bind_source(int fd, const base::SockAddr& source);

// One accepted connection; none: nothing waits.
struct Accepted {
    base::Fd fd;
    base::SockAddr peer;
};
[[nodiscard]] base::Result<std::optional<Accepted>> accept_one(int listener);
void set_local_congestion(int fd, const SocketOptions& options);

// SO_ORIGINAL_DST (IPv4 option, then IPv6 option), else the socket's own address (contract 5.2).
[[nodiscard]] base::SockAddr original_destination(int fd);
[[nodiscard]] base::SockAddr local_address(int fd);
// The endpoint that Warren's kernel programs drew for a service address (bpf/abi.h: WARREN_SO_DRAWN_ENDPOINT, struct wr_drawn); none behind
// packet rules, and where nothing was drawn.
[[nodiscard]] std::optional<base::SockAddr> drawn_endpoint(int fd);
// The next close sends RST instead of FIN: an aborted stream must not look like a clean end.
void reset_on_close(int fd);
// Bytes written that the other end's kernel has not acknowledged; 0 when the connection is gone.
[[nodiscard]] size_t unacknowledged(int fd);
// Bytes that came and were not read; of a connection that was reset too.
[[nodiscard]] size_t unread(int fd);

// Sockets of one namespace, a few made ahead with one switch.
class SocketStock {
  public:
    SocketStock(const base::Netns* where, const base::Netns& home, SocketOptions options)
        : where_(where), home_(&home), options_(options) {}
    [[nodiscard]] base::Result<base::Fd> take(int family);

  private:
    static constexpr size_t kAhead = 8;
    const base::Netns* where_;  // null: the process's own
    const base::Netns* home_;
    SocketOptions options_;
    std::vector<base::Fd> v4_, v6_;
};

}  // namespace warren::ztunnel
