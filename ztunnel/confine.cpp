// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/confine.h"

#include <cerrno>
#include <memory>

#include <seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace warren::ztunnel {

namespace {

constexpr cap_value_t kNeeded[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_NET_RAW};

// By purpose. What glibc, OpenSSL, c-ares, gRPC and this program use; nothing that makes a process, looks into one, or changes the system.
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
    // who we are, and into pods' namespaces
    "capget", "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getresgid", "getresuid", "getrlimit", "getrusage", "getuid",
    "prlimit64", "setns", "sysinfo", "uname"};

}  // namespace

base::Result<unsigned long> raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return base::os_error("getrlimit RLIMIT_NOFILE");
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return base::os_error("setrlimit RLIMIT_NOFILE");
    return static_cast<unsigned long>(limit.rlim_cur);
}

base::Result<void> hide_memory() {
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::os_error("prctl PR_SET_DUMPABLE");
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_CORE, &none) != 0) return base::os_error("setrlimit RLIMIT_CORE");
    return {};
}

base::Result<void> keep_needed_capabilities() {
    using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)>;
    const Caps have(::cap_get_proc(), ::cap_free);
    if (!have) return base::os_error("cap_get_proc");
    for (const cap_value_t cap : kNeeded) {
        cap_flag_value_t set = CAP_CLEAR;
        if (::cap_get_flag(have.get(), cap, CAP_PERMITTED, &set) != 0) return base::os_error("cap_get_flag");
        if (set == CAP_SET) continue;
        const std::unique_ptr<char, int (*)(void*)> name(::cap_to_name(cap), ::cap_free);
        return base::Error{
            base::Errc::Denied, 0, "",
            std::string("shared mode needs the capability ") + name.get() + "; add it to the container's securityContext, or run as root"};
    }
    // The bounding set first: dropping it needs SETPCAP, which goes with the rest below.
    for (int cap = 0; cap <= cap_max_bits() - 1; ++cap) {
        bool needed = false;
        for (const cap_value_t n : kNeeded) needed = needed || n == cap;
        if (!needed && ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM)
            return base::os_error("prctl PR_CAPBSET_DROP");
    }
    const Caps keep(::cap_init(), ::cap_free);
    if (!keep) return base::os_error("cap_init");
    constexpr int count = static_cast<int>(std::size(kNeeded));
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
        if (::cap_set_flag(keep.get(), flag, count, kNeeded, CAP_SET) != 0) return base::os_error("cap_set_flag");
    if (::cap_set_proc(keep.get()) != 0) return base::os_error("cap_set_proc");
    return {};
}

base::Result<void> filter_system_calls() {
    const std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, void (*)(scmp_filter_ctx)> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                                                    ::seccomp_release);
    if (!filter) return base::Error{base::Errc::Unsupported, 0, "", "seccomp_init failed"};
    for (const char* name : kAllowed) {
        const int number = ::seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR) continue;  // unknown to this libseccomp: stays refused
        if (const int os = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, number, 0); os != 0)
            return base::os_error_of(-os, "seccomp_rule_add", name);
    }
    if (const int os = ::seccomp_load(filter.get()); os != 0) return base::os_error_of(-os, "seccomp_load");
    return {};
}

}  // namespace warren::ztunnel
