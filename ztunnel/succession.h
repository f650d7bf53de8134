// SPDX-License-Identifier: Apache-2.0
// Succession: two tunnels listen on the same port of a pod for a while (SO_REUSEPORT, one user), and the older leaves without a connect
// that fails. Closing a listener resets what it has not accepted and forgets its half-open requests, so the older one
//   1. steers new SYNs to the successor: a classic BPF program of the port's reuseport group (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5), which
//      answers an index into the group. Members stand in the order in which they began to listen, so ours are the first `ours` ones;
//   2. waits until the handshakes that had begun are over (SYN-RECV), accepting all the while;
//   3. closes its listeners one after the other. A member that leaves is replaced by the last one (__reuseport_detach_sock), so before
//      each close the program is narrowed to the indices that hold the successor's sockets before as well as after.
// With at least as many workers in the successor no SYN can reach a listener that is about to close; with fewer there is a window of
// microseconds at each close. Nothing is needed of the successor, which may be any program, nor any sysctl (tcp_migrate_req).
//
// The kernel is asked by NETLINK_SOCK_DIAG and not by /proc/net/tcp*, which writes out every row of the namespace, tens of thousands in
// TIME-WAIT after a busy minute. Listeners cost nothing; for handshakes the kernel walks the machine's table of connections, of all
// namespaces, once for each family: 5 ms of a processor with 60,000 rows in it. So that is asked once for a pod and not once for a port.
//
// Datagrams follow the same program, and are simpler: there is no handshake to wait for, only what has been queued to read and to answer,
// which the DNS proxy does before it closes.
//
// A Handover belongs to one thread, which must be in the pod's namespace for the calls that say so.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace warren::ztunnel {

// What sockets of one reuseport group have in common.
struct ListenPlace {
    enum class Kind : uint8_t { Tcp, Udp };
    Kind kind = Kind::Tcp;
    base::SockAddr at;  // an address of zeros: bound to none, of whichever family
    [[nodiscard]] static ListenPlace of(int fd);
    auto operator<=>(const ListenPlace&) const = default;
};

// How many sockets of the calling thread's namespace stand at each place.
[[nodiscard]] base::Result<std::map<ListenPlace, size_t>> listeners();
// Peers whose handshake with the namespace is under way, at whatever port: where an sk_lookup program leads plaintext to the tunnel, its
// handshakes stand under the port that was asked for, and no row tells the listener.
[[nodiscard]] base::Result<std::set<base::SockAddr>> half_open();

class Handover {
  public:
    // ours: duplicates of all our listeners there; while this lives, none of them closes.
    Handover(const ListenPlace& place, std::vector<base::Fd> ours) : place_(place), ours_(std::move(ours)), first_(ours_.size()) {}

    // all: sockets at the place, ours among them. False: nobody else listens, nothing was done.
    [[nodiscard]] base::Result<bool> steer(size_t all);
    // Closes ours, once the workers have closed theirs.
    void finish();

  private:
    [[nodiscard]] base::Result<void> attach(size_t base, size_t count) const;

    ListenPlace place_;
    std::vector<base::Fd> ours_;
    size_t first_;  // the successor's first index
    size_t others_ = 0;
};

}  // namespace warren::ztunnel
