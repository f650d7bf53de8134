// SPDX-License-Identifier: Apache-2.0
// The audit log: every certificate issued or refused as one JSON line, through the bounded writer of base/log_writer.h, so that a disk that
// hangs costs lines (counted) and never a request. Any thread. Foreign text in it is valid UTF-8 on one line and cut; tokens and requests
// never get here.
#pragma once

#include "base/clock.h"
#include "base/log_writer.h"
#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>

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
    // Appends to the file, made 0600 when missing; "-" is standard output.
    [[nodiscard]] static base::Result<std::unique_ptr<AuditLog>> open(const std::string& path, const base::Clock& clock);
    void write(const AuditEvent& event);
    bool flush() { return writer_->flush(std::chrono::seconds(1)); }
    [[nodiscard]] base::log::Stats stats() const { return writer_->stats(); }

  private:
    AuditLog(std::unique_ptr<base::log::Writer> writer, const base::Clock& clock) : writer_(std::move(writer)), clock_(clock) {}
    const std::unique_ptr<base::log::Writer> writer_;
    const base::Clock& clock_;
};

}  // namespace warren::cluster
