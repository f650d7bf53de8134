// SPDX-License-Identifier: Apache-2.0
#include "agent/node/socket_sampler.h"

#include <cstring>
#include <utility>
#include <vector>

namespace warren::node {

base::Result<SocketSampler> SocketSampler::of(const KernelObject& object, std::string_view program) {
    return SocketSampler(TRY(TcpIterator::of(object, program)));
}

base::Result<size_t> SocketSampler::sample(const base::Netns& netns, const base::Netns& home,
                                           const std::function<void(const wr_flow_event&)>& each) const {
    size_t count = 0;
    std::vector<std::byte> rest;  // of a record that a piece cut
    const auto take = [&](std::span<const std::byte> piece) {
        rest.insert(rest.end(), piece.begin(), piece.end());
        size_t at = 0;
        for (; rest.size() - at >= sizeof(wr_flow_event); at += sizeof(wr_flow_event)) {
            wr_flow_event event{};
            std::memcpy(&event, rest.data() + at, sizeof event);
            each(event);
            ++count;
        }
        rest.erase(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(at));
    };
    TRY(iterator_.run(netns, home, take));
    if (rest.empty()) return count;
    return base::Error{base::Errc::Internal, 0, "sample", "the iterator wrote a record of another size; agent and programs do not fit"};
}

}  // namespace warren::node
