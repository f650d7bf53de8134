// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/node_state.h"

#include "agent/cni/json_bounds.h"
#include "base/fd.h"
#include "base/small_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace warren::cni {

std::string encode(const NodeState& state) {
    Json waiting = Json::array(), others = Json::array();
    for (const auto& [name, waits] : state.namespaces) (waits ? waiting : others).push_back(name);
    const Json json = {{"wait", std::move(waiting)}, {"start", std::move(others)}, {"unknown", state.unknown_waits ? "wait" : "start"}};
    return write_json(json) + "\n";
}

base::Result<NodeState> parse_node_state(std::string_view text) {
    const Json json = TRY(parse_json(text, "the node's state"));
    NodeState state;
    const std::string unknown = TRY(text_member(json, "unknown"));
    if (unknown != "wait" && unknown != "start") return base::invalid("unknown '" + unknown + "': it is wait or start");
    state.unknown_waits = unknown == "wait";
    for (const auto& [key, waits] : {std::pair{"start", false}, std::pair{"wait", true}}) {
        const auto list = json.find(key);
        if (list == json.end() || !list->is_array()) return base::invalid(std::string(key) + " is not a list");
        for (const Json& name : *list) {
            if (!name.is_string()) return base::invalid(std::string(key) + " has an element that is not a string");
            state.namespaces[name.get<std::string>()] = waits;  // named twice: it waits
        }
    }
    return state;
}

base::Result<NodeState> read_node_state(const std::string& path) {
    auto state = parse_node_state(TRY(base::read_small_file(path, kMaxStateBytes)));
    if (!state) return std::move(state).error().with(path);
    return state;
}

base::Result<void> write_whole(const std::string& path, std::string_view text, unsigned mode) {
    const std::string fresh = path + ".tmp." + std::to_string(::getpid());
    const auto failed = [&fresh](const char* what) {
        base::Error error = base::os_error(what, fresh);
        (void)::unlink(fresh.c_str());
        return error;
    };
    (void)::unlink(fresh.c_str());
    const base::Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return base::os_error("open", fresh);
    while (!text.empty()) {
        const ssize_t n = ::write(fd.get(), text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed("write");
        text.remove_prefix(static_cast<size_t>(n));
    }
    // Not the umask's business: the runtime reads what we write here.
    if (::fchmod(fd.get(), mode) != 0) return failed("fchmod");
    if (::fsync(fd.get()) != 0) return failed("fsync");
    if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("rename");
    return {};
}

}  // namespace warren::cni
