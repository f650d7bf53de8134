// SPDX-License-Identifier: Apache-2.0
#include "agent/node/hook_programs.h"

#include "base/fd.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>

namespace warren::node {

namespace {

std::string program_name(uint32_t id) {
    const base::Fd fd(::bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    uint32_t size = sizeof info;
    if (!fd || ::bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return "";
    return info.name;
}

}  // namespace

std::string hook_name(uint32_t attach_type) {
    const char* name = ::libbpf_bpf_attach_type_str(static_cast<bpf_attach_type>(attach_type));
    return name ? name : std::to_string(attach_type);
}

std::vector<HookProgram> programs_at(int cgroup_fd, uint32_t attach_type) {
    std::array<uint32_t, 64> ids{};  // the kernel's own limit for one hook of one cgroup
    uint32_t count = ids.size();
    uint32_t flags = 0;
    const auto type = static_cast<bpf_attach_type>(attach_type);
    if (::bpf_prog_query(cgroup_fd, type, BPF_F_QUERY_EFFECTIVE, &flags, ids.data(), &count) != 0) return {};
    std::vector<HookProgram> out;
    for (const uint32_t id : std::span(ids).first(std::min<size_t>(count, ids.size()))) out.push_back({.id = id, .name = program_name(id)});
    return out;
}

}  // namespace warren::node
