// SPDX-License-Identifier: Apache-2.0
// ZDS packets: whatever arrives is a request or an error.
#include "ztunnel/zds_message.h"

#include <fcntl.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // The first byte says how many descriptors came with the packet.
    std::vector<warren::base::Fd> fds;
    for (int i = 0; size > 0 && i < data[0] % 3; ++i) fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    auto request = warren::ztunnel::parse_zds_request({data + (size > 0), size - (size > 0)}, std::move(fds));
    if (request) {
        if (auto* add = std::get_if<warren::ztunnel::ZdsAdd>(&*request)) {
            if (add->uid.empty() || !add->netns.valid()) __builtin_trap();
        }
    } else if (request.error().message().empty()) {
        __builtin_trap();
    }
    return 0;
}
