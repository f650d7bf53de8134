// SPDX-License-Identifier: Apache-2.0
// Addresses and prefixes as values. One 128-bit representation: an IPv4 address is kept as ::ffff:a.b.c.d, so an IPv4-mapped IPv6
// address *is* its IPv4 address (data-plane contract 0: all addresses are canonicalised before lookup, policy or log) and every
// comparison is two integers. There are no zones: "fe80::1%eth0" is refused. No I/O, no allocation but in to_string and the sets;
// values may be shared between threads freely, sets are immutable once built.
#pragma once

#include "base/result.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;
struct sockaddr_storage;

namespace warren::base {

class IpAddr {
  public:
    constexpr IpAddr() = default;  // :: , the unspecified IPv6 address
    // hi and lo are the address as a big number: hi holds the first eight bytes.
    static constexpr IpAddr from_number(uint64_t hi, uint64_t lo) { return IpAddr(hi, lo); }
    static constexpr IpAddr v4(uint32_t host_order) { return IpAddr(0, kMapped | host_order); }

    // Text as inet_pton takes it (dotted quad, RFC 4291 forms); no brackets, no zone, no port.
    static Result<IpAddr> parse(std::string_view text);
    // 4 or 16 bytes in network order; any other length is no address.
    static std::optional<IpAddr> from_bytes(std::span<const uint8_t> bytes);

    [[nodiscard]] constexpr bool is_v4() const { return hi_ == 0 && (lo_ >> 32) == 0xffff; }
    [[nodiscard]] constexpr bool is_v6() const { return !is_v4(); }
    [[nodiscard]] constexpr unsigned bits() const { return is_v4() ? 32 : 128; }
    [[nodiscard]] constexpr bool is_unspecified() const { return lo_ == kMapped || lo_ == 0 ? hi_ == 0 : false; }
    [[nodiscard]] constexpr bool is_loopback() const { return is_v4() ? (lo_ >> 24 & 0xff) == 127 : hi_ == 0 && lo_ == 1; }
    [[nodiscard]] constexpr uint32_t v4_host_order() const { return static_cast<uint32_t>(lo_); }
    [[nodiscard]] constexpr uint64_t hi() const { return hi_; }
    [[nodiscard]] constexpr uint64_t lo() const { return lo_; }

    // The first `length` bits, counted in the address's own family, and zeros below; a longer length changes nothing.
    [[nodiscard]] constexpr IpAddr masked(unsigned length) const {
        const unsigned n = is_v4() ? length + 96 : length;
        const uint64_t hi = n == 0 ? 0 : n < 64 ? ~uint64_t{0} << (64 - n) : ~uint64_t{0};
        const uint64_t lo = n <= 64 ? 0 : n < 128 ? ~uint64_t{0} << (128 - n) : ~uint64_t{0};
        return IpAddr(hi_ & hi, lo_ & lo);
    }

    // Network order: 4 bytes of an IPv4 address, else 16. Returns how many were written.
    size_t to_bytes(std::span<uint8_t, 16> out) const;
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] size_t hash() const {
        const uint64_t x = (hi_ * 0x9e3779b97f4a7c15u) ^ (lo_ + 0x7f4a7c15u);
        return static_cast<size_t>((x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u ^ (x >> 32));
    }

    constexpr auto operator<=>(const IpAddr&) const = default;

  private:
    static constexpr uint64_t kMapped = 0xffff'0000'0000u;
    constexpr IpAddr(uint64_t hi, uint64_t lo) : hi_(hi), lo_(lo) {}
    uint64_t hi_ = 0;
    uint64_t lo_ = 0;
};

// An address and a TCP or UDP port (host order).
struct SockAddr {
    IpAddr ip;
    uint16_t port = 0;

    // "1.2.3.4:80", "[::1]:80".
    static Result<SockAddr> parse(std::string_view text);
    // AF_INET and AF_INET6 only; a mapped address comes out as IPv4.
    static std::optional<SockAddr> from_sockaddr(const sockaddr* address, size_t length);
    // Fills for a socket of the given family (AF_INET or AF_INET6; an IPv4 address on an AF_INET6 socket becomes mapped).
    // Returns the length; 0 when an IPv6 address was asked of an AF_INET socket.
    unsigned to_sockaddr(sockaddr_storage& out, int family) const;
    // The family that fits the address alone.
    [[nodiscard]] int family() const;
    [[nodiscard]] std::string to_string() const;

    constexpr auto operator<=>(const SockAddr&) const = default;
};

// An address prefix. Host bits below the length are cleared: 10.0.0.7/24 is 10.0.0.0/24, as Kubernetes and Istio read it.
class Cidr {
  public:
    Cidr() = default;  // ::/0
    // length counts in the address's own family: 0..32 or 0..128.
    static Result<Cidr> make(IpAddr address, unsigned length);
    // "10.0.0.0/8", "fd00::/8", or an address alone (its full length). A mapped prefix is its IPv4 prefix: ::ffff:10.0.0.0/104 is
    // 10.0.0.0/8, and a mapped address with a length below 96, half one family and half the other, is refused.
    static Result<Cidr> parse(std::string_view text);

    [[nodiscard]] IpAddr first() const { return first_; }
    // The last number of the range. It is for range arithmetic only: that of an IPv6 prefix which ends in the mapped block, such as
    // ::/80, reads as an IPv4 address.
    [[nodiscard]] IpAddr last() const;
    [[nodiscard]] unsigned length() const { return length_; }
    [[nodiscard]] bool is_v4() const { return first_.is_v4(); }
    // Same family only: ::/0 does not contain 10.0.0.1, although it is kept mapped (contract 7.4, truth table row 37).
    [[nodiscard]] bool contains(IpAddr address) const;
    [[nodiscard]] std::string to_string() const;

    auto operator<=>(const Cidr&) const = default;

  private:
    IpAddr first_;
    uint8_t length_ = 0;
};

// Many prefixes, one question: is this address in any of them? Sorted disjoint ranges, so 1,000 entries cost ten comparisons.
class CidrSet {
  public:
    CidrSet() = default;
    explicit CidrSet(std::span<const Cidr> prefixes);
    [[nodiscard]] bool contains(IpAddr address) const;
    [[nodiscard]] bool empty() const { return ranges_.empty(); }
    [[nodiscard]] size_t bytes() const { return ranges_.capacity() * sizeof(Range); }

  private:
    struct Range {
        IpAddr first, last;
    };
    std::vector<Range> ranges_;  // sorted, disjoint, never mixing families
};

}  // namespace warren::base

template <>
struct std::hash<warren::base::IpAddr> {
    size_t operator()(const warren::base::IpAddr& a) const noexcept { return a.hash(); }
};
template <>
struct std::hash<warren::base::SockAddr> {
    size_t operator()(const warren::base::SockAddr& a) const noexcept { return a.ip.hash() * 31 + a.port; }
};
