// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_log.h"

#include "agent/node/flow_json.h"
#include "base/fd.h"
#include "base/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

namespace warren::node {
namespace {

const base::log::Area kFlows("flows");

constexpr size_t kBatch = 512;
constexpr auto kPatience = std::chrono::milliseconds(500);

class Log final : public FlowLog {
  public:
    Log(std::string path, FlowHub& hub) : path_(std::move(path)), listener_(hub.listen({}, 32'768)) {}
    ~Log() override {
        stopping_ = true;
        if (thread_.joinable()) thread_.join();
    }
    base::Result<void> run() {
        TRY(open());
        thread_ = std::thread([this] { loop(); });
        return {};
    }
    FlowLogStats stats() const override { return {lines_, failed_, lost_}; }

  private:
    base::Result<void> open() {
        base::Fd fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
        if (!fd) return base::os_error("open", path_);
        struct stat made{};
        if (::fstat(fd.get(), &made) != 0) return base::os_error("fstat", path_);
        fd_ = std::move(fd);
        device_ = made.st_dev;
        inode_ = made.st_ino;
        return {};
    }
    bool ready() {
        struct stat now{};
        const bool same = fd_ && ::stat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_;
        if (same) return true;
        const auto opened = open();
        if (!opened) report(opened.error().message());
        return opened.has_value();
    }
    void report(const std::string& why) {
        if (std::exchange(reported_, true)) return;
        WARREN_LOG(kFlows, base::log::Level::Error, "flow log: lines are being lost", {"path", path_}, {"error", why});
    }
    void loop() {
        for (;;) {
            const auto batch = listener_->next(kBatch, kPatience);
            lost_ = batch.lost;
            if (!batch.flows.empty()) write(batch.flows);
            if (batch.ended || (stopping_ && batch.flows.empty())) return;
        }
    }
    void write(const std::vector<FlowRef>& flows) {
        if (!ready()) {
            failed_ += flows.size();
            return;
        }
        std::string text;
        for (const FlowRef& flow : flows) text += flow_json(*flow) + '\n';
        // Whole batches: half a line at the end of a full disk would spoil the next one, so what was written of it is taken back.
        const off_t before = ::lseek(fd_.get(), 0, SEEK_END);
        const ssize_t n = ::write(fd_.get(), text.data(), text.size());
        if (n != static_cast<ssize_t>(text.size())) {
            report(base::os_error_of(n < 0 ? errno : ENOSPC, "write", path_).message());
            if (n > 0 && before >= 0) (void)!::ftruncate(fd_.get(), before);
            failed_ += flows.size();
            return;
        }
        reported_ = false;
        lines_ += flows.size();
    }

    const std::string path_;
    const std::unique_ptr<FlowHub::Listener> listener_;
    base::Fd fd_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    bool reported_ = false;
    std::atomic<bool> stopping_ = false;
    std::atomic<uint64_t> lines_ = 0, failed_ = 0, lost_ = 0;
    std::thread thread_;
};

}  // namespace

base::Result<std::unique_ptr<FlowLog>> FlowLog::start(const std::string& path, FlowHub& hub) {
    auto log = std::make_unique<Log>(path, hub);
    TRY(log->run());
    return std::unique_ptr<FlowLog>(std::move(log));
}

}  // namespace warren::node
