// SPDX-License-Identifier: Apache-2.0
// Another program that runs beside this one (kubectl port-forward, kubectl exec) and is read line by line; it ends with the object. Nothing
// goes to it. Blocking; one thread.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace warren::tools {

class Child {
  public:
    // Errors of the program: kept for error(), or shown to the user as they come.
    enum class Stderr : uint8_t { Kept, Shown };
    // NotFound when there is no such program.
    static base::Result<Child> start(const std::vector<std::string>& command, Stderr to);
    Child(Child&& o) noexcept;
    Child& operator=(Child&&) = delete;
    ~Child();

    // Without its line feed; nothing at the end of its output. Timeout when the deadline passes; none: however long it takes. A line of
    // more than 16 MiB is an error.
    base::Result<std::optional<std::string>> line(std::optional<std::chrono::steady_clock::time_point> deadline);
    // After the end of its output: how it ended, and the first line of what it said of that.
    base::Result<void> wait();
    [[nodiscard]] std::string error() const;

  private:
    Child(std::string name, pid_t pid, base::Fd out, base::Fd err)
        : name_(std::move(name)), pid_(pid), out_(std::move(out)), err_(std::move(err)) {}

    std::string name_;
    pid_t pid_ = -1;
    base::Fd out_, err_;
    std::string buffer_;
    bool ended_ = false;  // its output
};

// Runs it with this program's standard streams, to its end: its exit code, 128 and the signal's number when that ended it.
[[nodiscard]] base::Result<int> run_attached(const std::vector<std::string>& command);

}  // namespace warren::tools
