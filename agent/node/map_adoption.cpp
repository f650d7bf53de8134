// SPDX-License-Identifier: Apache-2.0
#include "agent/node/map_adoption.h"

#include "agent/node/typed_map.h"
#include "base/log.h"
#include "bpf/abi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

namespace warren::node {

namespace {

const base::log::Area kArea("kernel");

// Written by the agent alone, so that its rows may move while the old programs still read the old map.
constexpr std::array<std::string_view, 9> kAgentWrites = {"wr_config", "wr_pods",     "wr_addrs",    "wr_tunnels",  "wr_kubelets",
                                                          "wr_ranges", "wr_verdicts", "wr_services", "wr_endpoints"};

base::Result<bpf_map_info> info_of(int fd, const std::string& name) {
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return base::os_error("map info", name);
    return info;
}

std::string kind_of(uint32_t type) {
    const char* name = ::libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
    return name ? name : std::to_string(type);
}

base::Error refused(const std::string& what, const Pins& pins) {
    return {base::Errc::Unsupported, 0, "adopt",
            what +
                "; the programs of the earlier agent go on unchanged. Start the version that pinned it, or remove its redirection with "
                "`warren-agent uninstall --instance " +
                pins.instance() + "` (enrolled pods are outside the mesh until this agent has started) and start again"};
}

}  // namespace

base::Result<void> check_abi_version(const Pins& pins) {
    const base::Fd fd = TRY(pins.get_map("wr_config"));
    if (!fd) return {};
    const bpf_map_info info = TRY(info_of(fd.get(), "wr_config"));
    if (info.key_size != sizeof(uint32_t) || info.value_size < sizeof(uint32_t)) return {};  // compare_maps says what is wrong
    std::vector<std::byte> row(info.value_size);
    const uint32_t zero = 0;
    if (::bpf_map_lookup_elem(fd.get(), &zero, row.data()) != 0) return base::os_error("map lookup", "wr_config");
    uint32_t version = 0;
    __builtin_memcpy(&version, row.data(), sizeof version);
    if (version == 0 || version == WARREN_ABI_VERSION) return {};
    return refused("map " + pins.map_path("wr_config") + ": its rows are of version " + std::to_string(version) +
                       ", this agent reads version " + std::to_string(WARREN_ABI_VERSION),
                   pins);
}

base::Result<MapFit> compare_maps(const MapShape& wanted, int pinned_fd, const Pins& pins) {
    const bpf_map_info info = TRY(info_of(pinned_fd, wanted.name));
    const auto differs = [&](const char* what, const std::string& is, const std::string& should) {
        return refused("map " + pins.map_path(wanted.name) + ": its " + what + " is " + is + ", this agent was built for " + should, pins);
    };
    if (info.type != wanted.type) return differs("kind", kind_of(info.type), kind_of(wanted.type));
    if (info.key_size != wanted.key_size) return differs("key's size", std::to_string(info.key_size), std::to_string(wanted.key_size));
    if (info.value_size != wanted.value_size)
        return differs("value's size", std::to_string(info.value_size), std::to_string(wanted.value_size));
    if (info.map_flags != wanted.flags) return differs("flags", std::to_string(info.map_flags), std::to_string(wanted.flags));
    if (info.max_entries == wanted.entries || wanted.entries == 0) return MapFit{.entries = info.max_entries};
    if (std::find(kAgentWrites.begin(), kAgentWrites.end(), wanted.name) != kAgentWrites.end()) return MapFit{.move_rows = true};
    WARREN_LOG(kArea, base::log::Level::Warn, "the kernel writes this map: it keeps its size until the node restarts or after uninstall",
               {"map", wanted.name}, {"entries", info.max_entries}, {"wanted", wanted.entries});
    return MapFit{.entries = info.max_entries};
}

base::Result<void> copy_rows(const std::string& name, int from_fd, int to_fd) {
    const bpf_map_info info = TRY(info_of(from_fd, name));
    const RawMap from = TRY(RawMap::bind(name, from_fd, info.key_size, info.value_size));
    const RawMap to = TRY(RawMap::bind(name, to_fd, info.key_size, info.value_size));
    std::vector<std::byte> keys, values;
    const size_t rows = TRY(from.read(keys, &values));
    if (rows > to.capacity()) {
        return base::Error{base::Errc::Exhausted, 0, "adopt",
                           "map " + name + " holds " + std::to_string(rows) + " rows, its new size is " + std::to_string(to.capacity()) +
                               "; raise it in the settings"};
    }
    return to.update_many(keys.data(), values.data(), rows);
}

base::Result<base::Fd> own_map(const Pins& pins, const OwnMap& wanted) {
    base::Fd pinned = TRY(pins.get_map(wanted.name));
    if (pinned && TRY(info_of(pinned.get(), wanted.name)).max_entries >= wanted.entries) return pinned;
    ::bpf_map_create_opts options{};
    options.sz = sizeof options;
    options.map_flags = wanted.flags;
    base::Fd made(::bpf_map_create(static_cast<bpf_map_type>(wanted.type), wanted.name, wanted.key_size, wanted.value_size, wanted.entries,
                                   &options));
    if (!made) return base::os_error("make map", wanted.name);
    if (pinned) TRY(copy_rows(wanted.name, pinned.get(), made.get()));
    TRY(pins.pin_map(wanted.name, made.get()));
    return made;
}

base::Result<uint32_t> map_id(int fd) { return TRY(info_of(fd, "id")).id; }

uint64_t map_bytes(int fd) {
    std::ifstream in("/proc/self/fdinfo/" + std::to_string(fd));
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("memlock:")) return std::strtoull(line.c_str() + 8, nullptr, 10);
    return 0;
}

}  // namespace warren::node
