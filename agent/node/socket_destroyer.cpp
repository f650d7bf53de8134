// SPDX-License-Identifier: Apache-2.0
#include "agent/node/socket_destroyer.h"

#include "agent/node/map_rows.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace warren::node {

namespace {

void put(base::IpAddr address, __be32 (&words)[4]) {
    std::array<uint8_t, 16> bytes{};
    const size_t size = address.to_bytes(bytes);
    std::memcpy(words, bytes.data(), size);
}

}  // namespace

base::Result<bool> destroy_tcp(const base::SockAddr& local, const base::SockAddr& remote) {
    const base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
    if (!fd) return base::os_error("socket", "netlink");
    struct {
        nlmsghdr header;
        inet_diag_req_v2 body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = SOCK_DESTROY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    // An IPv6 socket with mapped addresses is found under its IPv4 ones.
    request.body.sdiag_family = local.ip.is_v4() ? AF_INET : AF_INET6;
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_states = ~0u;
    request.body.id.idiag_sport = htons(local.port);
    request.body.id.idiag_dport = htons(remote.port);
    put(local.ip, request.body.id.idiag_src);
    put(remote.ip, request.body.id.idiag_dst);
    request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (::send(fd.get(), &request, sizeof request, 0) < 0) return base::os_error("send", "netlink");
    struct {
        nlmsghdr header;
        nlmsgerr error;
    } answer{};
    if (::recv(fd.get(), &answer, sizeof answer, 0) < 0) return base::os_error("recv", "netlink");
    if (answer.header.nlmsg_type != NLMSG_ERROR) return base::os_error_of(EPROTO, "SOCK_DESTROY");
    if (answer.error.error == 0) return true;
    if (answer.error.error == -ENOENT) return false;
    return base::os_error_of(-answer.error.error, "SOCK_DESTROY", local.to_string() + " to " + remote.to_string());
}

base::Result<SocketDestroyer> SocketDestroyer::of(const KernelObject& object) {
    const bool in_kernel = object.program("wr_iter_judge") != nullptr;
    return SocketDestroyer(TRY(SocketSampler::of(object, in_kernel ? "wr_iter_judge" : "wr_iter_list")), in_kernel);
}

base::Result<SocketDestroyer::Counts> SocketDestroyer::judge(const base::Netns& netns, const base::Netns& home,
                                                             const std::function<void(const wr_flow_event&)>& each) const {
    Counts counts;
    std::vector<wr_flow_event> left;  // to end from here
    TRY(judged_.sample(netns, home, [&](const wr_flow_event& event) {
        if (event.error != 0)
            ++counts.ended;
        else
            left.push_back(event);
        if (each) each(event);
    }));
    if (left.empty()) return counts;
    TRY(base::in_netns(netns, home, [&]() -> base::Result<void> {
        for (const wr_flow_event& event : left) {
            // Judged at the client's end: its own address and the one it really went to.
            const auto ended = destroy_tcp({from_row(event.source), event.source_port}, {from_row(event.chosen), event.chosen_port});
            if (!ended) counts.error = ended.error().message();
            ++(!ended ? counts.failed : *ended ? counts.ended : counts.gone);
        }
        return {};
    }));
    return counts;
}

}  // namespace warren::node
