// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin.h"

#include "agent/cni/agent_call.h"
#include "agent/cni/node_state.h"
#include "base/netns.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

namespace warren::cni {

namespace {

using namespace std::chrono_literals;
using Command = Invocation::Command;

constexpr auto kAskAgain = 100ms;      // while the agent is away and the pod has to wait for it
constexpr auto kDelPatience = 1000ms;  // the agent learns of a pod's end from the API server too

Outcome failed(std::string_view version, const Failure& failure) { return {1, failure_json(version, failure), {}}; }

Outcome passed(const Invocation& call, std::string remark = {}) { return {0, call.result + "\n", std::move(remark)}; }

std::string called(const Invocation& call) { return call.ns + "/" + call.pod; }

Question question_of(const Invocation& call, Question::Kind kind, std::chrono::milliseconds patience) {
    Question q;
    q.kind = kind;
    q.ns = call.ns;
    q.pod = call.pod;
    q.uid = call.uid;
    q.container = call.container_id;
    q.addresses = call.addresses;
    q.patience = patience;
    return q;
}

// Without the agent: nothing says that the pod may start, or the remark that it does so unasked.
std::optional<std::string> start_unasked(const Invocation& call, const base::Error& why) {
    const auto state = read_node_state(call.state);
    if (!state) return "warren-cni: " + called(call) + " starts unasked: " + why.message() + "; " + state.error().message();
    if (state->waits(call.ns)) return std::nullopt;
    return "warren-cni: " + called(call) + " starts unasked: " + why.message() + "; its namespace is not in the mesh";
}

Outcome add(const Invocation& call) {
    // No pod of Kubernetes: not ours.
    if (call.ns.empty() || call.pod.empty()) return passed(call);
    const base::MonoTime deadline = std::chrono::steady_clock::now() + call.deadline;
    // Without it the agent can still say that the pod is none of its concern.
    const auto netns = base::Netns::open(call.netns);
    for (;;) {
        // The agent gives up a little earlier than we do: its reason is worth more than our deadline.
        const auto left = std::chrono::floor<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        const auto answer =
            ask_agent(call.socket, question_of(call, Question::Kind::Add, left * 9 / 10), netns ? netns->fd() : -1, deadline);
        if (answer && answer->verdict != Answer::Verdict::Later) return passed(call);
        if (answer) return failed(call.version, {Code::TryAgainLater, "warren: " + called(call) + " is not captured yet", answer->why});
        if (auto remark = start_unasked(call, answer.error())) return passed(call, *std::move(remark));
        const bool away = answer.error().code == base::Errc::Unavailable;
        if (!away || std::chrono::steady_clock::now() + kAskAgain >= deadline) {
            return failed(call.version,
                          {Code::TryAgainLater, "warren: " + called(call) + " waits for the node agent", answer.error().message()});
        }
        std::this_thread::sleep_for(kAskAgain);
    }
}

}  // namespace

Outcome run_plugin(const Environment& environment, std::string_view config) {
    const auto read = read_invocation(environment, config);
    if (const auto* failure = std::get_if<Failure>(&read)) {
        const char* command = environment("CNI_COMMAND");
        const std::string_view word = command == nullptr ? "" : command;
        if (word == "DEL" || word == "GC" || word == "STATUS" || word == "CHECK") return {0, {}, "warren-cni: " + failure->message};
        return failed({}, *failure);
    }
    const auto& call = std::get<Invocation>(read);
    switch (call.command) {
        case Command::Version: return {0, versions_json(), {}};
        case Command::Add: return add(call);
        case Command::Del: {
            if (call.container_id.empty()) return {};
            const auto deadline = std::chrono::steady_clock::now() + kDelPatience;
            (void)ask_agent(call.socket, question_of(call, Question::Kind::Del, kDelPatience), -1, deadline);
            return {};
        }
        case Command::Check:
        case Command::Status:
        case Command::Gc: return {};
    }
    return {};
}

}  // namespace warren::cni
