// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_netns.h"

#include "base/netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

namespace warren::node {

namespace {

constexpr size_t kMaxAddresses = 4096;  // of one pod; a pod that has more is not served those

bool link_local(base::IpAddr a) {
    return a.is_v4() ? a.v4_host_order() >> 16 == 0xa9fe : a.hi() >> 54 == 0x3fa;  // 169.254.0.0/16, fe80::/10
}

bool multicast(base::IpAddr a) { return a.is_v4() ? a.v4_host_order() >> 28 == 0xe : a.hi() >> 56 == 0xff; }

bool useful(base::IpAddr a) { return !a.is_loopback() && !a.is_unspecified() && !link_local(a) && !multicast(a); }

base::Result<base::Fd> netlink(uint32_t groups) {
    base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!fd) return base::os_error("socket", "netlink");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return base::os_error("bind", "netlink");
    return fd;
}

// IFA_LOCAL is the address itself where IFA_ADDRESS is the peer's of a point-to-point link.
void read_address(const nlmsghdr* message, std::vector<base::IpAddr>& out) {
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(ifaddrmsg))) return;
    const auto* body = static_cast<const ifaddrmsg*>(NLMSG_DATA(message));
    std::optional<base::IpAddr> local, address;
    unsigned left = static_cast<unsigned>(message->nlmsg_len - NLMSG_LENGTH(sizeof(ifaddrmsg)));
    for (const rtattr* a = IFA_RTA(body); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type != IFA_LOCAL && a->rta_type != IFA_ADDRESS) continue;
        const auto* bytes = static_cast<const uint8_t*>(RTA_DATA(a));
        (a->rta_type == IFA_LOCAL ? local : address) = base::IpAddr::from_bytes(std::span(bytes, RTA_PAYLOAD(a)));
    }
    const auto found = local ? local : address;
    if (found && useful(*found) && out.size() < kMaxAddresses) out.push_back(*found);
}

base::Result<std::vector<base::IpAddr>> dump(int fd) {
    struct {
        nlmsghdr header;
        ifaddrmsg body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_GETADDR;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.ifa_family = AF_UNSPEC;
    std::vector<base::IpAddr> out;
    TRY(base::netlink_dump(fd, std::as_bytes(std::span(&request, 1)), "the addresses of the namespace", [&out](const nlmsghdr& message) {
        if (message.nlmsg_type == RTM_NEWADDR) read_address(&message, out);
        return true;
    }));
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

base::Result<std::shared_ptr<const base::Netns>> resolve(const NetnsRef& ref) {
    if (ref.opened) return ref.opened;
    if (!ref.path.empty()) return std::make_shared<const base::Netns>(TRY(base::Netns::open(ref.path)));
    return std::make_shared<const base::Netns>(TRY(base::Netns::of_pid(ref.pid)));
}

}  // namespace

base::Result<NodeNetns> NodeNetns::of_this_node(const std::string& path) {
    NodeNetns node;
    node.node_ = std::make_shared<const base::Netns>(TRY(base::Netns::open(path)));
    node.own_ = std::make_shared<const base::Netns>(TRY(base::Netns::current()));
    return node;
}

base::Result<PodNetns> PodNetns::open(const Pod& pod, const NodeNetns& node) {
    PodNetns out;
    out.netns_ = TRY(resolve(pod.netns));
    if (pod.host_network || node.owns(*out.netns_)) {
        return base::Error{
            base::Errc::Denied, 0, "enrol",
            "pod " + pod.namespace_name + "/" + pod.name + " is in the node's own network namespace, which is never captured"};
    }
    out.home_ = &node.own();
    auto opened = base::in_netns(*out.netns_, node.own(), [&out]() -> base::Result<void> {
        // Watched before it is looked at: no change falls between.
        out.watch_ = TRY(netlink(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR));
        out.cookie_ = TRY(base::netns_cookie_of(out.watch_.get()));
        base::Fd query = TRY(netlink(0));
        out.addresses_ = TRY(dump(query.get()));
        return {};
    });
    TRY(std::move(opened));
    const bool found = std::any_of(pod.addresses.begin(), pod.addresses.end(),
                                   [&out](base::IpAddr a) { return std::binary_search(out.addresses_.begin(), out.addresses_.end(), a); });
    if (pod.netns.pid != 0 && !pod.addresses.empty() && !found) {
        return base::Error{base::Errc::Unavailable, 0, "enrol",
                           "the network namespace of process " + std::to_string(pod.netns.pid) + " has none of the addresses of pod " +
                               pod.namespace_name + "/" + pod.name + "; is it another process by now?"};
    }
    return out;
}

base::Result<bool> PodNetns::refresh() {
    std::array<char, 8192> unread{};
    // ENOBUFS says that messages were lost: they are not needed, the scan tells all.
    while (::recv(watch_.get(), unread.data(), unread.size(), MSG_DONTWAIT) >= 0 || errno == ENOBUFS) {
    }
    const std::vector<base::IpAddr> before = addresses_;
    addresses_ = TRY(base::in_netns(*netns_, *home_, []() -> base::Result<std::vector<base::IpAddr>> {
        base::Fd query = TRY(netlink(0));
        return dump(query.get());
    }));
    return before != addresses_;
}

}  // namespace warren::node
