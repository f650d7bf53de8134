// SPDX-License-Identifier: Apache-2.0
// One call of the plugin as a container runtime makes it (CNI specification 1.1.0, section 2: parameters in the environment, configuration
// on standard input), and how a failure is told (section "Error"). Pure; any thread. Foreign bytes: fuzzed (tests/fuzz/cni_invocation.cpp).
#pragma once

#include "base/ip.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace warren::cni {

inline constexpr size_t kMaxConfig = size_t{1} << 20;

// Numbers of the specification; 100 and above are the plugin's.
enum class Code : unsigned {
    IncompatibleVersion = 1,
    InvalidEnvironment = 4,
    Decode = 6,
    InvalidConfig = 7,
    TryAgainLater = 11,
};

struct Failure {
    Code code = Code::InvalidConfig;
    std::string message, details = {};
};

struct Invocation {
    enum class Command : uint8_t { Add, Del, Check, Status, Gc, Version } command = Command::Version;
    std::string container_id, netns, ifname;
    std::string ns, pod, uid;  // of CNI_ARGS; empty where the caller is no kubelet

    // Configuration.
    std::string version;  // cniVersion
    std::string socket;   // of the agent
    std::string state;    // node_state.h
    std::chrono::milliseconds deadline{5000};

    // The result of the plugin before us, as it is printed, and the addresses in it.
    std::string result;
    std::vector<base::IpAddr> addresses;
};

using Environment = std::function<const char*(const char*)>;

[[nodiscard]] std::variant<Invocation, Failure> read_invocation(const Environment& environment, std::string_view config);

[[nodiscard]] std::string failure_json(std::string_view version, const Failure& failure);
// The answer to VERSION. Versions without a result that is handed along a chain are not among them.
[[nodiscard]] std::string versions_json();

}  // namespace warren::cni
