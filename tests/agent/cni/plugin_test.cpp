// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin.h"

#include "agent/cni/agent_call.h"
#include "agent/cni/node_state.h"
#include "base/fd.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <thread>

#include <nlohmann/json.hpp>

using namespace warren;
using namespace warren::cni;
using namespace warren::tests;
using Json = nlohmann::json;

namespace {

using Variables = std::map<std::string, std::string>;

Environment environment(const Variables& variables) {
    return [&variables](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
    };
}

Variables add_of(const std::string& ns) {
    return {{"CNI_COMMAND", "ADD"},
            {"CNI_CONTAINERID", "c1"},
            {"CNI_NETNS", "/proc/self/ns/net"},
            {"CNI_IFNAME", "eth0"},
            {"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=" + ns + ";K8S_POD_NAME=web-1;K8S_POD_UID=u-1"}};
}

constexpr const char* kResult = R"({"cniVersion":"1.0.0","zone":"kept","ips":[{"address":"10.1.0.7/24"},{"address":"fd00::7/64"}]})";

struct Node {
    TempDir dir;
    std::string socket = dir.file("cni.sock"), state = dir.file("state.json");

    [[nodiscard]] std::string config(int deadline_ms = 300) const {
        Json json = {{"cniVersion", "1.0.0"}, {"name", "pods"}, {"type", "warren-cni"}, {"socket", socket}, {"state", state}};
        json["deadlineMs"] = deadline_ms;
        json["prevResult"] = Json::parse(kResult);
        return json.dump();
    }
    void leave(const NodeState& what) const { REQUIRE(write_whole(state, encode(what), 0644)); }
};

// Answers one question as it is told to; an empty answer hangs up.
struct Agent {
    base::Fd listener;
    std::thread thread;
    Question asked;
    bool with_netns = false;

    Agent(const std::string& path, const std::string& answer) : listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(listener.get(), 4) == 0);
        thread = std::thread([this, answer] {
            const base::Fd peer(::accept(listener.get(), nullptr, nullptr));
            std::string text(kMaxMessage, '\0');
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
            iovec part{text.data(), text.size()};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            const ssize_t n = ::recvmsg(peer.get(), &message, 0);
            if (n <= 0) return;
            if (const cmsghdr* head = CMSG_FIRSTHDR(&message)) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
                with_netns = base::Fd(fd).valid();
            }
            if (auto question = parse_question(std::string_view(text).substr(0, static_cast<size_t>(n)))) asked = *question;
            if (!answer.empty()) (void)!::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
        });
    }
    ~Agent() {
        ::shutdown(listener.get(), SHUT_RDWR);
        thread.join();
    }
};

}  // namespace

TEST_CASE("cni plugin: the versions it speaks") {
    const Variables variables = {{"CNI_COMMAND", "VERSION"}};
    const Outcome outcome = run_plugin(environment(variables), "");
    CHECK(outcome.exit_code == 0);
    CHECK(Json::parse(outcome.output)["supportedVersions"] == Json({"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}));
}

TEST_CASE("cni plugin: a captured pod starts, with the result of the plugin before") {
    Node node;
    Outcome outcome;
    {
        Agent agent(node.socket, encode(Answer{Answer::Verdict::Captured, ""}));
        const Variables variables = add_of("prod");
        outcome = run_plugin(environment(variables), node.config(5000));
        agent.thread.join();
        agent.thread = std::thread([] {});
        CHECK(agent.asked.ns == "prod");
        CHECK(agent.asked.pod == "web-1");
        CHECK(agent.asked.uid == "u-1");
        CHECK(agent.asked.container == "c1");
        CHECK(agent.asked.addresses.size() == 2);
        CHECK(agent.asked.patience.count() > 4000);
        CHECK(agent.asked.patience.count() < 5000);
        CHECK(agent.with_netns);
    }
    CHECK(outcome.exit_code == 0);
    CHECK(Json::parse(outcome.output) == Json::parse(kResult));
    CHECK(outcome.remark.empty());
}

TEST_CASE("cni plugin: a pod that is not captured does not start, and the reason is the agent's") {
    Node node;
    Agent agent(node.socket, encode(Answer{Answer::Verdict::Later, "the tunnel does not listen"}));
    const Variables variables = add_of("prod");
    const Outcome outcome = run_plugin(environment(variables), node.config(5000));
    CHECK(outcome.exit_code == 1);
    const Json error = Json::parse(outcome.output);
    CHECK(error["code"] == 11);
    CHECK(error["cniVersion"] == "1.0.0");
    CHECK(error["details"] == "the tunnel does not listen");
}

TEST_CASE("cni plugin: without the agent pods outside the mesh start, those of the mesh wait (trap 34)") {
    Node node;
    node.leave({.namespaces = {{"prod", true}, {"tools", false}}, .unknown_waits = false});
    const Variables in = add_of("prod"), out = add_of("tools"), unknown = add_of("new");
    const auto began = std::chrono::steady_clock::now();
    CHECK(run_plugin(environment(out), node.config()).exit_code == 0);
    CHECK(run_plugin(environment(unknown), node.config()).exit_code == 0);
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::milliseconds(300));
    const Outcome waits = run_plugin(environment(in), node.config());
    CHECK(waits.exit_code == 1);
    CHECK(Json::parse(waits.output)["code"] == 11);

    SECTION("a namespace that nobody knows waits where it is told to") {
        node.leave({.namespaces = {}, .unknown_waits = true});
        CHECK(run_plugin(environment(unknown), node.config()).exit_code == 1);
    }
    SECTION("nothing is left of the agent: no pod is held up") {
        REQUIRE(::unlink(node.state.c_str()) == 0);
        const Outcome outcome = run_plugin(environment(in), node.config());
        CHECK(outcome.exit_code == 0);
        CHECK_FALSE(outcome.remark.empty());
    }
    SECTION("an agent that hangs up is away, too") {
        Agent agent(node.socket, "");
        CHECK(run_plugin(environment(out), node.config()).exit_code == 0);
    }
}

TEST_CASE("cni plugin: a pod of the mesh that waits starts when the agent is back") {
    Node node;
    node.leave({.namespaces = {{"prod", true}}, .unknown_waits = false});
    const Variables variables = add_of("prod");
    Outcome outcome;
    std::thread plugin([&] { outcome = run_plugin(environment(variables), node.config(10'000)); });
    Agent agent(node.socket, encode(Answer{Answer::Verdict::Captured, ""}));
    plugin.join();
    CHECK(outcome.exit_code == 0);
}

TEST_CASE("cni plugin: what is no pod passes, unasked") {
    Node node;
    Variables variables = add_of("prod");
    variables["CNI_ARGS"] = "IgnoreUnknown=1";
    CHECK(run_plugin(environment(variables), node.config()).exit_code == 0);
}

TEST_CASE("cni plugin: errors are CNI's, and only commands that may fail do") {
    Node node;
    const auto code_of = [&](Variables variables, const std::string& config) {
        const Outcome outcome = run_plugin(environment(variables), config);
        return outcome.exit_code == 0 ? 0 : Json::parse(outcome.output)["code"].get<int>();
    };
    Variables variables = add_of("prod");
    CHECK(code_of(variables, "{") == 6);
    CHECK(code_of(variables, std::string(100'000, '[')) == 6);
    CHECK(code_of(variables, R"({"cniVersion":"0.1.0"})") == 1);
    CHECK(code_of(variables, R"({"cniVersion":"1.0.0","socket":"x","state":"/s"})") == 7);
    CHECK(code_of(variables, R"({"cniVersion":"1.0.0","socket":"/x","state":"/s","deadlineMs":0,"prevResult":{}})") == 7);
    CHECK(code_of(variables, R"({"cniVersion":"1.0.0","socket":"/x","state":"/s"})") == 7);  // not in a chain
    variables.erase("CNI_NETNS");
    CHECK(code_of(variables, node.config()) == 4);
    variables["CNI_COMMAND"] = "NONE";
    CHECK(code_of(variables, node.config()) == 4);
    for (const char* command : {"DEL", "CHECK", "STATUS", "GC"}) {
        variables["CNI_COMMAND"] = command;
        const Outcome outcome = run_plugin(environment(variables), "{");
        CHECK(outcome.exit_code == 0);
        CHECK(outcome.output.empty());
    }
}

TEST_CASE("cni protocol: what is sent is what is read, and the rest is refused") {
    const Question question{Question::Kind::Add,
                            "prod",
                            "web",
                            "u",
                            "c",
                            {*base::IpAddr::parse("10.0.0.1"), *base::IpAddr::parse("fd00::1")},
                            std::chrono::milliseconds(1500)};
    CHECK(*parse_question(encode(question)) == question);
    const Answer answer{Answer::Verdict::Captured, "because"};
    CHECK(*parse_answer(encode(answer)) == answer);
    for (const char* bad : {"", "[]", "{}", R"({"kind":"add","namespace":"","pod":"x"})", R"({"kind":"add","namespace":1,"pod":"x"})",
                            R"({"kind":"add","namespace":"a","pod":"x","addresses":["1.2.3"]})"})
        CHECK_FALSE(parse_question(bad));
    CHECK_FALSE(parse_answer(R"({"verdict":"yes"})"));
    const NodeState state{.namespaces = {{"a", true}, {"b", false}}, .unknown_waits = true};
    CHECK(*parse_node_state(encode(state)) == state);
    CHECK_FALSE(parse_node_state(R"({"wait":[],"start":[]})"));
    CHECK_FALSE(parse_node_state(R"({"wait":[1],"start":[],"unknown":"start"})"));
}
