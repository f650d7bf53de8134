// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/invocation.h"

#include "agent/cni/json_bounds.h"
#include "agent/cni/protocol.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace warren::cni {

namespace {

constexpr std::array<const char*, 5> kVersions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr int64_t kMostDeadline = 60'000;  // ms
constexpr size_t kMaxValue = 4096;         // of a variable: paths and names

std::string value_of(const Environment& environment, const char* name) {
    const char* value = environment(name);
    return value == nullptr ? std::string() : std::string(value).substr(0, kMaxValue);
}

std::optional<Invocation::Command> command_from(const std::string& text) {
    using C = Invocation::Command;
    if (text == "ADD") return C::Add;
    if (text == "DEL") return C::Del;
    if (text == "CHECK") return C::Check;
    if (text == "STATUS") return C::Status;
    if (text == "GC") return C::Gc;
    if (text == "VERSION") return C::Version;
    return std::nullopt;
}

// "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-1;..."
void read_args(std::string_view args, Invocation& to) {
    while (!args.empty()) {
        const size_t end = std::min(args.find(';'), args.size());
        const std::string_view pair = args.substr(0, end);
        args.remove_prefix(std::min(end + 1, args.size()));
        const size_t equals = pair.find('=');
        if (equals == std::string_view::npos) continue;
        const std::string_view key = pair.substr(0, equals), value = pair.substr(equals + 1);
        if (key == "K8S_POD_NAMESPACE") to.ns = value;
        if (key == "K8S_POD_NAME") to.pod = value;
        if (key == "K8S_POD_UID") to.uid = value;
    }
}

std::optional<std::string> read_deadline(const Json& json, std::chrono::milliseconds& to) {
    const auto found = json.find("deadlineMs");
    if (found == json.end()) return std::nullopt;
    if (!found->is_number_integer() || found->get<int64_t>() < 1 || found->get<int64_t>() > kMostDeadline)
        return "deadlineMs is not a whole number from 1 to 60000";
    to = std::chrono::milliseconds(found->get<int64_t>());
    return std::nullopt;
}

// Every address of the result that parses ("10.0.0.5/24"); what else it says is not ours to judge.
void read_addresses(const Json& result, std::vector<base::IpAddr>& to) {
    const auto ips = result.find("ips");
    if (ips == result.end() || !ips->is_array()) return;
    for (const Json& ip : *ips) {
        if (!ip.is_object() || to.size() == kMaxAddresses) continue;
        const auto address = ip.find("address");
        if (address == ip.end() || !address->is_string()) continue;
        const std::string& text = address->get_ref<const std::string&>();
        if (const auto parsed = base::IpAddr::parse(text.substr(0, text.find('/')))) to.push_back(*parsed);
    }
}

std::optional<Failure> read_config(std::string_view config, Invocation& to) {
    if (config.size() > kMaxConfig) return Failure{Code::Decode, "the configuration is larger than 1 MiB"};
    const auto json = parse_json(config, "the configuration");
    if (!json) return Failure{Code::Decode, json.error().message()};
    for (const auto& [key, field] : {std::pair{"cniVersion", &to.version}, {"socket", &to.socket}, {"state", &to.state}}) {
        auto text = text_member(*json, key);
        if (!text) return Failure{Code::InvalidConfig, text.error().message()};
        *field = *std::move(text);
    }
    if (std::find(kVersions.begin(), kVersions.end(), to.version) == kVersions.end())
        return Failure{Code::IncompatibleVersion, "cniVersion '" + to.version + "' is not supported", "supported: 0.3.0 to 1.1.0"};
    if (to.socket.empty() || to.socket.front() != '/') return Failure{Code::InvalidConfig, "socket is not an absolute path"};
    if (to.state.empty() || to.state.front() != '/') return Failure{Code::InvalidConfig, "state is not an absolute path"};
    if (auto bad = read_deadline(*json, to.deadline)) return Failure{Code::InvalidConfig, *std::move(bad)};
    const auto result = json->find("prevResult");
    if (result == json->end() || result->is_null()) return std::nullopt;
    if (!result->is_object()) return Failure{Code::InvalidConfig, "prevResult is not an object"};
    to.result = write_json(*result);
    read_addresses(*result, to.addresses);
    return std::nullopt;
}

}  // namespace

std::variant<Invocation, Failure> read_invocation(const Environment& environment, std::string_view config) {
    Invocation made;
    const std::string word = value_of(environment, "CNI_COMMAND");
    const auto command = command_from(word);
    if (!command) return Failure{Code::InvalidEnvironment, "CNI_COMMAND '" + word + "' is not a command of CNI"};
    made.command = *command;
    if (made.command == Invocation::Command::Version) return made;
    made.container_id = value_of(environment, "CNI_CONTAINERID");
    made.netns = value_of(environment, "CNI_NETNS");
    made.ifname = value_of(environment, "CNI_IFNAME");
    read_args(value_of(environment, "CNI_ARGS"), made);
    if (auto failure = read_config(config, made)) return *std::move(failure);
    if (made.command != Invocation::Command::Add) return made;
    for (const auto& [name, value] :
         {std::pair{"CNI_CONTAINERID", &made.container_id}, {"CNI_NETNS", &made.netns}, {"CNI_IFNAME", &made.ifname}}) {
        if (value->empty()) return Failure{Code::InvalidEnvironment, std::string(name) + " is not set"};
    }
    if (made.result.empty())
        return Failure{Code::InvalidConfig, "prevResult is missing",
                       "this plugin stands in a chain, behind the one that makes the interface"};
    return made;
}

std::string failure_json(std::string_view version, const Failure& failure) {
    Json json = {
        {"cniVersion", version.empty() ? "1.0.0" : version}, {"code", static_cast<unsigned>(failure.code)}, {"msg", failure.message}};
    if (!failure.details.empty()) json["details"] = failure.details;
    return write_json(json) + "\n";
}

std::string versions_json() { return write_json(Json{{"cniVersion", "1.1.0"}, {"supportedVersions", kVersions}}) + "\n"; }

}  // namespace warren::cni
