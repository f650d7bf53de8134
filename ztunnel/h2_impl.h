// SPDX-License-Identifier: Apache-2.0
// H2Impl: H2Session over nghttp2 1.52. Private to h2_session.cpp (what owners call), h2_receive.cpp and h2_send.cpp (what nghttp2 calls).
//
// Streams are found by id and never through nghttp2's user data, because both sides drop a stream at their own time: the session when the
// owner has heard of its end, nghttp2 when the frame that says so has left.
#pragma once

#include "ztunnel/h2_floods.h"
#include "ztunnel/h2_memory.h"
#include "ztunnel/h2_session.h"

#include <nghttp2/nghttp2.h>

#include <array>
#include <optional>
#include <unordered_map>

namespace warren::ztunnel {

class H2Impl final : public H2Session {
  public:
    H2Impl(H2Role role, const H2Settings& settings, H2Events& events);
    ~H2Impl() override;
    H2Impl(const H2Impl&) = delete;
    H2Impl& operator=(const H2Impl&) = delete;
    [[nodiscard]] base::Result<void> start();

    base::Result<void> receive(std::span<uint8_t> plaintext) override;
    base::Result<bool> send(SealedOutput& output) override;
    [[nodiscard]] bool wants_send() const override;
    [[nodiscard]] bool finished() const override;
    base::Result<int32_t> connect(std::string_view authority, std::span<const Header> headers, H2Stream& stream) override;
    void accept(int32_t id, std::span<const Header> headers) override;
    void refuse(int32_t id, int status) override;
    void resume(int32_t id) override;
    void consume(int32_t id, size_t n) override;
    void consume_connection(size_t n) override;
    void reset(int32_t id, uint32_t code) override;
    void goaway(bool graceful, uint32_t code) override;
    void ping() override;
    void tick() override { floods_.tick(); }
    void abort() override;
    [[nodiscard]] size_t active_streams() const override { return streams_.size(); }
    [[nodiscard]] const H2Counters& counters() const override { return counters_; }

    // nghttp2's callbacks, h2_receive.cpp. They return 0 or NGHTTP2_ERR_CALLBACK_FAILURE, which ends the connection.
    int on_begin_headers(const nghttp2_frame& frame);
    int on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value, bool valid);
    int on_frame(const nghttp2_frame& frame);
    int on_chunk(int32_t id, const uint8_t* data, size_t n);
    int on_invalid_frame(const nghttp2_frame& frame, int why);
    int on_stream_close(int32_t id, uint32_t code);
    // h2_send.cpp
    ssize_t on_read(int32_t id, size_t most, uint32_t& flags);
    int on_data(std::span<const uint8_t> head, size_t n);
    int on_sent(const nghttp2_frame& frame);
    int on_not_sent(const nghttp2_frame& frame, int why);

  private:
    struct Stream {
        H2Stream* owner = nullptr;  // borrowed until on_closed; null for a request nobody took
        uint32_t reset_code = 0;
        uint32_t round = 0;      // the last in which it sent
        bool answered = false;   // server: the response has left; client: the final response has arrived
        bool responded = false;  // server: accept or refuse was called
        bool refused = false;
        bool local_reset = false;
        bool peer_reset = false;
        bool ended = false;    // END_STREAM received
        bool again = false;    // waits for the next round
        bool reading = false;  // in read_payload
        bool resumed = false;  // resume() came from there
        bool blamed = false;   // a mistake of the peer on it has been counted
        // What the owner may still hear of is its end.
        [[nodiscard]] bool deaf() const { return owner == nullptr || local_reset || refused; }
    };
    // One header block at a time is under way on a connection (RFC 9113 4.3).
    struct HeaderBlock {
        struct Field {
            uint32_t name_at, name_bytes, value_bytes;
        };
        std::string text;
        std::vector<Field> fields;
        std::string method, authority;
        int status = 0;
        size_t size = 0;      // RFC 9113 6.5.2: names, values and 32 for each
        bool doomed = false;  // its stream is being reset
        bool keep = true;     // not trailers
        void forget();
    };
    // Marks the time in which the owners' functions may be running.
    struct Inside {
        explicit Inside(H2Impl& of) : h2(of) { h2.inside_ = true; }
        ~Inside() { h2.inside_ = false; }
        H2Impl& h2;
    };

    [[nodiscard]] Stream* find(int32_t id);
    [[nodiscard]] bool terminating() const;
    [[nodiscard]] uint32_t peer_limit() const;
    base::Error fail(base::Error error, uint32_t code);
    base::Error flooded();
    void respond(int32_t id, Stream& stream, int status, std::span<const Header> headers);

    void deliver_request(int32_t id, bool end);
    void deliver_response(int32_t id, bool end);
    void doom(int32_t id);
    void end_of_stream(int32_t id);
    void on_ping(const nghttp2_frame& frame);
    void close(std::unordered_map<int32_t, Stream>::node_type node, uint32_t code, bool local);

    void close_reset_streams();
    bool next_round();
    base::Io read_from(int32_t id, std::span<const iovec> gaps);
    ssize_t fail_read(int32_t id);

    H2Role role_;
    H2Settings settings_;
    H2Events& events_;
    H2Memory memory_;
    nghttp2_session* session_ = nullptr;
    std::unordered_map<int32_t, Stream> streams_;
    std::unique_ptr<HeaderBlock> block_;
    std::vector<int32_t> closing_;     // reset here; their owners hear of it in the next send()
    std::vector<int32_t> again_;       // have sent in this round and may have more
    std::span<uint8_t> input_;         // while in receive()
    SealedOutput* output_ = nullptr;   // while in send()
    std::span<const uint8_t> unsent_;  // of nghttp2's frame buffer: what the output had no room for
    std::optional<size_t> read_;       // bytes in the reserved gaps that nghttp2 has yet to commit
    std::optional<base::Error> failed_;
    H2Floods floods_;
    H2Counters counters_;
    uint64_t pings_ = 0;
    uint32_t round_ = 1;
    int broken_ = 0;  // nghttp2's reason for ending the connection, where it gave one
    bool inside_ = false;
    bool full_ = false;          // the output refused in this send()
    bool pinged_ = false;        // ping() is not answered yet
    bool draining_ = false;      // goaway(true)
    bool drain_pinged_ = false;  // the PING after the notice is not answered yet
    bool final_goaway_ = false;
    bool cut_ = false;  // goaway(false)
    bool aborted_ = false;
    bool peer_goaway_ = false;
};

}  // namespace warren::ztunnel
