// SPDX-License-Identifier: Apache-2.0
// Whether a map that an earlier agent pinned can be used by this one's programs; part of kernel_object.cpp. Refusals name the map, what
// differs and the way out. No thread affinity.
#pragma once

#include "agent/node/pins.h"
#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::node {

struct MapShape {
    std::string name;
    uint32_t type = 0, key_size = 0, value_size = 0, entries = 0, flags = 0;
};

struct MapFit {
    bool move_rows = false;  // only the agent writes it: a new map of the wanted size gets the rows
    uint32_t entries = 0;    // otherwise, what it has
};

// The rows' version, in the pinned wr_config. A map that was never written counts as ours.
base::Result<void> check_abi_version(const Pins& pins);
base::Result<MapFit> compare_maps(const MapShape& wanted, int pinned_fd, const Pins& pins);
base::Result<void> copy_rows(const std::string& name, int from_fd, int to_fd);
// A map that no program uses: the pinned one if it is large enough, else one of this size with its rows, pinned.
struct OwnMap {
    uint32_t type;
    const char* name;
    uint32_t key_size, value_size, entries, flags;
};
base::Result<base::Fd> own_map(const Pins& pins, const OwnMap& wanted);
base::Result<uint32_t> map_id(int fd);
// From the fdinfo; 0: not said.
uint64_t map_bytes(int fd);

}  // namespace warren::node
