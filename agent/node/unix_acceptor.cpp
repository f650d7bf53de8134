// SPDX-License-Identifier: Apache-2.0
#include "agent/node/unix_acceptor.h"

#include <sys/epoll.h>

#include <chrono>
#include <utility>

namespace warren::node {
namespace {

using namespace std::chrono_literals;

constexpr auto kPause = 100ms;

}  // namespace

UnixAcceptor::UnixAcceptor(base::Loop& loop, UnixListener listener, Take take)
    : loop_(loop), listener_(std::move(listener)), take_(std::move(take)), again_(base::Timer::of<&UnixAcceptor::look_again>(*this)) {}

UnixAcceptor::~UnixAcceptor() { loop_.remove(*this); }

base::Result<void> UnixAcceptor::start() { return loop_.add(listener_.fd(), *this, EPOLLIN); }

void UnixAcceptor::on_io(uint32_t) {
    for (;;) {
        UnixPeer peer = listener_.accept();
        if (peer.fd) {
            take_(std::move(peer));
            continue;
        }
        if (peer.beyond_means() && loop_.modify(*this, 0)) loop_.arm(again_, kPause);
        return;
    }
}

void UnixAcceptor::look_again() { (void)loop_.modify(*this, EPOLLIN); }

}  // namespace warren::node
