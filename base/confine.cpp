// SPDX-License-Identifier: Apache-2.0
#include "base/confine.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace warren::base {

namespace {

// By purpose. What glibc, OpenSSL, c-ares, gRPC and the daemons use; nothing that makes a process, looks into one, or changes the system.
constexpr const char* kAllowed[] = {
    // memory
    "brk", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mmap", "mprotect", "mremap", "msync", "munlock", "munmap",
    // threads, signals, time
    "arch_prctl", "clock_getres", "clock_gettime", "clock_nanosleep", "clone", "clone3", "exit", "exit_group", "futex", "get_robust_list",
    "getcpu", "getitimer", "getpid", "getppid", "getrandom", "gettid", "gettimeofday", "kill", "nanosleep", "pause", "prctl",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_setaffinity", "sched_yield", "set_robust_list",
    "set_tid_address", "setitimer", "setpriority", "getpriority", "sigaltstack", "tgkill", "time", "timer_create", "timer_delete",
    "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times", "signalfd4", "wait4",
    // descriptors and events
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "eventfd2", "fcntl", "inotify_add_watch", "inotify_init1", "inotify_rm_watch", "ioctl", "pipe", "pipe2", "poll", "ppoll",
    "pselect6", "select", "splice", "tee", "vmsplice",
    // bytes
    "lseek", "pread64", "preadv", "pwrite64", "pwritev", "read", "readv", "sendfile", "write", "writev",
    // files
    "access", "chdir", "faccessat", "faccessat2", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents",
    "getdents64", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "readlink", "readlinkat", "rename", "renameat",
    "renameat2", "rmdir", "stat", "statfs", "statx", "umask", "unlink", "unlinkat", "chmod", "fchmod", "fchmodat", "memfd_create",
    // sockets
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg", "recvmsg",
    "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket", "socketpair",
    // who we are
    "capget", "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getresgid", "getresuid", "getrlimit", "getrusage", "getuid",
    "prlimit64", "sysinfo", "uname"};

}  // namespace

Result<unsigned long> raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return os_error("getrlimit RLIMIT_NOFILE");
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return os_error("setrlimit RLIMIT_NOFILE");
    return static_cast<unsigned long>(limit.rlim_cur);
}

Result<void> hide_memory() {
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return os_error("prctl PR_SET_DUMPABLE");
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_CORE, &none) != 0) return os_error("setrlimit RLIMIT_CORE");
    return {};
}

Result<void> keep_capabilities(std::span<const int> needed, std::string_view who) {
    using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)>;
    const Caps have(::cap_get_proc(), ::cap_free);
    if (!have) return os_error("cap_get_proc");
    for (const cap_value_t cap : needed) {
        cap_flag_value_t set = CAP_CLEAR;
        if (::cap_get_flag(have.get(), cap, CAP_PERMITTED, &set) != 0) return os_error("cap_get_flag");
        if (set == CAP_SET) continue;
        const std::unique_ptr<char, int (*)(void*)> name(::cap_to_name(cap), ::cap_free);
        return Error{
            Errc::Denied, 0, "",
            std::string(who) + " needs the capability " + name.get() + "; add it to the container's securityContext, or run as root"};
    }
    // The bounding set first: dropping it needs SETPCAP, which goes with the rest below.
    for (int cap = 0; cap <= cap_max_bits() - 1; ++cap) {
        const bool keep = std::find(needed.begin(), needed.end(), cap) != needed.end();
        if (!keep && ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM)
            return os_error("prctl PR_CAPBSET_DROP");
    }
    const Caps keep(::cap_init(), ::cap_free);
    if (!keep) return os_error("cap_init");
    const std::vector<cap_value_t> list(needed.begin(), needed.end());
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
        if (!list.empty() && ::cap_set_flag(keep.get(), flag, static_cast<int>(list.size()), list.data(), CAP_SET) != 0)
            return os_error("cap_set_flag");
    if (::cap_set_proc(keep.get()) != 0) return os_error("cap_set_proc");
    return {};
}

Result<void> filter_system_calls(std::span<const char* const> more) {
    const std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, void (*)(scmp_filter_ctx)> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                                                    ::seccomp_release);
    if (!filter) return Error{Errc::Unsupported, 0, "", "seccomp_init failed"};
    std::vector<const char*> allowed(std::begin(kAllowed), std::end(kAllowed));
    allowed.insert(allowed.end(), more.begin(), more.end());
    for (const char* name : allowed) {
        const int number = ::seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR) continue;  // unknown to this libseccomp: stays refused
        if (const int os = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, number, 0); os != 0)
            return os_error_of(-os, "seccomp_rule_add", name);
    }
    if (const int os = ::seccomp_load(filter.get()); os != 0) return os_error_of(-os, "seccomp_load");
    return {};
}

}  // namespace warren::base
