// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace warren::base::log {
namespace {

// Where every area's spdlog logger ends. The payload is the whole line: the order of head and fields is the contract's, not a pattern's.
class QueueSink final : public spdlog::sinks::sink {
  public:
    void log(const spdlog::details::log_msg& msg) override {
        const auto writer = current();
        if (writer)
            writer->push(std::string(msg.payload.data(), msg.payload.size()));
        else if (::write(STDERR_FILENO, msg.payload.data(), msg.payload.size()) < 0)
            early_failed.fetch_add(1, std::memory_order_relaxed);
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

    [[nodiscard]] std::shared_ptr<Writer> current() const {
        const std::scoped_lock lock(mutex_);
        return writer_;
    }
    std::shared_ptr<Writer> exchange(std::shared_ptr<Writer> writer) {
        const std::scoped_lock lock(mutex_);
        writer_.swap(writer);
        return writer;
    }

    std::atomic<uint64_t> early_failed{0};

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<Writer> writer_;
};

spdlog::level::level_enum spdlog_level(Level level) {
    switch (level) {
        case Level::Error: return spdlog::level::err;
        case Level::Warn: return spdlog::level::warn;
        case Level::Info: return spdlog::level::info;
        case Level::Debug: return spdlog::level::debug;
        case Level::Off:
        case Level::Trace: break;
    }
    return spdlog::level::trace;
}

}  // namespace

struct Area::Backend {
    spdlog::logger logger;
};

struct Registry {
    std::mutex mutex;
    std::vector<Area*> areas;
    Filter filter;
    Stats past;  // of writers that were stopped
    bool at_exit = false;
    std::atomic<Format> format{Format::Text};
    const std::shared_ptr<QueueSink> sink = std::make_shared<QueueSink>();

    // Never destroyed: destructors of other globals may still write.
    static Registry& get() {
        static Registry& registry = *new Registry;
        return registry;
    }
    static void set_level(Area& area, Level level) { area.threshold_.store(level, std::memory_order_relaxed); }
};

Area::Area(std::string target) : target_(std::move(target)) {
    Registry& r = Registry::get();
    backend_ = std::make_unique<Backend>(Backend{spdlog::logger(target_, r.sink)});
    backend_->logger.set_level(spdlog::level::trace);  // threshold_ decides, without leaving the header
    const std::scoped_lock lock(r.mutex);
    r.areas.push_back(this);
    threshold_.store(r.filter.level_for(target_), std::memory_order_relaxed);
}

Area::~Area() {
    Registry& r = Registry::get();
    const std::scoped_lock lock(r.mutex);
    std::erase(r.areas, this);
}

void Area::write(Level level, std::string_view message, std::initializer_list<Field> fields) const noexcept {
    if (level == Level::Off) return;
    thread_local std::string line;
    line.clear();
    const Event event{std::chrono::system_clock::now(), level, target_, message, {fields.begin(), fields.size()}};
    append_line(line, Registry::get().format.load(std::memory_order_relaxed), event);
    backend_->logger.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

Result<void> start(const Options& options) {
    Registry& r = Registry::get();
    const std::scoped_lock lock(r.mutex);
    if (r.sink->current()) return Error{Errc::Exists, 0, "start the log", "already started"};
    std::shared_ptr<Writer> writer = TRY(Writer::start(options));
    r.format.store(options.format, std::memory_order_relaxed);
    r.sink->exchange(std::move(writer));
    if (!r.at_exit) r.at_exit = std::atexit([] { stop(); }) == 0;
    return {};
}

bool flush(std::chrono::milliseconds deadline) {
    const auto writer = Registry::get().sink->current();
    return !writer || writer->flush(deadline);
}

bool stop(std::chrono::milliseconds deadline) {
    Registry& r = Registry::get();
    const auto writer = r.sink->exchange(nullptr);
    if (!writer) return true;
    r.format.store(Format::Text, std::memory_order_relaxed);
    const bool whole = writer->stop(deadline);
    const Stats s = writer->stats();
    const std::scoped_lock lock(r.mutex);
    r.past = {r.past.written + s.written, r.past.dropped + s.dropped, r.past.failed + s.failed};
    return whole;
}

void set_filter(const Filter& filter) {
    Registry& r = Registry::get();
    const std::scoped_lock lock(r.mutex);
    r.filter = filter;
    for (Area* area : r.areas) Registry::set_level(*area, filter.level_for(area->target()));
}

Filter filter() {
    Registry& r = Registry::get();
    const std::scoped_lock lock(r.mutex);
    return r.filter;
}

Stats stats() {
    Registry& r = Registry::get();
    const auto writer = r.sink->current();
    const std::scoped_lock lock(r.mutex);
    Stats s = r.past;
    s.failed += r.sink->early_failed.load(std::memory_order_relaxed);
    if (writer) {
        const Stats now = writer->stats();
        s = {s.written + now.written, s.dropped + now.dropped, s.failed + now.failed};
    }
    return s;
}

}  // namespace warren::base::log
