// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_ring.h"

#include <bpf/libbpf.h>

#include <sys/epoll.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace warren::node {
namespace {

struct FreeRing {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class Ring final : public FlowRing, private base::IoHandler {
  public:
    Ring(base::Loop& loop, std::chrono::milliseconds period, Take take)
        : loop_(loop), period_(period), take_(std::move(take)), timer_(base::Timer::of<&Ring::on_timer>(*this)) {}
    ~Ring() override {
        loop_.remove(*this);
        loop_.disarm(timer_);
    }
    base::Result<void> open(int map_fd) {
        ring_.reset(ring_buffer__new(map_fd, &Ring::on_record, this, nullptr));
        if (!ring_) return base::os_error("ring_buffer__new", "wr_flows");
        TRY(loop_.add(ring_buffer__epoll_fd(ring_.get()), *this, EPOLLIN));
        loop_.arm(timer_, period_);
        return {};
    }
    void drain() override { (void)ring_buffer__consume(ring_.get()); }
    uint64_t records() const override { return records_; }
    uint64_t malformed() const override { return malformed_; }

  private:
    void on_io(uint32_t) override { drain(); }
    void on_timer() {
        drain();
        loop_.arm(timer_, period_);
    }
    static int on_record(void* context, void* data, size_t size) {
        auto& self = *static_cast<Ring*>(context);
        wr_flow_event event;
        if (size != sizeof event) {
            ++self.malformed_;
            return 0;
        }
        std::memcpy(&event, data, sizeof event);
        ++self.records_;
        self.take_(event);
        return 0;
    }

    base::Loop& loop_;
    const std::chrono::milliseconds period_;
    const Take take_;
    base::Timer timer_;
    std::unique_ptr<ring_buffer, FreeRing> ring_;
    std::atomic<uint64_t> records_ = 0, malformed_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<FlowRing>> FlowRing::start(base::Loop& loop, int map_fd, std::chrono::milliseconds period, Take take) {
    auto ring = std::make_unique<Ring>(loop, period, std::move(take));
    TRY(ring->open(map_fd));
    return std::unique_ptr<FlowRing>(std::move(ring));
}

}  // namespace warren::node
