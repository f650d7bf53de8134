// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/certificates.h"

#include <algorithm>
#include <vector>

namespace warren::tools {

bool certificate_valid(const Json& certificate, base::WallTime now) {
    const auto from = base::parse_rfc3339(text_at(certificate, "validFrom")),
               to = base::parse_rfc3339(text_at(certificate, "expirationTime"));
    return from && to && *from <= now && now <= *to;
}

std::string hexadecimal(const std::string& decimal) {
    if (decimal.empty() || decimal.size() > 49 || !std::all_of(decimal.begin(), decimal.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return decimal;
    std::vector<unsigned> digits;  // base 16, least first
    for (const char c : decimal) {
        unsigned carry = static_cast<unsigned>(c - '0');
        for (unsigned& d : digits) {
            carry += d * 10;
            d = carry % 16;
            carry /= 16;
        }
        for (; carry != 0; carry /= 16) digits.push_back(carry % 16);
    }
    std::string out;
    for (auto d = digits.rbegin(); d != digits.rend(); ++d) out += "0123456789abcdef"[*d];
    return out.empty() ? "0" : out;
}

}  // namespace warren::tools
