// SPDX-License-Identifier: Apache-2.0
// TlsSession: one side of one TLS 1.3 connection, bytes in and bytes out (data-plane contract 4.4). OpenSSL shakes hands; afterwards
// records are opened and sealed by Warren's record layer (tls_records.h) under the traffic secrets of that handshake, or by OpenSSL
// itself where TlsRecords::OpenSsl is configured. Belongs to one worker thread. No fd, no clock.
#pragma once

#include "base/result.h"
#include "policy/identity.h"
#include "ztunnel/chunk.h"
#include "ztunnel/sealed_output.h"
#include "ztunnel/tls_context.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace warren::ztunnel {

// Where TLS 1.2 is allowed, every session is of the second kind: OpenSSL keeps the keys of TLS 1.2 to itself.
enum class TlsRecords : uint8_t { Warren, OpenSsl };
enum class TlsRole : uint8_t { Client, Server };

// Who the other side proved to be.
struct TlsPeer {
    policy::Identity identity;           // the first URI SAN that parses (contract 4.4); empty when there is none
    std::vector<std::string> chain_der;  // leaf first, as verified: for the re-check against revocation lists
    std::string cipher;                  // "TLS_AES_128_GCM_SHA256"
    std::string group;                   // key exchange, "X25519"
};

// One record taken from the front of the input.
struct TlsOpened {
    size_t consumed = 0;      // 0: the input does not hold a whole record yet
    std::span<uint8_t> data;  // application bytes; inside the input (decrypted in place), or valid until the next call
    bool closed = false;      // close_notify: nothing follows
};

class TlsSession {
  public:
    // expected: identities of which the peer must prove one (client side; an empty list always fails). The server side asks only for a
    // certificate of the own trust domain or an alias of it.
    static base::Result<std::unique_ptr<TlsSession>> create(std::shared_ptr<const TlsContext> context, TlsRole role,
                                                            std::span<const policy::Identity> expected, ChunkPool& chunks,
                                                            TlsRecords records);
    virtual ~TlsSession() = default;

    // -- handshake. Takes whole records from the front of `in` until the handshake is done; returns how many bytes it took. What is
    // left belongs to open(). An error is final: the alert to send is in output(), the reason in the error.
    virtual base::Result<size_t> handshake(std::span<uint8_t> in) = 0;
    [[nodiscard]] virtual bool established() const = 0;
    [[nodiscard]] virtual const TlsPeer& peer() const = 0;  // once established

    // -- afterwards
    // Opens one record in place. Key updates and tickets are dealt with inside (consumed > 0, no data). Errors are final.
    virtual base::Result<TlsOpened> open(std::span<uint8_t> in) = 0;
    // Queues close_notify; nothing may be written afterwards.
    virtual void close() = 0;
    // Handshake bytes, alerts and sealed application data, in order.
    virtual SealedOutput& output() = 0;
};

}  // namespace warren::ztunnel
