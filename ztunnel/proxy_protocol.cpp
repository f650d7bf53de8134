// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/proxy_protocol.h"

#include <array>

namespace warren::ztunnel {

std::vector<uint8_t> proxy_header_v2(const base::SockAddr& source, const base::SockAddr& destination, std::string_view identity_uri) {
    static constexpr uint8_t signature[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
    constexpr uint8_t kVersion2Proxy = 0x21, kTcp4 = 0x11, kTcp6 = 0x21, kUnspecStream = 0x01, kTlvIdentity = 0xd0;
    std::vector<uint8_t> body;
    auto put16 = [](std::vector<uint8_t>& out, size_t v) {
        out.push_back(static_cast<uint8_t>(v >> 8));
        out.push_back(static_cast<uint8_t>(v));
    };
    uint8_t family = kUnspecStream;
    if (source.ip.is_v4() == destination.ip.is_v4()) {
        family = source.ip.is_v4() ? kTcp4 : kTcp6;
        for (const base::IpAddr ip : {source.ip, destination.ip}) {
            std::array<uint8_t, 16> bytes{};
            const size_t n = ip.to_bytes(bytes);
            body.insert(body.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        }
        put16(body, source.port);
        put16(body, destination.port);
    }
    if (!identity_uri.empty()) {
        body.push_back(kTlvIdentity);
        put16(body, identity_uri.size());
        body.insert(body.end(), identity_uri.begin(), identity_uri.end());
    }
    std::vector<uint8_t> out(std::begin(signature), std::end(signature));
    out.push_back(kVersion2Proxy);
    out.push_back(family);
    put16(out, body.size());
    out.insert(out.end(), body.begin(), body.end());
    return out;
}

}  // namespace warren::ztunnel
