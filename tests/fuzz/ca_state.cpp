// SPDX-License-Identifier: Apache-2.0
// The small files and texts that decide who may have a certificate: bootstrap tokens, the list of the revoked, the rotation's state, node
// names, peers. The first byte says which; what parses is written and parses again to the same.
#include "agent/cluster/authority_state.h"
#include "agent/cluster/bootstrap_token.h"
#include "agent/cluster/node_name.h"
#include "agent/cluster/revocations.h"
#include "base/rate_limit.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::cluster;
    if (size == 0) return 0;
    const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 5) {
        case 0:
            if (const auto tokens = parse_tokens(text)) {
                const auto again = parse_tokens(write_tokens(*tokens));
                if (!again || again->size() != tokens->size()) std::abort();
            }
            break;
        case 1:
            if (const auto revoked = parse_revocations(text))
                for (const std::string& serial : revoked->serials)
                    if (serial.size() % 2 != 0 || serial.empty()) std::abort();
            break;
        case 2: (void)parse_generations(text); break;
        case 3:
            if (const auto node = node_of_uri(text, "td"); node && node_uri("td", *node) != text) std::abort();
            (void)matches_pattern(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
            break;
        default: (void)warren::base::peer_key(text); break;
    }
    return 0;
}
