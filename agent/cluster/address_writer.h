// SPDX-License-Identifier: Apache-2.0
// Gives hosts of ServiceEntries their virtual addresses (address_allocator.h) and writes them into status.addresses, from where every
// replica, and whoever else reads the entry, takes them (Kubernetes contract 2.8).
#pragma once

#include "agent/cluster/address_allocator.h"
#include "agent/cluster/object_change.h"
#include "agent/kube/client.h"
#include "base/backoff.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>

namespace warren::cluster {

// Writes while leading, one entry after the other; what fails waits, for longer each time, and holds up nothing else. start, stop and the
// destructor belong to one owner; update to one thread, and it does not block.
class AddressWriter {
  public:
    // The client outlives it. leading: asked before each write. Entries of another revision are left alone.
    AddressWriter(kube::Client& client, std::function<bool()> leading, AddressRanges ranges, std::string revision);
    ~AddressWriter();

    void start();
    void stop();
    // As SourceHandler::changed.
    void update(const Objects& objects, std::span<const Change> changes);

    struct Stats {
        uint64_t writes = 0, errors = 0;
        size_t waiting = 0;  // entries that lack an address
        size_t taken = 0;    // addresses
        std::string last_error;
    };
    [[nodiscard]] Stats stats() const;

  private:
    using Clock = std::chrono::steady_clock;
    struct Again {
        Clock::time_point not_before{};
        base::Backoff backoff{base::Backoff::Mode::Exponential, std::chrono::seconds(1), std::chrono::minutes(5)};
    };
    void put(const ServiceEntry& entry);
    void run();
    void write_all(std::unique_lock<std::mutex>& lock);
    base::Result<bool> write(const AddressAllocator::Assignment& assignment);
    void failed(const std::string& key, const base::Error& why);

    kube::Client& client_;
    const std::function<bool()> leading_;
    const std::string revision_;
    base::RandomEngine random_ = base::make_random_engine();  // of the writer's thread
    std::thread thread_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false, dirty_ = false;
    bool failing_ = false;  // the last write did, and the log says so
    AddressAllocator allocator_;
    std::map<std::string, Again> again_;  // what failed; of entries that still lack something
    Stats stats_;
};

}  // namespace warren::cluster
