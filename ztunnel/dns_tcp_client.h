// SPDX-License-Identifier: Apache-2.0
// One TCP client of the DNS proxy: queries in, answers out in any order (RFC 7766), several at a time up to a limit; closed when idle, when
// it breaks the framing, and when it does not take its answers. Belongs to the pod's loop; its owner buries it.
#pragma once

#include "base/loop.h"
#include "ztunnel/dns_message.h"

#include <chrono>
#include <vector>

namespace warren::ztunnel {

class DnsTcpClient final : public base::IoHandler, public base::Buried {
  public:
    class Owner {
      public:
        // To be answered by one reply(), now or later.
        virtual void on_message(DnsTcpClient& client, dns::Bytes message) = 0;
        // It has closed; to be buried. blocked: it did not take its answers.
        virtual void on_closed(DnsTcpClient& client, bool blocked) = 0;

      protected:
        ~Owner() = default;
    };
    struct Limits {
        size_t in_flight = 32;
        std::chrono::milliseconds idle{5'000};
    };
    static constexpr size_t kMaxQuery = 4096;         // of a client: one name and its options
    static constexpr size_t kMaxUnsent = 256 * 1024;  // answers of queries in flight, not taken

    // id is the owner's name for it.
    DnsTcpClient(base::Loop& loop, Owner& owner, base::Fd fd, uint64_t id, Limits limits);
    [[nodiscard]] uint64_t id() const { return id_; }
    [[nodiscard]] base::Result<void> start() { return loop_.add(fd_.get(), *this, interest_); }
    // After the client has closed: nothing.
    void reply(dns::Bytes message);
    // Without on_closed().
    void close();
    // Closes when what has been asked is answered; whoever has not asked yet may, once, until it is idle for too long.
    void drain();

  private:
    void on_io(uint32_t epoll_events) override;
    void on_idle();
    void read_some();
    void deliver();
    void flush();
    void settle();  // what to wait for now, or the end
    void fail(bool blocked);

    base::Loop& loop_;
    Owner& owner_;
    base::Fd fd_;
    const uint64_t id_;
    Limits limits_;
    base::Timer idle_;
    dns::Deframer in_{kMaxQuery};
    std::vector<uint8_t> out_;
    size_t sent_ = 0;
    size_t in_flight_ = 0;
    uint32_t interest_;
    bool eof_ = false;
    bool asked_ = false;
    bool draining_ = false;
    bool delivering_ = false;
};

}  // namespace warren::ztunnel
