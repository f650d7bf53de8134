// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/succession.h"

#include "base/netlink.h"
#include "ztunnel/socket.h"

#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

namespace warren::ztunnel {

namespace {

using Visit = std::function<void(const inet_diag_msg&)>;

// Rows of one family in one of the states (a bit each, of net/tcp_states.h).
base::Result<void> dump(int netlink, uint8_t family, uint8_t protocol, uint32_t states, const Visit& visit) {
    struct {
        nlmsghdr header;
        inet_diag_req_v2 body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.sdiag_family = family;
    request.body.sdiag_protocol = protocol;
    request.body.idiag_states = states;
    return base::netlink_dump(netlink, std::as_bytes(std::span(&request, 1)), "sockets", [&](const nlmsghdr& message) {
        if (message.nlmsg_type == SOCK_DIAG_BY_FAMILY) visit(*static_cast<const inet_diag_msg*>(NLMSG_DATA(&message)));
        return true;
    });
}

base::Result<void> each_row(uint8_t protocol, uint32_t states, const Visit& visit) {
    const base::Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink) return base::os_error("socket", "netlink");
    TRY(dump(netlink.get(), AF_INET, protocol, states, visit));
    return dump(netlink.get(), AF_INET6, protocol, states, visit);
}

constexpr uint32_t in_state(int state) { return uint32_t{1} << state; }

base::IpAddr address_of(const inet_diag_msg& row, const __be32 (&words)[4]) {
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), words, bytes.size());
    return base::IpAddr::from_bytes(std::span(bytes).first(row.idiag_family == AF_INET ? 4 : 16)).value_or(base::IpAddr{});
}

base::SockAddr place_address(base::SockAddr at) {
    if (at.ip.is_unspecified()) at.ip = {};
    return at;
}

}  // namespace

ListenPlace ListenPlace::of(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    const bool udp = ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
    return {udp ? Kind::Udp : Kind::Tcp, place_address(local_address(fd))};
}

base::Result<std::map<ListenPlace, size_t>> listeners() {
    std::map<ListenPlace, size_t> out;
    const auto count = [&](ListenPlace::Kind kind) {
        return [&out, kind](const inet_diag_msg& row) {
            ++out[{kind, place_address({address_of(row, row.id.idiag_src), ntohs(row.id.idiag_sport)})}];
        };
    };
    TRY(each_row(IPPROTO_TCP, in_state(TCP_LISTEN), count(ListenPlace::Kind::Tcp)));
    TRY(each_row(IPPROTO_UDP, in_state(TCP_CLOSE), count(ListenPlace::Kind::Udp)));  // those that take datagrams from anywhere
    return out;
}

base::Result<std::set<base::SockAddr>> half_open() {
    std::set<base::SockAddr> out;
    TRY(each_row(IPPROTO_TCP, in_state(TCP_SYN_RECV),
                 [&](const inet_diag_msg& row) { out.insert({address_of(row, row.id.idiag_dst), ntohs(row.id.idiag_dport)}); }));
    return out;
}

// A random one of the indices base .. base + count - 1. An index beyond the group's end leaves the choice to the kernel's hash.
base::Result<void> Handover::attach(size_t base, size_t count) const {
    const auto first = static_cast<uint32_t>(base), width = static_cast<uint32_t>(std::max<size_t>(count, 1));
    std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)),
                                     BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, width), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, first),
                                     BPF_STMT(BPF_RET | BPF_A, 0)}};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    if (::setsockopt(ours_.back().get(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
        return base::os_error("setsockopt SO_ATTACH_REUSEPORT_CBPF");
    return {};
}

base::Result<bool> Handover::steer(size_t all) {
    if (ours_.empty() || all <= ours_.size()) return false;
    others_ = all - ours_.size();
    TRY(attach(first_, others_));
    return true;
}

void Handover::finish() {
    for (size_t closed = 1; !ours_.empty(); ++closed) {
        if (others_ > 0) {
            const bool last = ours_.size() == 1;
            // The last program stays with the group: where it would leave some of the successor's listeners without connections, none.
            // Not for datagrams: our socket still answers what it was asked, and must get nothing new.
            if (last && others_ != first_ && place_.kind == ListenPlace::Kind::Tcp) {
                const int none = 0;
                (void)::setsockopt(ours_.back().get(), SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof none);
            } else {
                (void)attach(first_, others_ > closed ? others_ - closed : 1);
            }
        }
        ours_.pop_back();
    }
}

}  // namespace warren::ztunnel
