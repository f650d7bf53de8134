// SPDX-License-Identifier: Apache-2.0
// What a daemon needs only while it starts: code of libraries that initialise themselves (gRPC and protobuf above all), and heap that the
// start freed. release_startup_memory() gives both back; what is still used comes back from the page cache by minor faults, a page at a
// time. To be called once, by main, some seconds after the start.
#pragma once

#include <cstddef>

namespace warren::base {

// Bytes of mapped program text that were given back; segments with text relocations, which a file no longer has, stay.
size_t release_startup_memory();

// Blocks of a megabyte and more are mappings of their own from now on, and go back to the kernel when they are freed. Left alone, glibc
// takes such sizes from the heap once one was freed (mallopt(3)), and a first sync's message stays resident. By main, before threads.
void keep_large_blocks_apart();

}  // namespace warren::base
