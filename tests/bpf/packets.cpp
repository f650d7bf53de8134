// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/packets.h"

#include "base/fd.h"

#include <algorithm>
#include <array>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace warren::tests::bpf {

namespace {

using Bytes = std::string;

constexpr size_t kFirstFragment = 24;  // a multiple of eight, and the whole fixed TCP header: shorter ones the kernel refuses (RFC 7112)
constexpr uint8_t kHopByHop = 0, kTcp = 6, kRouting = 43, kFragment = 44, kDestination = 60;

void put8(Bytes& out, unsigned value) { out.push_back(static_cast<char>(value)); }
void put16(Bytes& out, unsigned value) {
    put8(out, value >> 8 & 0xff);
    put8(out, value & 0xff);
}
void put32(Bytes& out, uint32_t value) {
    put16(out, value >> 16);
    put16(out, value & 0xffff);
}

// As in the packet: four bytes or sixteen.
Bytes address(const base::IpAddr& ip) {
    sockaddr_storage s{};
    base::SockAddr{ip, 0}.to_sockaddr(s, ip.is_v4() ? AF_INET : AF_INET6);
    if (ip.is_v4()) return {reinterpret_cast<const char*>(&reinterpret_cast<sockaddr_in&>(s).sin_addr), 4};
    return {reinterpret_cast<const char*>(&reinterpret_cast<sockaddr_in6&>(s).sin6_addr), 16};
}

uint16_t checksum(const Bytes& data) {
    uint32_t sum = 0;
    for (size_t i = 0; i < data.size(); i += 2)
        sum += static_cast<uint32_t>(static_cast<uint8_t>(data[i]) << 8 | (i + 1 < data.size() ? static_cast<uint8_t>(data[i + 1]) : 0));
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

// A SYN with twelve bytes of no-operation, so that it is longer than its first fragment.
Bytes tcp_syn(const base::SockAddr& source, const base::SockAddr& to) {
    Bytes tcp;
    put16(tcp, source.port);
    put16(tcp, to.port);
    put32(tcp, 1234567);
    put32(tcp, 0);
    put16(tcp, 8 << 12 | 0x02);
    put16(tcp, 65535);
    put32(tcp, 0);
    tcp.append(12, 1);
    Bytes pseudo = address(source.ip) + address(to.ip);
    put32(pseudo, static_cast<uint32_t>(tcp.size()));
    put32(pseudo, kTcp);
    const uint16_t sum = checksum(pseudo + tcp);
    tcp[16] = static_cast<char>(sum >> 8);
    tcp[17] = static_cast<char>(sum & 0xff);
    return tcp;
}

// The kernel fills length and checksum.
Bytes packet4(const base::SockAddr& source, const base::SockAddr& to, const Bytes& options, unsigned fragment, const Bytes& payload) {
    Bytes out;
    put8(out, static_cast<unsigned>(0x40 | (20 + options.size()) / 4));
    put8(out, 0);
    put16(out, 0);
    put16(out, 4711);
    put16(out, fragment);
    put8(out, 64);
    put8(out, kTcp);
    put16(out, 0);
    return out + address(source.ip) + address(to.ip) + options + payload;
}

Bytes packet6(const base::SockAddr& source, const base::SockAddr& to, uint8_t next, const Bytes& payload) {
    Bytes out;
    put32(out, 0x60000000);
    put16(out, static_cast<unsigned>(payload.size()));
    put8(out, next);
    put8(out, 64);
    return out + address(source.ip) + address(to.ip) + payload;
}

std::vector<Bytes> packets4(const base::SockAddr& source, const base::SockAddr& to, Dress dress) {
    const Bytes tcp = tcp_syn(source, to);
    if (dress == Dress::Fragments)
        return {packet4(source, to, {}, 0x2000, tcp.substr(0, kFirstFragment)),
                packet4(source, to, {}, kFirstFragment / 8, tcp.substr(kFirstFragment))};
    return {packet4(source, to, Bytes(dress == Dress::Options ? 4 : 0, 1), 0, tcp)};
}

std::vector<Bytes> packets6(const base::SockAddr& source, const base::SockAddr& to, Dress dress) {
    const Bytes tcp = tcp_syn(source, to);
    // Next header, length 0, and six bytes: padding, or for routing a type nobody knows with no segment left, which must be passed over.
    const auto extension = [&](uint8_t header, const Bytes& rest) {
        return std::vector<Bytes>{packet6(source, to, header, Bytes{kTcp, 0} + rest + tcp)};
    };
    const auto fragment = [&](unsigned offset_and_more, const Bytes& part) {
        Bytes head{kTcp, 0};
        put16(head, offset_and_more);
        put32(head, 4711);
        return packet6(source, to, kFragment, head + part);
    };
    switch (dress) {
        case Dress::HopByHop: return extension(kHopByHop, Bytes{1, 4, 0, 0, 0, 0});
        case Dress::DestinationOptions: return extension(kDestination, Bytes{1, 4, 0, 0, 0, 0});
        case Dress::Routing: return extension(kRouting, Bytes{static_cast<char>(253), 0, 0, 0, 0, 0});
        case Dress::Fragments: return {fragment(1, tcp.substr(0, kFirstFragment)), fragment(kFirstFragment, tcp.substr(kFirstFragment))};
        case Dress::Plain:
        case Dress::Options: break;
    }
    return {packet6(source, to, kTcp, tcp)};
}

}  // namespace

bool send_syn(Lab& lab, const Pod& from, const base::SockAddr& source, const base::SockAddr& to, Dress dress) {
    const int family = to.ip.is_v4() ? AF_INET : AF_INET6;
    const auto packets = family == AF_INET ? packets4(source, to, dress) : packets6(source, to, dress);
    return lab.in(lab.app, from.netns, [&] {
        const base::Fd raw(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));  // the header is ours
        sockaddr_storage a{};
        const socklen_t n = base::SockAddr{to.ip, 0}.to_sockaddr(a, family);
        return std::all_of(packets.begin(), packets.end(), [&](const Bytes& p) {
            return ::sendto(raw.get(), p.data(), p.size(), 0, reinterpret_cast<const sockaddr*>(&a), n) == static_cast<ssize_t>(p.size());
        });
    });
}

}  // namespace warren::tests::bpf
