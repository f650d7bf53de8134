// SPDX-License-Identifier: Apache-2.0
// warren.bpf.o, byte for byte, inside the agent: one file to install, and the programs always fit it. CMakeLists.txt rebuilds this when
// the object changes.
#include "agent/node/kernel_object.h"

// Aligned as libbpf's ELF reader wants it.
__asm__(
    ".section .rodata\n"
    ".balign 16\n"
    "warren_bpf_object_begin:\n"
    ".incbin \"" WARREN_BPF_OBJECT_PATH
    "\"\n"
    "warren_bpf_object_end:\n"
    ".byte 0\n"
    ".global warren_bpf_object_begin, warren_bpf_object_end\n"
    ".text\n");

extern "C" {
extern const uint8_t warren_bpf_object_begin[];
extern const uint8_t warren_bpf_object_end[];
}

namespace warren::node {

std::span<const uint8_t> embedded_object() { return {warren_bpf_object_begin, warren_bpf_object_end}; }

}  // namespace warren::node
