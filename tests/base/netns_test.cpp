// SPDX-License-Identifier: Apache-2.0
#include "base/netns.h"

#include "tests/catch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

using namespace warren::base;

namespace {

// A namespace of this test's own, removed by its exact name.
class NamedNetns {
  public:
    NamedNetns() {
        static int count = 0;
        name_ = "wrt-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
        REQUIRE(run("ip netns add " + name_));
    }
    ~NamedNetns() { run("ip netns del " + name_); }
    NamedNetns(const NamedNetns&) = delete;
    NamedNetns& operator=(const NamedNetns&) = delete;

    static bool run(const std::string& command) { return std::system(command.c_str()) == 0; }
    bool ip(const std::string& arguments) const { return run("ip -n " + name_ + " " + arguments); }
    std::string path() const { return "/run/netns/" + name_; }

  private:
    std::string name_;
};

Netns open_netns(const std::string& path) {
    auto ns = Netns::open(path);
    INFO((ns ? "" : ns.error().message()));
    REQUIRE(ns);
    return std::move(*ns);
}

Netns current_netns() {
    auto ns = Netns::current();
    REQUIRE(ns);
    return std::move(*ns);
}

Result<Fd> tcp_socket() {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return os_error("socket");
    return fd;
}

uint64_t cookie_of(const Fd& fd) {
    const auto cookie = netns_cookie_of(fd.get());
    REQUIRE(cookie);
    return *cookie;
}

bool can_bind(const Fd& fd, const char* address) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &to.sin_addr);
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

}  // namespace

TEST_CASE("netns: path, pid and descriptor of one namespace are equal, another is not") {
    const Netns here = current_netns();
    const Netns by_path = open_netns("/proc/self/ns/net");
    const auto by_pid = Netns::of_pid(::getpid());
    REQUIRE(by_pid);
    const auto by_fd = Netns::adopt(Fd(::fcntl(here.fd(), F_DUPFD_CLOEXEC, 0)));
    REQUIRE(by_fd);
    CHECK(here == by_path);
    CHECK(here == *by_pid);
    CHECK(here == *by_fd);
    CHECK((::fcntl(by_path.fd(), F_GETFD) & FD_CLOEXEC) != 0);

    warren::tests::require_root();
    const NamedNetns other;
    const Netns there = open_netns(other.path());
    CHECK(there != here);
    CHECK(there == open_netns(other.path()));
    const auto here_cookie = here.cookie();
    const auto there_cookie = there.cookie();
    REQUIRE(here_cookie);
    REQUIRE(there_cookie);
    CHECK(*here_cookie != *there_cookie);
    CHECK(current_netns() == here);
}

TEST_CASE("netns: what is no network namespace is refused by name") {
    struct Case {
        const char* path;
        Errc code;
    };
    for (const Case& c : {Case{"/run/netns/wrt-there-is-none", Errc::NotFound}, Case{"/proc/self/ns/mnt", Errc::Invalid},
                          Case{"/proc/self/ns/user", Errc::Invalid}, Case{"/etc/hostname", Errc::Invalid}, Case{"/dev/null", Errc::Invalid},
                          Case{"/", Errc::Invalid}, Case{"", Errc::NotFound}}) {
        INFO(c.path);
        const auto ns = Netns::open(c.path);
        REQUIRE_FALSE(ns);
        CHECK(ns.error().code == c.code);
        CHECK(ns.error().message().find(c.path) != std::string::npos);
    }
    CHECK(Netns::of_pid(0).error().code == Errc::Invalid);
    CHECK(Netns::of_pid(-5).error().code == Errc::Invalid);
    CHECK(Netns::of_pid(0x7fff'fff0).error().code == Errc::NotFound);
    CHECK(Netns::adopt(Fd()).error().code == Errc::Invalid);
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    const Fd second(fds[1]);
    CHECK(Netns::adopt(Fd(fds[0])).error().code == Errc::Invalid);
    CHECK(::fcntl(fds[0], F_GETFD) == -1);  // refused, and closed
}

TEST_CASE("netns: a socket made inside belongs there, sees its addresses, and the thread is back") {
    warren::tests::require_root();
    const NamedNetns pod;
    REQUIRE(pod.ip("link set lo up"));
    REQUIRE(pod.ip("addr add 10.213.77.1/32 dev lo"));
    const Netns home = current_netns();
    const Netns target = open_netns(pod.path());

    auto inside = in_netns(target, tcp_socket);
    REQUIRE(inside);
    CHECK(current_netns() == home);
    auto outside = tcp_socket();
    REQUIRE(outside);
    CHECK(cookie_of(*inside) != cookie_of(*outside));
    const auto cookie = target.cookie();
    REQUIRE(cookie);
    CHECK(cookie_of(*inside) == *cookie);
    CHECK(can_bind(*inside, "10.213.77.1"));
    CHECK_FALSE(can_bind(*outside, "10.213.77.1"));

    const auto with_home = in_netns(target, home, tcp_socket);
    REQUIRE(with_home);
    CHECK(cookie_of(*with_home) == *cookie);
    CHECK(current_netns() == home);
}

TEST_CASE("netns: nested stays unwind, an error inside comes out, new threads inherit") {
    warren::tests::require_root();
    const NamedNetns first, second;
    const Netns home = current_netns();
    const Netns a = open_netns(first.path());
    const Netns b = open_netns(second.path());
    const auto nested = in_netns(a, [&]() -> Result<bool> {
        const auto in_b = in_netns(b, []() -> Result<Netns> { return Netns::current(); });
        bool new_thread_inherits = false;
        std::thread([&] { new_thread_inherits = current_netns() == a; }).join();  // a new thread inherits: why make() starts none
        return in_b && *in_b == b && current_netns() == a && new_thread_inherits;
    });
    REQUIRE(nested);
    CHECK(*nested);
    CHECK(current_netns() == home);

    const auto failed = in_netns(a, []() -> Result<void> { return invalid("as asked"); });
    REQUIRE_FALSE(failed);
    CHECK(failed.error().detail == "as asked");
    CHECK(current_netns() == home);
}

namespace {

// Runs f in a child and returns its wait status; what it wrote to stderr goes to `said`.
int in_child(const std::function<void()>& f, std::string& said) {
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    Fd out(fds[0]);
    Fd in(fds[1]);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(in.get(), STDERR_FILENO);
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        std::signal(SIGABRT, SIG_DFL);  // the framework's handler would report into the parent's output
        f();
        ::_exit(0);
    }
    in.reset();
    char buffer[512];
    for (ssize_t n; (n = ::read(out.get(), buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<size_t>(n));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

void drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2]{};
    if (::syscall(SYS_capset, &header, none) != 0) ::_exit(3);
}

}  // namespace

TEST_CASE("netns: without the capability entering is Denied, and the thread stays home") {
    warren::tests::require_root();
    const NamedNetns pod;
    const Netns target = open_netns(pod.path());
    std::string said;
    const int status = in_child(
        [&] {
            drop_capabilities();
            const auto refused = in_netns(target, tcp_socket);
            if (refused || refused.error().code != Errc::Denied) ::_exit(1);
            std::fputs(refused.error().message().c_str(), stderr);
            std::fflush(stderr);
            if (*Netns::current() == target) ::_exit(2);
        },
        said);
    CHECK(status == 0);
    CHECK(said.find("CAP_SYS_ADMIN") != std::string::npos);
}

TEST_CASE("netns: a thread that cannot go home aborts the process and says so") {
    warren::tests::require_root();
    const NamedNetns pod;
    const Netns target = open_netns(pod.path());
    std::string said;
    const int status = in_child(
        [&] {
            (void)in_netns(target, []() -> Result<void> {
                drop_capabilities();
                return {};
            });
        },
        said);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    CHECK(said.find("fatal: cannot return to network namespace") != std::string::npos);
}
