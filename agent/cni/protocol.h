// SPDX-License-Identifier: Apache-2.0
// What the CNI plugin asks the node agent, and its answer: one packet each way over a SOCK_SEQPACKET Unix socket, JSON, with the pod's
// network namespace beside the question as SCM_RIGHTS (the agent need not see the path that the runtime named). Pure functions over bytes
// of another process, any thread; fuzzed (tests/fuzz/cni_protocol.cpp). Errors name the field.
#pragma once

#include "base/ip.h"
#include "base/result.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cni {

inline constexpr size_t kMaxMessage = 16 * 1024;
inline constexpr size_t kMaxAddresses = 64;  // of one pod; two in practice

struct Question {
    enum class Kind : uint8_t {
        Add,  // a sandbox has its network: may its first program run?
        Del,  // the sandbox goes
    } kind = Kind::Add;
    std::string ns, pod, uid;  // as the runtime names it; of a static pod the uid is the kubelet's, not the API server's
    std::string container;     // of the sandbox
    std::vector<base::IpAddr> addresses = {};
    std::chrono::milliseconds patience{0};  // how long the asker waits

    bool operator==(const Question&) const = default;
};

struct Answer {
    enum class Verdict : uint8_t {
        Pass,      // not of the mesh: nothing was done
        Captured,  // of the mesh, and captured
        Later,     // of the mesh or nobody knows, and not captured: the sandbox must not start
    } verdict = Verdict::Later;
    std::string why = {};

    bool operator==(const Answer&) const = default;
};

[[nodiscard]] std::string encode(const Question& question);
[[nodiscard]] std::string encode(const Answer& answer);
base::Result<Question> parse_question(std::string_view text);
base::Result<Answer> parse_answer(std::string_view text);

}  // namespace warren::cni
