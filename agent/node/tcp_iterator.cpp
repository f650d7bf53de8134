// SPDX-License-Identifier: Apache-2.0
#include "agent/node/tcp_iterator.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace warren::node {

base::Result<TcpIterator> TcpIterator::of(const KernelObject& object, std::string_view program) {
    const LoadedProgram* loaded = object.program(program);
    if (loaded == nullptr) {
        const auto why = object.left_out().find(std::string(program));
        return base::Error{base::Errc::NotFound, 0, "iterator",
                           std::string(program) + (why == object.left_out().end() ? " is not in the object" : ": " + why->second)};
    }
    base::Fd link(::bpf_link_create(loaded->fd, 0, BPF_TRACE_ITER, nullptr));
    if (!link) return base::os_error("iterator", std::string(program));
    return TcpIterator(std::move(link));
}

base::Result<void> TcpIterator::run(const base::Netns& netns, const base::Netns& home,
                                    const std::function<void(std::span<const std::byte>)>& out) const {
    // The namespace is taken when the iterator is made; it may be read from anywhere.
    const base::Fd run = TRY(base::in_netns(netns, home, [this]() -> base::Result<base::Fd> {
        base::Fd made(::bpf_iter_create(link_.get()));
        if (!made) return base::os_error("iterator");
        return made;
    }));
    std::array<std::byte, 32768> piece{};
    for (;;) {
        const ssize_t n = ::read(run.get(), piece.data(), piece.size());
        // EAGAIN: one piece walked very many sockets that are not of this namespace; it goes on from there.
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) return base::os_error("read iterator");
        if (n == 0) return {};
        out(std::span<const std::byte>(piece).first(static_cast<size_t>(n)));
    }
}

}  // namespace warren::node
