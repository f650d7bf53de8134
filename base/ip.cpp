// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace warren::base {

namespace {

constexpr uint64_t kOnes = ~uint64_t{0};
constexpr IpAddr kMappedFirst = IpAddr::v4(0);
constexpr IpAddr kMappedLast = IpAddr::v4(0xffffffff);
constexpr IpAddr kBeforeMapped = IpAddr::from_number(0, kMappedFirst.lo() - 1);
constexpr IpAddr kAfterMapped = IpAddr::from_number(0, kMappedLast.lo() + 1);

// Decimal digits and nothing else: no sign, no space, no leading zero (which other parsers read as octal).
std::optional<unsigned> parse_decimal(std::string_view text) {
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
    unsigned value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool has(std::string_view text, char c) { return text.find(c) != std::string_view::npos; }

// What to do about a text that is no address.
std::string_view address_fix(std::string_view text) {
    if (text.empty()) return "is empty; give an IPv4 or IPv6 address";
    if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; }))
        return "has a space or a character outside printable ASCII; remove it";
    if (has(text, '%')) return "has a zone, which a mesh-wide address cannot have; remove the part from '%' on";
    if (has(text, '[') || has(text, ']')) return "has brackets; give the address alone";
    if (has(text, '/')) return "is a prefix where one address is wanted; remove the part from '/' on";
    if (std::count(text.begin(), text.end(), ':') == 1 && has(text, '.')) return "has a port; give the address alone";
    return "is not an address; write it like 10.0.0.1 or fd00::1";
}

Error bad_address(std::string_view text) {
    std::string detail = "address " + quoted(text) + " ";
    return invalid(detail.append(address_fix(text)));
}

Error bad_endpoint(std::string_view text, std::string_view why) {
    std::string detail = "address and port " + quoted(text) + ": ";
    return invalid(detail.append(why));
}

}  // namespace

Result<IpAddr> IpAddr::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    // inet_pton would stop at a NUL inside and take what comes before it.
    if (text.size() >= terminated.size() || has(text, '\0')) return bad_address(text);
    std::copy(text.begin(), text.end(), terminated.begin());
    std::array<uint8_t, 16> bytes{};
    const bool v6 = has(text, ':');
    if (::inet_pton(v6 ? AF_INET6 : AF_INET, terminated.data(), bytes.data()) != 1) return bad_address(text);
    return *from_bytes(std::span(bytes).first(v6 ? 16 : 4));
}

std::optional<IpAddr> IpAddr::from_bytes(std::span<const uint8_t> bytes) {
    if (bytes.size() == 4) return v4(load_be<uint32_t>(bytes.first<4>()));
    if (bytes.size() == 16) return IpAddr(load_be<uint64_t>(bytes.first<8>()), load_be<uint64_t>(bytes.last<8>()));
    return std::nullopt;
}

size_t IpAddr::to_bytes(std::span<uint8_t, 16> out) const {
    if (is_v4()) {
        store_be<uint32_t>(out.first<4>(), v4_host_order());
        return 4;
    }
    store_be<uint64_t>(out.first<8>(), hi_);
    store_be<uint64_t>(out.last<8>(), lo_);
    return 16;
}

std::string IpAddr::to_string() const {
    std::array<uint8_t, 16> bytes{};
    to_bytes(bytes);
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), text.data(), text.size());  // fits by definition of the size
    return text.data();
}

Result<SockAddr> SockAddr::parse(std::string_view text) {
    static constexpr std::string_view kForm = "write it like 10.0.0.1:80 or [fd00::1]:80";
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad_endpoint(text, kForm);
    std::string_view host = text.substr(0, colon);
    const std::string_view port_text = text.substr(colon + 1);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (bracketed != has(host, ':')) return bad_endpoint(text, kForm);
    const auto port = parse_decimal(port_text);
    if (!port || *port > 65535) return bad_endpoint(text, "port " + quoted(port_text) + " is not a number from 0 to 65535; correct it");
    return SockAddr{TRY(IpAddr::parse(host)), static_cast<uint16_t>(*port)};
}

std::optional<SockAddr> SockAddr::from_sockaddr(const sockaddr* address, size_t length) {
    // Copied, not cast: the caller's buffer need not be aligned for the larger type.
    if (address == nullptr || length < sizeof(sa_family_t)) return std::nullopt;
    sa_family_t family = AF_UNSPEC;
    std::memcpy(&family, address, sizeof family);
    if (family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in in{};
        std::memcpy(&in, address, sizeof in);
        return SockAddr{IpAddr::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
    }
    if (family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 in{};
        std::memcpy(&in, address, sizeof in);
        return SockAddr{*IpAddr::from_bytes(in.sin6_addr.s6_addr), ntohs(in.sin6_port)};
    }
    return std::nullopt;
}

unsigned SockAddr::to_sockaddr(sockaddr_storage& out, int family) const {
    out = {};
    if (family == AF_INET && ip.is_v4()) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        in.sin_addr.s_addr = htonl(ip.v4_host_order());
        std::memcpy(&out, &in, sizeof in);
        return sizeof in;
    }
    if (family == AF_INET6) {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(port);
        const std::span<uint8_t, 16> bytes(in.sin6_addr.s6_addr);
        store_be<uint64_t>(bytes.first<8>(), ip.hi());
        store_be<uint64_t>(bytes.last<8>(), ip.lo());
        std::memcpy(&out, &in, sizeof in);
        return sizeof in;
    }
    return 0;
}

int SockAddr::family() const { return ip.is_v4() ? AF_INET : AF_INET6; }

std::string SockAddr::to_string() const {
    const std::string host = ip.to_string();
    return (ip.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Result<Cidr> Cidr::make(IpAddr address, unsigned length) {
    if (length > address.bits()) {
        const char* range = address.is_v4() ? " is out of range for IPv4; give 0 to 32" : " is out of range for IPv6; give 0 to 128";
        return invalid("prefix of " + address.to_string() + ": length " + std::to_string(length) + range);
    }
    // Clearing host bits cannot turn an IPv6 address into a mapped one: from length 96 on the bits that decide stay, and below it
    // bit 95, which every mapped address has set, is cleared. So the family of first_ is the family of the prefix.
    Cidr out;
    out.first_ = address.masked(length);
    out.length_ = static_cast<uint8_t>(length);
    return out;
}

Result<Cidr> Cidr::parse(std::string_view text) {
    const size_t slash = text.find('/');
    const std::string_view address_text = text.substr(0, slash);
    const IpAddr address = TRY(IpAddr::parse(address_text));
    if (slash == std::string_view::npos) return make(address, address.bits());

    // A mapped address is IPv4, but its length was written in IPv6 bits.
    const bool mapped = address.is_v4() && has(address_text, ':');
    const unsigned least = mapped ? 96 : 0;
    const unsigned most = mapped ? 128 : address.bits();
    const auto length = parse_decimal(text.substr(slash + 1));
    if (!length || *length < least || *length > most) {
        return invalid("prefix " + quoted(text) + ": length " + quoted(text.substr(slash + 1)) +
                       (mapped ? " of an IPv4-mapped address" : "") + " is out of range; give a number from " + std::to_string(least) +
                       " to " + std::to_string(most));
    }
    return make(address, *length - least);
}

IpAddr Cidr::last() const {
    const unsigned n = is_v4() ? length_ + 96u : length_;
    const uint64_t hi = n == 0 ? kOnes : n < 64 ? kOnes >> n : 0;
    const uint64_t lo = n <= 64 ? kOnes : n < 128 ? kOnes >> (n - 64) : 0;
    return IpAddr::from_number(first_.hi() | hi, first_.lo() | lo);
}

// Masking never changes the family (see make), so a prefix of the other one cannot be equal.
bool Cidr::contains(IpAddr address) const { return address.masked(length_) == first_; }

std::string Cidr::to_string() const { return first_.to_string() + "/" + std::to_string(length_); }

CidrSet::CidrSet(std::span<const Cidr> prefixes) {
    std::vector<Range> all;
    all.reserve(prefixes.size() + 1);
    for (const Cidr& prefix : prefixes) {
        const Range range{prefix.first(), prefix.last()};
        if (prefix.is_v4() || range.last < kMappedFirst || range.first > kMappedLast) {
            all.push_back(range);
            continue;
        }
        // An IPv6 prefix around the mapped block has no say about IPv4: cut the block out, and the number alone tells the family.
        all.push_back({range.first, kBeforeMapped});
        if (range.last > kMappedLast) all.push_back({kAfterMapped, range.last});
    }
    std::sort(all.begin(), all.end(), [](const Range& a, const Range& b) { return a.first < b.first; });

    const auto next = [](IpAddr a) { return IpAddr::from_number(a.hi() + (a.lo() == kOnes ? 1 : 0), a.lo() + 1); };
    for (const Range& range : all) {
        // Neighbours join only inside a family. The very last address has no neighbour above it: next() wraps to ::, which no later
        // range can start with unless it overlaps, and that the first half has already seen.
        if (!ranges_.empty() && (range.first <= ranges_.back().last ||
                                 (range.first == next(ranges_.back().last) && range.first.is_v4() == ranges_.back().last.is_v4())))
            ranges_.back().last = std::max(ranges_.back().last, range.last);
        else
            ranges_.push_back(range);
    }
    ranges_.shrink_to_fit();
}

bool CidrSet::contains(IpAddr address) const {
    const auto above =
        std::upper_bound(ranges_.begin(), ranges_.end(), address, [](IpAddr wanted, const Range& range) { return wanted < range.first; });
    return above != ranges_.begin() && address <= std::prev(above)->last;
}

}  // namespace warren::base
