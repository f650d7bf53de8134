// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/audit_log.h"

#include "base/fd.h"
#include "base/utf8.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

namespace warren::cluster {

namespace {
constexpr size_t kMaxText = 1024;

// What a stuck disk may cost one request.
constexpr std::chrono::milliseconds kFullDeadline{20};

std::string text(std::string_view value) {
    std::string valid;
    base::append_valid_utf8(valid, base::utf8_prefix(value, kMaxText));
    return valid;
}
}  // namespace

std::string audit_line(const AuditEvent& event, base::WallTime now) {
    nlohmann::ordered_json line = {{"time", base::to_rfc3339(now)}, {"event", event.issued ? "certificate_issued" : "certificate_refused"}};
    const auto add = [&](const char* key, std::string_view value) {
        if (!value.empty()) line[key] = text(value);
    };
    add("caller", event.caller);
    add("node", event.node);
    add("identity", event.identity);
    add("serial", event.serial);
    if (event.issued) line["not_after"] = base::to_rfc3339(event.not_after, 0);
    add("code", event.code);
    add("reason", event.reason);
    add("peer", event.peer);
    if (event.repeated > 0) line["repeated"] = event.repeated;
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

base::Result<std::unique_ptr<AuditLog>> AuditLog::open(const std::string& path, const base::Clock& clock) {
    const base::Fd file(path == "-" ? ::fcntl(1, F_DUPFD_CLOEXEC, 3)
                                    : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return base::os_error("audit log", path);
    base::log::Writer::Options options;
    options.fd = file.get();  // the writer has a duplicate of its own
    options.full_deadline = kFullDeadline;
    auto writer = TRY(base::log::Writer::start(options));
    return std::unique_ptr<AuditLog>(new AuditLog(std::move(writer), clock));
}

void AuditLog::write(const AuditEvent& event) { writer_->push(audit_line(event, clock_.wall())); }

}  // namespace warren::cluster
