// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include "tests/catch.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>

using warren::base::Fd;

namespace {

bool open_in_process(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
bool close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

}  // namespace

static_assert(!std::is_copy_constructible_v<Fd> && !std::is_copy_assignable_v<Fd>);
static_assert(std::is_nothrow_move_constructible_v<Fd> && std::is_nothrow_move_assignable_v<Fd>);

TEST_CASE("fd: a descriptor is closed once, by its last owner") {
    auto pipe = warren::base::make_pipe().value();
    const int number = pipe.first.get();
    {
        Fd owner = std::move(pipe.first);
        CHECK_FALSE(pipe.first.valid());  // NOLINT(bugprone-use-after-move): what a moved-from Fd holds is the point
        CHECK(owner.get() == number);
        Fd next;
        CHECK_FALSE(next);
        next = std::move(owner);
        CHECK_FALSE(owner.valid());  // NOLINT(bugprone-use-after-move)
        CHECK(open_in_process(number));
    }
    CHECK_FALSE(open_in_process(number));
}

TEST_CASE("fd: reset closes the old descriptor and owns the new one") {
    auto pipe = warren::base::make_pipe().value();
    const int read_end = pipe.first.get(), write_end = pipe.second.get();
    pipe.first.reset(pipe.second.release());
    CHECK_FALSE(open_in_process(read_end));
    CHECK(pipe.first.get() == write_end);
    pipe.first.reset(write_end);  // the same number: no change, above all no close
    CHECK(open_in_process(write_end));
    Fd& same = pipe.first;
    pipe.first = std::move(same);
    CHECK(pipe.first.get() == write_end);
    CHECK(open_in_process(write_end));
    pipe.first.reset();
    CHECK_FALSE(pipe.first.valid());
    CHECK_FALSE(open_in_process(write_end));
}

TEST_CASE("fd: release gives up ownership") {
    int number = -1;
    {
        auto pipe = warren::base::make_pipe().value();
        number = pipe.first.release();
    }
    CHECK(open_in_process(number));
    CHECK(::close(number) == 0);
}

TEST_CASE("fd: a duplicate is close-on-exec and lives on its own") {
    auto pipe = warren::base::make_pipe(O_NONBLOCK).value();
    Fd copy = Fd::dup(pipe.second.get()).value();
    CHECK(copy.get() != pipe.second.get());
    CHECK(close_on_exec(copy.get()));
    pipe.second.reset();
    REQUIRE(::write(copy.get(), "x", 1) == 1);
    char byte = 0;
    REQUIRE(::read(pipe.first.get(), &byte, 1) == 1);
    CHECK(byte == 'x');

    const auto bad = Fd::dup(-1);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().os == EBADF);
}

TEST_CASE("fd: pipes and socket pairs are close-on-exec and honour their flags") {
    auto pipe = warren::base::make_pipe(O_NONBLOCK).value();
    auto sockets = warren::base::make_socket_pair(SOCK_SEQPACKET | SOCK_NONBLOCK).value();
    for (const Fd* fd : {&pipe.first, &pipe.second, &sockets.first, &sockets.second}) {
        CHECK(close_on_exec(fd->get()));
        CHECK((::fcntl(fd->get(), F_GETFL) & O_NONBLOCK) != 0);
    }
    char byte = 0;
    REQUIRE(::send(sockets.first.get(), "y", 1, 0) == 1);
    REQUIRE(::recv(sockets.second.get(), &byte, 1, 0) == 1);
    CHECK(byte == 'y');
    const auto bad = warren::base::make_socket_pair(0x7f);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().message().starts_with("socketpair: "));
}
