// SPDX-License-Identifier: Apache-2.0
#include "agent/node/zds_connection.h"

#include "base/log.h"
#include "proto/zds.pb.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace warren::node {
namespace {

namespace zds = istio::workload::zds;

const base::log::Area kZds("zds");

// The read buffer of both sides (8.1): what is larger is no message of this protocol.
constexpr size_t kMaxPacket = 1024;

}  // namespace

ZdsConnection::ZdsConnection(ZdsOwner& owner, base::Fd fd, TunnelPeer peer)
    : owner_(owner),
      fd_(std::move(fd)),
      peer_(peer),
      since_(owner.loop().now()),
      timer_(base::Timer::of<&ZdsConnection::on_timer>(*this)) {}

ZdsConnection* ZdsConnection::start(ZdsOwner& owner, base::Fd fd, TunnelPeer peer) {
    std::unique_ptr<ZdsConnection> self(new ZdsConnection(owner, std::move(fd), peer));
    if (!owner.loop().add(self->fd_.get(), *self, EPOLLIN)) return nullptr;
    owner.loop().arm(self->timer_, owner.patience());
    return self.release();
}

void ZdsConnection::end() {
    if (std::exchange(stage_, Stage::Gone) == Stage::Gone) return;
    owner_.loop().remove(*this);
    owner_.loop().disarm(timer_);
    fd_.reset();
    owner_.gone(*this);
    owner_.loop().bury(std::unique_ptr<base::Buried>(this));
}

bool ZdsConnection::fail(const char* why) {
    ++owner_.counts().protocol_errors;
    WARREN_LOG(kZds, base::log::Level::Warn, "tunnel cut: it breaks the protocol", {"pid", static_cast<int64_t>(peer_.pid)}, {"why", why});
    end();
    return false;
}

void ZdsConnection::on_timer() {
    ++owner_.counts().timeouts;
    WARREN_LOG(kZds, base::log::Level::Warn, "tunnel cut: it does not answer", {"pid", static_cast<int64_t>(peer_.pid)},
               {"waited_for", stage_ == Stage::Hello ? "hello"
                              : writing_             ? "room to write"
                                                     : "answer"});
    end();
}

void ZdsConnection::on_io(uint32_t events) {
    if (stage_ == Stage::Gone) return;
    if ((events & EPOLLOUT) != 0 && writing_) {
        if (!owner_.loop().modify(*this, EPOLLIN)) return end();
        pump();
        if (stage_ == Stage::Gone) return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        while (stage_ != Stage::Gone && read_one()) continue;
    }
}

// False: nothing more for now, or the connection has ended.
bool ZdsConnection::read_one() {
    std::array<char, kMaxPacket> packet;
    iovec iov{packet.data(), packet.size()};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    const ssize_t n = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
        end();
        return false;
    }
    // No control buffer was given: descriptors that came were dropped by the kernel and show as MSG_CTRUNC.
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return fail("a packet larger than 1 KiB, or with descriptors");
    const std::string_view bytes(packet.data(), static_cast<size_t>(n));
    return stage_ == Stage::Hello ? take_hello(bytes) : take_answer(bytes);
}

bool ZdsConnection::take_hello(std::string_view packet) {
    zds::ZdsHello hello;
    if (!hello.ParseFromArray(packet.data(), static_cast<int>(packet.size())) || hello.version() != zds::V1) {
        return fail("the first packet is not a hello of version 1");
    }
    owner_.loop().disarm(timer_);
    if (auto accepted = owner_.events().tunnel_connected(peer_); !accepted) {
        WARREN_LOG(kZds, base::log::Level::Error, "tunnel refused", {"pid", static_cast<int64_t>(peer_.pid)},
                   {"error", accepted.error().message()});
        end();
        return false;
    }
    stage_ = Stage::Snapshot;
    anew_ = owner_.begins_anew(*this);
    update();
    return stage_ != Stage::Gone;
}

bool ZdsConnection::take_answer(std::string_view packet) {
    zds::WorkloadResponse response;
    if (!response.ParseFromArray(packet.data(), static_cast<int>(packet.size())) || !response.has_ack()) {
        return fail("a packet that is no answer");
    }
    if (outstanding_.kind == Kind::None || writing_) return fail("an answer to nothing");
    owner_.loop().disarm(timer_);
    const Message answered = std::exchange(outstanding_, {});
    const std::string& error = response.ack().error();
    if (answered.kind == Kind::Add) {
        if (error.empty()) {
            refused_.erase(answered.uid);
        } else {
            ++owner_.counts().refused_pods;
            refused_[answered.uid] = error;
        }
        owner_.events().pod_taken(answered.uid,
                                  error.empty() ? base::Result<void>() : base::Error{base::Errc::Unavailable, 0, "tunnel", error});
    } else if (answered.kind == Kind::SnapshotSent) {
        if (!error.empty()) return fail("the snapshot was refused");
        stage_ = Stage::Synced;
    } else if (!error.empty()) {
        WARREN_LOG(kZds, base::log::Level::Warn, "tunnel could not drop a pod", {"uid", answered.uid}, {"error", error});
    }
    if (stage_ != Stage::Gone) pump();
    return stage_ != Stage::Gone;
}

void ZdsConnection::touch(const std::string& uid) {
    if (touched_.insert(uid).second) turns_.push_back(uid);
}

void ZdsConnection::update() {
    if (stage_ == Stage::Hello || stage_ == Stage::Gone) return;
    for (const auto& [uid, pod] : owner_.pods()) {
        if (!told_.contains(uid)) touch(uid);
    }
    for (const std::string& uid : told_) {
        if (!owner_.pods().contains(uid)) touch(uid);
    }
    pump();
}

void ZdsConnection::changed(const std::string& uid, bool replaced) {
    if (stage_ == Stage::Hello || stage_ == Stage::Gone) return;
    if (replaced) told_.erase(uid);
    touch(uid);
    pump();
}

ZdsConnection::Message ZdsConnection::next_message() {
    if (stage_ == Stage::Snapshot && anew_) return {Kind::SnapshotSent, {}};
    while (!turns_.empty()) {
        std::string uid = std::move(turns_.front());
        turns_.pop_front();
        touched_.erase(uid);
        if (!owner_.pods().contains(uid)) {
            refused_.erase(uid);
            if (told_.erase(uid) != 0) return {Kind::Del, std::move(uid)};
        } else if (!told_.contains(uid) && owner_.newest(*this)) {
            told_.insert(uid);
            return {Kind::Add, std::move(uid)};
        }
    }
    if (stage_ == Stage::Snapshot && owner_.is_complete()) return {Kind::SnapshotSent, {}};
    return {};
}

void ZdsConnection::pump() {
    if (outstanding_.kind != Kind::None && !writing_) return;
    if (!writing_) outstanding_ = next_message();
    if (outstanding_.kind == Kind::None) {
        if (stage_ == Stage::Synced && owner_.is_complete() && !std::exchange(all_told_, true)) owner_.events().tunnel_synced(peer_);
        return;
    }
    writing_ = false;
    if (!timer_.armed()) owner_.loop().arm(timer_, owner_.patience());
    const base::Io sent = send(outstanding_);
    if (sent.state == base::Io::State::WouldBlock) {
        writing_ = true;
        if (!owner_.loop().modify(*this, EPOLLIN | EPOLLOUT)) end();
    } else if (sent.state == base::Io::State::Failed) {
        WARREN_LOG(kZds, base::log::Level::Info, "tunnel went away", {"pid", static_cast<int64_t>(peer_.pid)},
                   {"error", base::os_error_of(sent.os, "sendmsg").message()});
        end();
    }
}

base::Io ZdsConnection::send(const Message& message) const {
    zds::WorkloadRequest request;
    int netns = -1;
    if (message.kind == Kind::Add) {
        const auto found = owner_.pods().find(message.uid);
        if (found == owner_.pods().end()) {  // gone while it waited for room: a Del follows
            request.mutable_del()->set_uid(message.uid);
        } else {
            zds::AddWorkload& add = *request.mutable_add();
            add.set_uid(message.uid);
            add.mutable_workload_info()->set_name(found->second.name);
            add.mutable_workload_info()->set_namespace_(found->second.ns);
            add.mutable_workload_info()->set_service_account(found->second.service_account);
            netns = found->second.netns->fd();
        }
    } else if (message.kind == Kind::Del) {
        request.mutable_del()->set_uid(message.uid);
    } else {
        request.mutable_snapshot_sent();
    }
    std::string bytes = request.SerializeAsString();
    iovec iov{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &iov;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (netns >= 0) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(part), &netns, sizeof netns);
    }
    const ssize_t n = ::sendmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return {static_cast<size_t>(n), base::Io::State::Ready, 0};
    const int os = errno;
    if (os == EAGAIN || os == EINTR || os == ENOBUFS) return {0, base::Io::State::WouldBlock, 0};
    return {0, base::Io::State::Failed, os};
}

TunnelStatus ZdsConnection::status() const {
    TunnelStatus s;
    s.peer = peer_;
    s.since = since_;
    s.synced = all_told_;
    const bool adding = outstanding_.kind == Kind::Add;
    s.pods = told_.size() - refused_.size() - (adding && told_.contains(outstanding_.uid) && !refused_.contains(outstanding_.uid) ? 1 : 0);
    s.waiting = turns_.size() + (outstanding_.kind != Kind::None ? 1 : 0);
    s.refused = refused_;
    return s;
}

}  // namespace warren::node
