// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/succession.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>

namespace warren::ztunnel {

namespace {

constexpr unsigned kListen = 10, kSynReceived = 3;  // enum in net/tcp_states.h

struct Row {
    unsigned port = 0, state = 0;
    bool any = false;  // bound to no address, as the tunnel's listeners are
    std::string peer;
};

// Rows of the table, listeners first as the kernel writes them, until visit answers false.
base::Result<void> each_row(const std::function<bool(const Row&)>& visit) {
    for (const char* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
        const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path, "re"), &std::fclose);
        const int os = errno;
        if (!file && os == ENOENT) continue;  // no IPv6 here
        if (!file) return base::os_error_of(os, "open", path);
        std::array<char, 512> line{};
        while (std::fgets(line.data(), line.size(), file.get()) != nullptr) {
            std::array<char, 64> local{}, peer{};
            Row row;
            // "  0: 0100007F:1F90 00000000:0000 0A ..."
            if (std::sscanf(line.data(), "%*u: %63[0-9A-Fa-f]:%x %63s %x", local.data(), &row.port, peer.data(), &row.state) != 4) continue;
            row.any = std::string_view(local.data()).find_first_not_of('0') == std::string_view::npos;
            row.peer = peer.data();
            if (!visit(row)) break;
        }
    }
    return {};
}

}  // namespace

base::Result<size_t> listeners_of(uint16_t port) {
    size_t count = 0;
    TRY(each_row([&](const Row& row) {
        if (row.state != kListen) return false;
        if (row.port == port && row.any) ++count;
        return true;
    }));
    return count;
}

base::Result<std::set<std::string>> half_open() {
    std::set<std::string> out;
    TRY(each_row([&](const Row& row) {
        if (row.state == kSynReceived) out.insert(row.peer);
        return true;
    }));
    return out;
}

// A random one of the indices base .. base + count - 1. An index beyond the group's end leaves the choice to the kernel's hash.
base::Result<void> Handover::attach(size_t base, size_t count) const {
    const auto first = static_cast<uint32_t>(base), width = static_cast<uint32_t>(std::max<size_t>(count, 1));
    std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)),
                                     BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, width), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, first),
                                     BPF_STMT(BPF_RET | BPF_A, 0)}};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    if (::setsockopt(ours_.back().get(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
        return base::os_error("setsockopt SO_ATTACH_REUSEPORT_CBPF");
    return {};
}

base::Result<bool> Handover::steer() {
    if (ours_.empty()) return false;
    const size_t all = TRY(listeners_of(port_));
    if (all <= ours_.size()) return false;
    others_ = all - ours_.size();
    TRY(attach(first_, others_));
    return true;
}

base::Result<void> Handover::note_half_open() {
    half_open_ = TRY(half_open());
    return {};
}

base::Result<bool> Handover::settled() {
    if (half_open_.empty()) return true;
    const auto now = TRY(half_open());
    std::erase_if(half_open_, [&](const std::string& peer) { return !now.contains(peer); });
    return half_open_.empty();
}

void Handover::finish() {
    for (size_t closed = 1; !ours_.empty(); ++closed) {
        if (others_ > 0) {
            const bool last = ours_.size() == 1;
            // The last program stays with the group: where it would leave some of the successor's listeners without connections, none.
            if (last && others_ != first_) {
                const int none = 0;
                (void)::setsockopt(ours_.back().get(), SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof none);
            } else {
                (void)attach(first_, others_ > closed ? others_ - closed : 1);
            }
        }
        ours_.pop_back();
    }
}

}  // namespace warren::ztunnel
