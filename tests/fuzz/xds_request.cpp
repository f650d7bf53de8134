// SPDX-License-Identifier: Apache-2.0
// Requests of any bytes: what protobuf reads is read alike; and a session that is given several of them, with publications in between,
// never crashes, has one response of a type under way, and says only what it is asked and what is so. Two bytes of length before each
// request; the high bit of the first: publish first.
#include "agent/xds/client_session.h"
#include "proto/xds.pb.h"

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

namespace {

using namespace warren;
using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;

void require(bool good) {
    if (!good) std::abort();
}

void compare(std::span<const uint8_t> bytes) {
    const auto got = xds::parse_request(bytes, 1'000);
    DeltaDiscoveryRequest known;
    if (!got || !known.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    require(known.type_url() == got->type_url && known.response_nonce() == got->nonce);
    require(known.has_error_detail() == got->error.has_value() && known.has_node() == got->node.has_value());
    require(known.error_detail().message() == got->error.value_or(""));
    require(static_cast<size_t>(known.resource_names_subscribe_size()) == got->subscribe.size());
    require(static_cast<size_t>(known.resource_names_unsubscribe_size()) == got->unsubscribe.size());
    for (int i = 0; i < known.resource_names_subscribe_size(); ++i)
        require(known.resource_names_subscribe(i) == got->subscribe[static_cast<size_t>(i)]);
    for (const auto& [name, version] : got->versions) require(known.initial_resource_versions().contains(std::string(name)));
}

struct World {
    World() {
        published.resize(1);
        published[0].type_url = "t";
        published[0].index = 0;
        publish();
    }
    void publish() {
        const std::string name(1, static_cast<char>('a' + round % 5)), key = "k" + std::to_string(round % 3);
        if (round % 7 == 6)
            set.erase(name), erased.insert(name);
        else
            require(set.set({name, std::to_string(round), base::as_bytes("body"), {key}, {"a"}}).has_value());
        published[0].set = set;
        published[0].generation = ++round;
    }
    xds::SessionOptions options{.max_names = 64, .max_message_bytes = 64, .max_types = 3};
    xds::EncodingCache cache{1 << 20};
    xds::ResourceSet set;
    xds::Published published;
    std::set<std::string> erased;
    uint64_t round = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    compare({data, size});
    World world;
    xds::ClientSession session(world.options, world.cache);
    std::set<std::string> nonces;
    while (size >= 2) {
        if ((data[0] & 0x80) != 0) world.publish();
        const size_t length = std::min<size_t>((data[0] & 0x7fu) << 8 | data[1], size - 2);
        const std::span<const uint8_t> request(data + 2, length);
        data += 2 + length, size -= 2 + length;
        if (!session.on_request(request, world.published)) return 0;
        std::set<std::string> types;
        while (const auto out = session.next(world.published, {})) {
            DeltaDiscoveryResponse response;
            require(response.ParseFromString(*out->body + out->tail));
            require(types.insert(response.type_url()).second && nonces.insert(response.nonce()).second);
            std::set<std::string> names;
            for (const auto& resource : response.resources()) {
                // The later pages of a publication come as it was, and then what was removed since.
                require(world.set.find(resource.name()) != nullptr || world.erased.contains(resource.name()));
                require(names.insert(resource.name()).second);
            }
            for (const auto& name : response.removed_resources()) require(!names.contains(name));
            for (const auto& name : response.removed_resources())
                require(response.type_url() != "t" || types.size() != 1 || world.set.find(name) == nullptr || nonces.size() > 1);
        }
        static_cast<void>(session.status());
    }
    return 0;
}
