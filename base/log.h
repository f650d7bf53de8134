// SPDX-License-Identifier: Apache-2.0
// The log: areas with a level each, structured events, one line per event (data-plane contract section 9.5). Any thread may write,
// anywhere; the hidden cost of a disabled event is one relaxed load, and its arguments are not evaluated.
//
//   const log::Area kXds("xds");                                        // a global; its name is the target and the JSON scope
//   WARREN_LOG(kXds, log::Level::Info, "stream closed", {"peer", log::Plain{addr}}, {"messages", n});
//
// Lines go through spdlog loggers (one per area) into the bounded queue of base/log_writer.h. Before start() and after stop() they go
// straight to standard error in text: a program that never starts the log (the CNI plugin, whose stdout is its protocol) still speaks.
// start, stop and set_filter are for main and the admin thread.
#pragma once

#include "base/log_filter.h"
#include "base/log_line.h"
#include "base/log_writer.h"
#include "base/result.h"

#include <atomic>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace warren::base::log {

class Area {
  public:
    explicit Area(std::string target);
    ~Area();
    Area(const Area&) = delete;
    Area& operator=(const Area&) = delete;

    [[nodiscard]] bool enabled(Level level) const noexcept { return level <= threshold_.load(std::memory_order_relaxed); }
    [[nodiscard]] Level level() const noexcept { return threshold_.load(std::memory_order_relaxed); }
    [[nodiscard]] const std::string& target() const noexcept { return target_; }

    // Writes without looking at the level: use the macro.
    void write(Level level, std::string_view message, std::initializer_list<Field> fields) const noexcept;

  private:
    friend struct Registry;
    struct Backend;

    const std::string target_;
    std::atomic<Level> threshold_{Level::Info};
    std::unique_ptr<Backend> backend_;
};

struct Options : Writer::Options {
    Format format = Format::Text;
};

// Starts the writer thread; standard output unless told otherwise. Refused while started. What is queued is flushed when the process exits.
Result<void> start(const Options& options = {});
// True: every line written before the call reached the descriptor. False: the deadline passed.
bool flush(std::chrono::milliseconds deadline = std::chrono::seconds(1));
// Flushes within the deadline and ends the writer thread; false when it had to be left behind. Nothing to do when not started.
bool stop(std::chrono::milliseconds deadline = std::chrono::seconds(1));

// Takes effect at once, on areas made before and after. The first filter is "info".
void set_filter(const Filter& filter);
[[nodiscard]] Filter filter();

// Since the process began, over every start().
[[nodiscard]] Stats stats();

}  // namespace warren::base::log

#define WARREN_LOG(area, level, message, ...)                                       \
    do {                                                                            \
        if ((area).enabled(level)) (area).write((level), (message), {__VA_ARGS__}); \
    } while (false)
