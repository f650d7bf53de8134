// SPDX-License-Identifier: Apache-2.0
// Address, endpoint and prefix text. What parses prints to text that parses to the same value; containment agrees with a loop over bits,
// for the last 16 bytes of the input as an address and for both ends of the prefix; what is refused names its reason on one line.
#include "base/bytes.h"
#include "base/ip.h"
#include "base/prefix_map.h"
#include "tests/base/naive_prefix.h"

#include <algorithm>
#include <array>
#include <cstdlib>

using namespace warren::base;

namespace {

void require(bool fact) {
    if (!fact) std::abort();
}

template <class T>
void round_trip(std::string_view text) {
    const auto parsed = T::parse(text);
    if (!parsed) {
        const std::string message = parsed.error().message();
        require(!message.empty() && message.size() < 512 && message.find('\n') == std::string::npos);
        return;
    }
    require(text.find_first_of(std::string_view("% \t\r\n\0", 6)) == std::string_view::npos);
    const std::string printed = parsed->to_string();
    const auto again = T::parse(printed);
    require(again.has_value() && *again == *parsed && again->to_string() == printed);
}

void check_contains(const Cidr& prefix, IpAddr address) {
    const bool naive = warren::tests::naive_contains(prefix, address);
    require(prefix.contains(address) == naive);
    require(CidrSet(std::span(&prefix, 1)).contains(address) == naive);
    PrefixMap<int> map;
    map.insert(prefix, 1);
    require((map.find(address) != nullptr) == naive);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::span<const uint8_t> bytes(data, size);
    const std::string_view text = as_text(bytes);
    round_trip<IpAddr>(text);
    round_trip<SockAddr>(text);
    round_trip<Cidr>(text);

    // Also the text before a line feed alone, so that the bytes after it are a free address.
    const auto prefix = Cidr::parse(text.substr(0, text.find('\n')));
    if (!prefix) return 0;
    require(prefix->contains(prefix->first()));
    std::array<uint8_t, 16> tail{};
    const auto last = bytes.last(std::min(size, tail.size()));
    std::copy(last.begin(), last.end(), tail.begin());
    const IpAddr any = *IpAddr::from_bytes(tail), any_v4 = *IpAddr::from_bytes(std::span(tail).last(4));
    for (const IpAddr address : {any, any_v4, prefix->first(), prefix->last()}) check_contains(*prefix, address);
    return 0;
}
