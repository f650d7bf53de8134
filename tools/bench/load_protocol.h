// SPDX-License-Identifier: Apache-2.0
// What `warren-bench load` and `warren-bench serve` say to each other: the first byte of a connection tells the server what it is for.
#pragma once

#include <cstddef>

namespace warren::bench {

enum class LoadKind : char {
    Echo = 'e',  // what comes goes back
    Once = 'o',  // one byte goes back, then the server closes: the client is left without sockets in TIME_WAIT
    Take = 't',  // discarded to its end; the answer is how many bytes came, eight bytes in network order
    Give = 'g',  // the server sends until the client is gone
};

// One read or write of bulk: large enough that system calls are no part of the figure, small enough for the cache.
inline constexpr size_t kLoadChunkBytes = 256 << 10;
inline constexpr size_t kTakenBytes = 8;

}  // namespace warren::bench
