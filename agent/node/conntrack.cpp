// SPDX-License-Identifier: Apache-2.0
#include "agent/node/conntrack.h"

#include "base/bytes.h"
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

void append(Key& to, uint16_t type, Bytes payload) {
    const nlattr head{static_cast<uint16_t>(NLA_HDRLEN + payload.size()), type};
    const auto* bytes = reinterpret_cast<const uint8_t*>(&head);
    to.insert(to.end(), bytes, bytes + sizeof head);
    to.insert(to.end(), payload.begin(), payload.end());
    to.resize(NLA_ALIGN(to.size()));
}

void append_nested(Key& to, uint16_t type, Bytes payload) { append(to, static_cast<uint16_t>(type | NLA_F_NESTED), payload); }

// What the rows of a dump have to have: TCP, and the source when one is given (ctnetlink_alloc_filter in net/netfilter/
// nf_conntrack_netlink.c). The flags are net/netfilter/nf_internals.h's, CTA_FILTER_F_CTA_IP_SRC and CTA_FILTER_F_CTA_PROTO_NUM.
Key filter(uint8_t family, const base::IpAddr* source) {
    constexpr uint32_t kSource = 1u << 0, kProtocol = 1u << 3;
    Key ip, proto, tuple, flags, out;
    if (source != nullptr) {
        std::array<uint8_t, 16> bytes{};
        base::store_be<uint64_t>(std::span(bytes).first<8>(), source->hi());
        base::store_be<uint64_t>(std::span(bytes).last<8>(), source->lo());
        append(ip, family == AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, Bytes(bytes).last(family == AF_INET ? 4 : 16));
        append_nested(tuple, CTA_TUPLE_IP, ip);
    }
    const uint8_t tcp = IPPROTO_TCP;
    append(proto, CTA_PROTO_NUM, Bytes(&tcp, 1));
    append_nested(tuple, CTA_TUPLE_PROTO, proto);
    append_nested(out, CTA_TUPLE_ORIG, tuple);
    const uint32_t by = kProtocol | (source != nullptr ? kSource : 0), nothing = 0;
    append(flags, CTA_FILTER_ORIG_FLAGS, Bytes(reinterpret_cast<const uint8_t*>(&by), sizeof by));
    append(flags, CTA_FILTER_REPLY_FLAGS, Bytes(reinterpret_cast<const uint8_t*>(&nothing), sizeof nothing));
    append_nested(out, CTA_FILTER, flags);
    return out;
}

std::vector<uint8_t> message_of(Request head, const Key& attributes) {
    head.header.nlmsg_len = static_cast<uint32_t>(sizeof head + attributes.size());
    std::vector<uint8_t> message(sizeof head + attributes.size());
    std::memcpy(message.data(), &head, sizeof head);
    std::memcpy(message.data() + sizeof head, attributes.data(), attributes.size());
    return message;
}

base::Result<base::Fd> open_socket() {
    base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    if (!fd) return base::os_error("socket", "NETLINK_NETFILTER");
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

struct Look {
    std::span<const base::IpAddr> sources;
    size_t most = 0, rows = 0;
    bool cut = false;
    std::vector<Key> ended;
    std::set<base::IpAddr> open;

    void take(const nlmsghdr& message);
};

void Look::take(const nlmsghdr& message) {
    if (message.nlmsg_len < sizeof(Request)) return;
    const Bytes attributes(reinterpret_cast<const uint8_t*>(&message) + sizeof(Request), message.nlmsg_len - sizeof(Request));
    const auto original = find(attributes, CTA_TUPLE_ORIG), reply = find(attributes, CTA_TUPLE_REPLY);
    if (!original || !reply || !is_tcp(original->payload)) return;
    const auto source = address(original->payload, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
    if (!source || !std::binary_search(sources.begin(), sources.end(), *source)) return;
    const uint8_t state = state_of(attributes);
    if (state == TCP_CONNTRACK_TIME_WAIT || state == TCP_CONNTRACK_CLOSE) return ended.push_back(key_of(attributes));
    if (address(original->payload, CTA_IP_V4_DST, CTA_IP_V6_DST) != address(reply->payload, CTA_IP_V4_SRC, CTA_IP_V6_SRC))
        open.insert(*source);
}

// One dump, on a socket of its own: what is not read goes with it.
base::Result<void> look(uint8_t family, const base::IpAddr* source, Look& to) {
    const base::Fd fd = TRY(open_socket());
    const auto message = message_of(request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family), filter(family, source));
    return base::netlink_dump(fd.get(), std::as_bytes(std::span(message)), "connection tracking", [&to](const nlmsghdr& row) {
        to.cut = to.rows == to.most;
        if (to.cut) return false;
        ++to.rows;
        to.take(row);
        return true;
    });
}

// False: it has gone by itself, or came to life again.
base::Result<bool> remove(int fd, uint8_t family, const Key& key) {
    const Request head = request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family);
    const auto message = message_of(head, key);
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

base::Result<ConntrackCounts> forget_ended(std::span<const base::IpAddr> sources, ConntrackLimits limits) {
    const base::Fd fd = TRY(open_socket());
    ConntrackCounts counts;
    std::set<base::IpAddr> open;
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
        Look found{.sources = sources, .most = limits.rows - counts.rows, .rows = 0, .cut = false, .ended = {}, .open = {}};
        if (sources.size() > limits.one_by_one) {
            TRY(look(family, nullptr, found));
        } else {
            for (const base::IpAddr& source : sources)
                if (source.is_v4() == (family == AF_INET)) TRY(look(family, &source, found));
        }
        open.merge(found.open);
        counts.rows += found.rows;
        counts.cut = counts.cut || found.cut;
        for (const Key& key : found.ended) counts.forgotten += TRY(remove(fd.get(), family, key)) ? 1 : 0;
    }
    counts.open.assign(open.begin(), open.end());
    return counts;
}

}  // namespace warren::node
