// SPDX-License-Identifier: Apache-2.0
// Sockets of the actors of a Lab, and a stand-in for the tunnel: it listens where a tunnel listens and accepts when the test says so.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "tests/bpf/lab.h"

#include <optional>
#include <string>

#include <sys/socket.h>

namespace warren::tests::bpf {

constexpr int kWaitMs = 5000;

struct Dial {
    int family = AF_INET;  // AF_INET6 with an IPv4 destination: mapped
    int protocol = 0;
    std::function<void(int)> prepare;  // before connect
};

struct Dialled {
    base::Fd fd;
    int error = 0;  // of connect or, if it is in progress, of its outcome; ETIMEDOUT when there is none in kWaitMs
};

int family_of(const base::SockAddr& address);
base::Fd make_socket(Lab& lab, Actor& actor, const base::Netns& netns, int family, int type = SOCK_STREAM, int protocol = 0);
// 0, EINPROGRESS or what it failed with; the actor's thread connects.
int start_connect(Lab& lab, Actor& actor, const base::Netns& netns, int fd, int family, const base::SockAddr& to);
int outcome(int fd, int wait_ms = kWaitMs);
Dialled dial(Lab& lab, Actor& actor, const base::Netns& netns, const base::SockAddr& to, const Dial& how = {});

base::Fd listen_at(Lab& lab, Actor& actor, const base::Netns& netns, const base::SockAddr& at, int family, int backlog = 128);
struct Arrived {
    base::Fd fd;
    base::SockAddr peer;  // as accept() says
};
std::optional<Arrived> accept_from(int listener, int wait_ms = kWaitMs);

base::SockAddr local_name(int fd);
base::SockAddr peer_name(int fd);
// SO_ORIGINAL_DST as the tunnel asks: IPv4 option, then IPv6. None: both failed.
std::optional<base::SockAddr> original_destination(int fd);
void send_all(int fd, const std::string& text);
// Reads until n bytes, the end or the deadline.
std::string receive(int fd, size_t n);
bool wait_until(const std::function<bool()>& condition, int wait_ms = kWaitMs);

// Dual-stack listeners in one pod.
struct Tunnel {
    Tunnel(Lab& lab, const Pod& pod);
    base::Fd outbound, plaintext, hbone;
};

}  // namespace warren::tests::bpf
