// SPDX-License-Identifier: Apache-2.0
// The audit log: every certificate issued or refused as one JSON line. A certificate is handed out after its line was taken by the file:
// no line, no certificate. A refusal's line is queued, for nothing is lost by it but the line, which is counted. One thread writes; whoever
// waits for it waits until a deadline, and while the file is known to be stuck not at all, so that a full disk or a pipe that nobody reads
// refuses certificates and holds up no thread. Written means taken by the kernel: a crash of the process loses no line, one of the machine
// may. Any thread. Foreign text in it is valid UTF-8 on one line and cut; tokens and requests never get here.
#pragma once

#include "base/clock.h"
#include "base/log_writer.h"
#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace warren::cluster {

struct AuditEvent {
    bool issued = false;
    std::string_view caller = {}, node = {}, identity = {}, peer = {};
    std::string_view serial = {};   // issued
    base::WallTime not_after = {};  // issued
    std::string_view code = {};     // refused: gRPC's name for it
    std::string_view reason = {};   // refused
    uint64_t repeated = 0;          // refusals of the same peer that were held back since its last line
};
[[nodiscard]] std::string audit_line(const AuditEvent& event, base::WallTime now);

class AuditLog {
  public:
    // Appends to the file, made 0600 when missing; "-" is standard output. A named pipe must have a reader.
    [[nodiscard]] static base::Result<std::unique_ptr<AuditLog>> open(const std::string& path, const base::Clock& clock);
    ~AuditLog();
    AuditLog(const AuditLog&) = delete;
    AuditLog& operator=(const AuditLog&) = delete;

    // The line is in the file when it returns without an error. Unavailable: it is not, and will not be if the file can be polled (a disk
    // that hangs may take it later).
    [[nodiscard]] base::Result<void> record(const AuditEvent& event);
    void note(const AuditEvent& event);
    // False: not within a second.
    bool flush();
    // dropped: found no room, or the file was stuck. failed: the file refused them.
    [[nodiscard]] base::log::Stats stats() const;

  private:
    struct Queue;
    AuditLog(std::shared_ptr<Queue> queue, const base::Clock& clock);
    const std::shared_ptr<Queue> queue_;  // shared with the thread alone, which is left behind when it hangs in a write
    const base::Clock& clock_;
    std::thread thread_;
};

}  // namespace warren::cluster
