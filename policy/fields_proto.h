// SPDX-License-Identifier: Apache-2.0
// Readings that the message converters share (data-plane contract 1.2 and 1.3): strict enums, ports, addresses, lists. Internal to
// policy_proto. Every refusal names the field by its path in the message.
#pragma once

#include "base/bytes.h"
#include "base/ip.h"
#include "base/result.h"
#include "policy/field_path.h"

#include <optional>
#include <string>
#include <vector>

namespace warren::policy {

// Enumerations of the model have the numbers of the wire (LbScope excepted), so a known number is a cast.
template <class E>
base::Result<E> read_enum(int value, E last, const FieldPath& at) {
    if (value >= 0 && value <= static_cast<int>(last)) return static_cast<E>(value);
    return at.refuse("unknown value " + std::to_string(value) + "; give a number from 0 to " + std::to_string(static_cast<int>(last)));
}

// The reference keeps the low 16 bits; Warren does not guess which port was meant.
inline base::Result<uint16_t> read_port(uint32_t value, const FieldPath& at) {
    if (value <= 65535) return static_cast<uint16_t>(value);
    return at.refuse("port " + std::to_string(value) + " is out of range; give 0 to 65535");
}

inline base::Result<base::IpAddr> read_ip(const std::string& bytes, const FieldPath& at) {
    if (const auto ip = base::IpAddr::from_bytes(base::as_bytes(bytes))) return *ip;
    return at.refuse(std::to_string(bytes.size()) + " address bytes; give 4 or 16");
}

// The length counts in the family of the bytes: an IPv4-mapped address of 16 bytes has 96 bits more than the IPv4 prefix it means.
inline base::Result<base::Cidr> read_cidr(const std::string& bytes, uint32_t length, const FieldPath& at) {
    const base::IpAddr ip = TRY(read_ip(bytes, at));
    const unsigned most = bytes.size() == 4 ? 32 : 128;
    const unsigned least = bytes.size() == 16 && ip.is_v4() ? 96 : 0;
    if (length < least || length > most) {
        return at.refuse("prefix length " + std::to_string(length) + " of " + (least != 0 ? "IPv4-mapped " : "") + ip.to_string() +
                         " is out of range; give " + std::to_string(least) + " to " + std::to_string(most));
    }
    return base::Cidr::make(ip, length - least);
}

inline std::string write_ip(base::IpAddr ip) {
    std::array<uint8_t, 16> bytes{};
    const size_t n = ip.to_bytes(bytes);
    return {reinterpret_cast<const char*>(bytes.data()), n};
}

// convert(element, path) for each element of a repeated field.
template <class T, class Repeated, class Convert>
base::Result<std::vector<T>> read_list(const Repeated& list, const FieldPath& up, std::string_view name, Convert convert) {
    std::vector<T> out;
    out.reserve(static_cast<size_t>(list.size()));
    for (const auto& element : list) out.push_back(TRY(convert(element, FieldPath{&up, name, out.size()})));
    return out;
}

}  // namespace warren::policy
