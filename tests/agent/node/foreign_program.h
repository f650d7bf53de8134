// SPDX-License-Identifier: Apache-2.0
// A stand-in for other products that share our hooks.
#pragma once

#include "base/fd.h"

#include <cstdint>

namespace warren::tests {

// A connect4 program that sends what goes to one port to another, as those do that balance services, and to another address unless that is
// 0 (network order). Not attached.
base::Fd foreign_connect4(uint16_t from_port, uint16_t to_port, uint32_t to_address = 0);

}  // namespace warren::tests
