// SPDX-License-Identifier: Apache-2.0
// Asks the node agent one question over its socket. Blocking, within the deadline; any thread. Unavailable: there is nobody (no socket,
// nobody listens, it went away before it answered); Timeout: there is somebody, who did not answer in time.
#pragma once

#include "agent/cni/protocol.h"
#include "base/clock.h"
#include "base/result.h"

#include <string>

namespace warren::cni {

// netns_fd is borrowed; -1: none goes along.
base::Result<Answer> ask_agent(const std::string& socket, const Question& question, int netns_fd, base::MonoTime deadline);

}  // namespace warren::cni
