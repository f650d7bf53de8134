// SPDX-License-Identifier: Apache-2.0
// SealedOutput: where plaintext becomes TLS records and leaves through a socket. Callers write straight into the gaps of records that
// are still open (reserve, commit), so payload is read from the application's socket into its final place, encrypted there, and sent
// with one call for about sixteen records. Two implementations: Warren's record layer (tls_records.h) and plain OpenSSL.
// Belongs to one worker thread; bytes in, bytes out, the only I/O is flush().
#pragma once

#include "base/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/uio.h>

namespace warren::ztunnel {

// Free space for one frame, in order. Never more than the sixteen records of a chunk, each continued in the next.
struct Gaps {
    std::array<iovec, 17> iov;
    int count = 0;
    size_t bytes = 0;
};

class SealedOutput {
  public:
    virtual ~SealedOutput() = default;

    // Space for `head` contiguous bytes to be written at commit, followed by at most `max` bytes of payload. False: full, flush first.
    // Nothing is taken until commit; a second reserve replaces the first.
    virtual bool reserve(size_t head, size_t max, Gaps& gaps) = 0;
    // Takes the reserved head (filled with these bytes) and the first n payload bytes, which the caller has written into the gaps.
    virtual void commit(std::span<const uint8_t> head, size_t n) = 0;
    // Copies small things (control frames). False: full, nothing taken.
    virtual bool append(std::span<const uint8_t> bytes) = 0;

    // Seals what is open and writes to the socket until it is empty or the socket is full.
    // Ready: all sent. WouldBlock: wait for EPOLLOUT. Failed: os holds errno.
    virtual base::Io flush(int fd) = 0;
    // Bytes taken and not yet accepted by the socket.
    [[nodiscard]] virtual size_t pending() const = 0;
};

}  // namespace warren::ztunnel
