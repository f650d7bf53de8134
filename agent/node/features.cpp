// SPDX-License-Identifier: Apache-2.0
#include "agent/node/features.h"

#include "agent/node/cgroups.h"
#include "agent/node/libbpf_log.h"
#include "agent/node/socket_destroyer.h"
#include "base/fd.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/magic.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace warren::node {

namespace {

struct BtfClose {
    void operator()(btf* types) const { ::btf__free(types); }
};
using Types = std::unique_ptr<btf, BtfClose>;

// r0 = 1; exit: accepted wherever the hook exists.
bool hook_exists(bpf_prog_type type, bpf_attach_type attach) {
    const std::array<bpf_insn, 2> code = {bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
                                          bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = attach;
    return base::Fd(::bpf_prog_load(type, "wr_probe", "GPL", code.data(), code.size(), &options)).valid();
}

bool helper_exists(bpf_prog_type type, bpf_func_id helper) { return ::libbpf_probe_bpf_helper(type, helper, nullptr) == 1; }

// Asks to end a connection that does not exist: a kernel that could says that it found none.
bool netlink_destroys() {
    const base::SockAddr nobody{base::IpAddr::v4(0), 0};
    const auto ended = destroy_tcp(nobody, nobody);
    return ended && !*ended;
}

class Prober {
  public:
    explicit Prober(Features& out) : out_(out) {}

    void add(const char* name, bool available, bool required, const char* why_not) {
        out_.all.push_back(
            {.name = name, .available = available, .used = available, .required = required, .why_not = available ? "" : why_not});
    }
    void hook(const char* name, bpf_prog_type type, bpf_attach_type attach, bool required, const char* why_not) {
        add(name, hook_exists(type, attach), required, why_not);
    }

  private:
    Features& out_;
};

void probe_hooks(Prober& p) {
    constexpr auto kAddr = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
    p.hook("connect4", kAddr, BPF_CGROUP_INET4_CONNECT, true, "cgroup connect hooks need Linux 4.17 and CONFIG_CGROUP_BPF");
    p.hook("connect6", kAddr, BPF_CGROUP_INET6_CONNECT, true, "cgroup connect hooks need Linux 4.17, CONFIG_CGROUP_BPF and IPv6");
    p.hook("getpeername4", kAddr, BPF_CGROUP_INET4_GETPEERNAME, true, "needs Linux 5.8");
    p.hook("getpeername6", kAddr, BPF_CGROUP_INET6_GETPEERNAME, true, "needs Linux 5.8 and IPv6");
    p.hook("sendmsg4", kAddr, BPF_CGROUP_UDP4_SENDMSG, true, "needs Linux 4.18");
    p.hook("sendmsg6", kAddr, BPF_CGROUP_UDP6_SENDMSG, true, "needs Linux 4.18 and IPv6");
    p.hook("recvmsg4", kAddr, BPF_CGROUP_UDP4_RECVMSG, true, "needs Linux 5.2");
    p.hook("recvmsg6", kAddr, BPF_CGROUP_UDP6_RECVMSG, true, "needs Linux 5.2 and IPv6");
    p.hook("bind4", kAddr, BPF_CGROUP_INET4_BIND, true, "needs Linux 4.17");
    p.hook("bind6", kAddr, BPF_CGROUP_INET6_BIND, true, "needs Linux 4.17 and IPv6");
    p.hook("getsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT, true, "needs Linux 5.3");
    p.hook("sock_ops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, true, "needs Linux 4.13");
    p.hook("sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, true, "needs Linux 5.9");
}

void probe_rest(Prober& p, const btf* types) {
    const auto has_function = [types](const char* name) {
        return types != nullptr && ::btf__find_by_name_kind(types, name, BTF_KIND_FUNC) > 0;
    };
    p.add("netns_cookie", helper_exists(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie), true, "in sock_ops it needs Linux 5.15");
    p.add("socket_storage", ::libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) == 1, true, "needs Linux 5.2");
    p.add("ring_buffer", ::libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1, true, "needs Linux 5.8");
    p.add("set_retval", helper_exists(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval), false,
          "needs Linux 5.18; a refused connection reads EPERM instead of ECONNREFUSED");
    p.add("tcp_iterator", has_function("bpf_iter_tcp"), false, "needs Linux 5.9; long connections report at their end only");
    p.add("sock_destroy", has_function("bpf_sock_destroy"), false, "needs Linux 6.5; netlink is used instead");
    p.add("netlink_destroy", netlink_destroys(), false, "needs CONFIG_INET_DIAG_DESTROY and CAP_NET_ADMIN");
}

}  // namespace

const Feature* Features::find(std::string_view name) const {
    const auto at = std::find_if(all.begin(), all.end(), [name](const Feature& f) { return f.name == name; });
    return at == all.end() ? nullptr : &*at;
}

bool Features::has(std::string_view name) const {
    const Feature* feature = find(name);
    return feature != nullptr && feature->available;
}

base::Result<void> Features::sufficient() const {
    std::string missing;
    for (const Feature& f : all)
        if (f.required && !f.available) missing += (missing.empty() ? "" : "; ") + f.name + ": " + f.why_not;
    if (missing.empty()) return {};
    return base::Error{base::Errc::Unsupported, 0, "probe", "kernel " + kernel + " lacks " + missing};
}

std::map<std::string, std::string> Features::programs_to_leave_out() const {
    std::map<std::string, std::string> out;
    const auto leave = [&](const char* program, const char* feature) {
        if (!has(feature)) out.emplace(program, std::string(feature) + " " + (find(feature) ? find(feature)->why_not : "was not probed"));
    };
    leave("wr_iter_judge", "tcp_iterator");
    leave("wr_iter_sample", "tcp_iterator");
    leave("wr_iter_list", "tcp_iterator");
    leave("wr_iter_judge", "sock_destroy");
    return out;
}

Features probe_features(const ProbeSettings& settings) {
    const LibbpfCapture quiet;
    Features out;
    utsname name{};
    if (::uname(&name) == 0) out.kernel = name.release;
    Prober p(out);
    out.cgroup2_root = settings.cgroup2_root;
    std::string why_no_cgroup2;
    if (out.cgroup2_root.empty()) {
        auto found = find_cgroup2();
        if (found)
            out.cgroup2_root = *found;
        else
            why_no_cgroup2 = found.error().message();
    }
    p.add("cgroup2", !out.cgroup2_root.empty(), true, why_no_cgroup2.c_str());
    struct statfs fs{};
    p.add("bpffs", ::statfs(settings.bpffs.c_str(), &fs) == 0 && fs.f_type == BPF_FS_MAGIC, true, "no bpf file system is mounted there");
    const Types types(::btf__load_vmlinux_btf());
    p.add("type_information", types != nullptr, true, "the kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)");
    probe_hooks(p);
    probe_rest(p, types.get());
    if (out.has("sock_destroy")) {
        for (Feature& f : out.all) {
            if (f.name != "netlink_destroy") continue;
            f.used = false;
            if (f.available) f.why_not = "sock_destroy does it";
        }
    }
    return out;
}

}  // namespace warren::node
