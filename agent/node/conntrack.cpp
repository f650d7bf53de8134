// SPDX-License-Identifier: Apache-2.0
#include "agent/node/conntrack.h"

#include "base/fd.h"
#include "base/netlink.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

namespace warren::node {
namespace {

using Bytes = std::span<const uint8_t>;

// One attribute of a message, whole and without its head.
struct Attribute {
    uint16_t type = 0;
    Bytes whole, payload;
};

template <class Fn>
void each_attribute(Bytes bytes, Fn&& fn) {
    while (bytes.size() >= NLA_HDRLEN) {
        nlattr head{};
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.nla_len < NLA_HDRLEN || head.nla_len > bytes.size()) return;
        fn(Attribute{static_cast<uint16_t>(head.nla_type & NLA_TYPE_MASK), bytes.first(head.nla_len),
                     bytes.subspan(NLA_HDRLEN, head.nla_len - NLA_HDRLEN)});
        bytes = bytes.subspan(std::min(bytes.size(), static_cast<size_t>(NLA_ALIGN(head.nla_len))));
    }
}

std::optional<Attribute> find(Bytes bytes, uint16_t type) {
    std::optional<Attribute> found;
    each_attribute(bytes, [&](const Attribute& a) {
        if (a.type == type) found = a;
    });
    return found;
}

std::optional<uint8_t> byte_of(Bytes bytes, uint16_t type) {
    const auto found = find(bytes, type);
    if (!found || found->payload.empty()) return std::nullopt;
    return found->payload.front();
}

// Of CTA_TUPLE_ORIG or CTA_TUPLE_REPLY.
std::optional<base::IpAddr> address(Bytes tuple, uint16_t v4, uint16_t v6) {
    const auto ip = find(tuple, CTA_TUPLE_IP);
    if (!ip) return std::nullopt;
    auto found = find(ip->payload, v4);
    if (!found) found = find(ip->payload, v6);
    if (!found) return std::nullopt;
    return base::IpAddr::from_bytes(found->payload);
}

bool is_tcp(Bytes tuple) {
    const auto proto = find(tuple, CTA_TUPLE_PROTO);
    return proto && byte_of(proto->payload, CTA_PROTO_NUM) == IPPROTO_TCP;
}

uint8_t state_of(Bytes attributes) {
    const auto info = find(attributes, CTA_PROTOINFO);
    const auto tcp = info ? find(info->payload, CTA_PROTOINFO_TCP) : std::nullopt;
    return tcp ? byte_of(tcp->payload, CTA_PROTOINFO_TCP_STATE).value_or(TCP_CONNTRACK_NONE) : uint8_t{TCP_CONNTRACK_NONE};
}

struct Request {
    nlmsghdr header{};
    nfgenmsg body{};
};
static_assert(sizeof(Request) == NLMSG_HDRLEN + sizeof(nfgenmsg));

Request request(uint16_t type, uint16_t flags, uint8_t family) {
    Request out;
    out.header.nlmsg_len = sizeof out;
    out.header.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
    out.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    out.body.nfgen_family = family;
    out.body.version = NFNETLINK_V0;
    return out;
}

// What names an entry to the kernel: the attributes it came with, unread.
using Key = std::vector<uint8_t>;

Key key_of(Bytes attributes) {
    Key out;
    for (const uint16_t type : {CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID}) {
        if (const auto found = find(attributes, type)) {
            out.insert(out.end(), found->whole.begin(), found->whole.end());
            out.resize(NLA_ALIGN(out.size()));
        }
    }
    return out;
}

struct Look {
    std::vector<Key> ended;
    std::set<base::IpAddr> open;
};

base::Result<void> look(int fd, uint8_t family, std::span<const base::IpAddr> sources, Look& out) {
    const Request dump = request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
    return base::netlink_dump(fd, std::as_bytes(std::span(&dump, 1)), "connection tracking", [&](const nlmsghdr& message) {
        if (message.nlmsg_len < sizeof(Request)) return;
        const Bytes attributes(reinterpret_cast<const uint8_t*>(&message) + sizeof(Request), message.nlmsg_len - sizeof(Request));
        const auto original = find(attributes, CTA_TUPLE_ORIG), reply = find(attributes, CTA_TUPLE_REPLY);
        if (!original || !reply || !is_tcp(original->payload)) return;
        const auto source = address(original->payload, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
        if (!source || !std::binary_search(sources.begin(), sources.end(), *source)) return;
        const uint8_t state = state_of(attributes);
        if (state == TCP_CONNTRACK_TIME_WAIT || state == TCP_CONNTRACK_CLOSE) return out.ended.push_back(key_of(attributes));
        if (address(original->payload, CTA_IP_V4_DST, CTA_IP_V6_DST) != address(reply->payload, CTA_IP_V4_SRC, CTA_IP_V6_SRC))
            out.open.insert(*source);
    });
}

// False: it has gone by itself, or came to life again.
base::Result<bool> remove(int fd, uint8_t family, const Key& key) {
    const Request head = request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family);
    std::vector<uint8_t> message(sizeof head + key.size());
    std::memcpy(message.data(), &head, sizeof head);
    std::memcpy(message.data() + sizeof head, key.data(), key.size());
    const auto length = static_cast<uint32_t>(message.size());
    std::memcpy(message.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
    if (::send(fd, message.data(), message.size(), 0) < 0) return base::os_error("send", "connection tracking");
    alignas(nlmsghdr) std::array<uint8_t, 4096> answer{};
    ssize_t n = 0;
    do n = ::recv(fd, answer.data(), answer.size(), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return base::os_error("recv", "connection tracking");
    nlmsgerr error{};
    if (static_cast<size_t>(n) < NLMSG_HDRLEN + sizeof error.error) return base::os_error_of(EPROTO, "delete", "connection tracking");
    std::memcpy(&error.error, answer.data() + NLMSG_HDRLEN, sizeof error.error);
    if (error.error == 0) return true;
    if (error.error == -ENOENT) return false;
    return base::os_error_of(-error.error, "delete", "connection tracking");
}

}  // namespace

base::Result<ConntrackCounts> forget_ended(std::span<const base::IpAddr> sources) {
    const base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    if (!fd) return base::os_error("socket", "NETLINK_NETFILTER");
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ConntrackCounts counts;
    std::set<base::IpAddr> open;
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
        Look found;
        TRY(look(fd.get(), family, sources, found));
        open.merge(found.open);
        for (const Key& key : found.ended) counts.forgotten += TRY(remove(fd.get(), family, key)) ? 1 : 0;
    }
    counts.open.assign(open.begin(), open.end());
    return counts;
}

}  // namespace warren::node
