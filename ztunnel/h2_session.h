// SPDX-License-Identifier: Apache-2.0
// H2Session: HTTP/2 for HBONE, one connection's framing and flow control over nghttp2, bytes in and bytes out (data-plane contract 4.2,
// 4.3, 4.7). DATA payload is never copied: received slices point into the caller's input, sent payload is read by the stream's owner
// straight into the gaps of the TLS output. Belongs to one worker thread. No fd, no clock.
//
// The owners' functions are called from receive(), send() and abort() only; from inside them every function of the session may be called,
// except that receive() and send() then do nothing and the session must not be destroyed. What a peer does wrong on one stream resets that
// stream; a header list over the limit resets it with ENHANCE_YOUR_CALM; a CONNECT without :authority, or with :scheme or :path, is
// malformed and reset with PROTOCOL_ERROR (RFC 9113 8.5) before on_request hears of it. Other methods reach on_request.
#pragma once

#include "base/result.h"
#include "ztunnel/sealed_output.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::ztunnel {

enum class H2Role : uint8_t { Client, Server };

struct H2Settings {
    uint32_t stream_window = 4 * 1024 * 1024;
    uint32_t connection_window = 16 * 1024 * 1024;
    uint32_t max_frame = 1024 * 1024;
    uint32_t max_header_list = 16 * 1024;   // 64 KiB on the server side
    uint32_t max_concurrent_streams = 200;  // advertised by the server side only
};

using Header = std::pair<std::string_view, std::string_view>;

// A CONNECT request as it arrived. Texts are borrowed for the call.
struct H2Request {
    std::string_view method;
    std::string_view authority;
    std::span<const Header> headers;  // without pseudo-headers, in order, names lower-case
};
struct H2Response {
    int status = 0;
    std::span<const Header> headers;
};

// Why a stream ended before its time.
struct H2Reset {
    uint32_t code = 0;   // RFC 9113 section 7
    bool local = false;  // we reset it, or the connection failed under it
};

// The owner of one stream. The session borrows it from open/accept until on_closed, which is the last call and comes exactly once.
class H2Stream {
  public:
    // Client: the final response headers.
    virtual void on_response(const H2Response& response) = 0;
    // A slice of DATA, inside the caller's input. Credit is returned by H2Session::consume when the bytes have left, not before; the
    // connection's by consume_connection for every byte that came, even after the stream has gone.
    virtual void on_data(std::span<uint8_t> data) = 0;
    // The peer half-closed cleanly (END_STREAM).
    virtual void on_end() = 0;
    // Fill the gaps with payload to send. Ready with n > 0, WouldBlock (call resume() when there is more), Eof (END_STREAM follows), or
    // Failed (the stream is reset with CONNECT_ERROR, RFC 9113 8.5). Called for the first time once the headers have left.
    virtual base::Io read_payload(std::span<const iovec> gaps) = 0;
    // Gone: both sides ended (reset null), or torn down. The stream is out of the session already. REFUSED_STREAM that is not local means
    // that the peer did nothing with it (RFC 9113 8.7): it may be tried elsewhere.
    virtual void on_closed(const H2Reset* reset) = 0;

  protected:
    ~H2Stream() = default;
};

// The owner of the connection.
class H2Events {
  public:
    // Server: a request arrived whose headers are complete. Return its owner, or null after having called refuse(). `id` names the stream.
    virtual H2Stream* on_request(int32_t id, const H2Request& request) = 0;
    // The peer wants no new streams above last_id (GOAWAY).
    virtual void on_goaway(int32_t last_id, uint32_t code) = 0;
    // The answer to ping() arrived.
    virtual void on_pong() = 0;
    // The peer's limit of concurrent streams is now known or changed.
    virtual void on_peer_settings(uint32_t max_concurrent_streams) = 0;

  protected:
    ~H2Events() = default;
};

struct H2Counters {
    uint64_t streams_opened = 0, streams_reset = 0, refused = 0;
    uint64_t floods = 0;  // connections ended for abuse: rapid reset, CONTINUATION, SETTINGS, PING, WINDOW_UPDATE, empty frames
};

class H2Session {
  public:
    static constexpr size_t kFrameHead = 9;  // RFC 9113 4.1
    // The largest DATA frame sent, if the peer allows it: what sixteen TLS records, the gaps of one reservation, hold with its head.
    static constexpr size_t kMostPayload = 16 * 16384 - kFrameHead;

    // Queues the preface and SETTINGS.
    static base::Result<std::unique_ptr<H2Session>> create(H2Role role, const H2Settings& settings, H2Events& events);
    virtual ~H2Session() = default;

    // Plaintext in order. An error is final (protocol error, flood): GOAWAY is queued, flush and close.
    virtual base::Result<void> receive(std::span<uint8_t> plaintext) = 0;
    // Writes queued frames until there is nothing to send or the output is full; true when there is more to send.
    virtual base::Result<bool> send(SealedOutput& output) = 0;
    // Is there anything that send() would write now?
    [[nodiscard]] virtual bool wants_send() const = 0;
    // Neither side has anything left to do: close.
    [[nodiscard]] virtual bool finished() const = 0;

    // Client: opens a CONNECT stream. Fails when the peer's limit of streams is reached (100 until its SETTINGS arrive), after GOAWAY in
    // either direction, when the ids are used up, and when a header cannot be sent as it is.
    virtual base::Result<int32_t> connect(std::string_view authority, std::span<const Header> headers, H2Stream& stream) = 0;
    // Server: 200 with headers; DATA may follow from read_payload.
    virtual void accept(int32_t id, std::span<const Header> headers) = 0;
    // Server: an error status that ends the stream at once, no body, no further headers (contract 4.5). The owner, if there is one, hears
    // nothing more but on_closed.
    virtual void refuse(int32_t id, int status) = 0;
    // There is payload again.
    virtual void resume(int32_t id) = 0;
    // Bytes of on_data have left: returns stream credit, in steps of half the window. Connection credit is returned separately so that a
    // slow stream does not stall its neighbours.
    virtual void consume(int32_t id, size_t n) = 0;
    virtual void consume_connection(size_t n) = 0;
    // The owner hears nothing more but on_closed, from the next send() even if the output is full then.
    virtual void reset(int32_t id, uint32_t code) = 0;
    // Graceful: the two-step GOAWAY of RFC 9113 6.8, streams go on; the second step follows the answer to a PING. A client opens no more
    // streams and says so at once. Not graceful: GOAWAY with code, everything is cut (on_closed from the next send()).
    virtual void goaway(bool graceful, uint32_t code = 0) = 0;
    // One is in flight at most.
    virtual void ping() = 0;
    // About every ten seconds: renews what the peer may send without moving anything (h2_floods.h). An idle connection whose peer keeps it
    // alive with PINGs depends on it.
    virtual void tick() = 0;
    // The connection is gone: on_closed (local) for every open stream, now; nothing but the destructor has an effect afterwards.
    virtual void abort() = 0;

    [[nodiscard]] virtual size_t active_streams() const = 0;
    [[nodiscard]] virtual const H2Counters& counters() const = 0;
};

}  // namespace warren::ztunnel
