// SPDX-License-Identifier: Apache-2.0
// One tunnel on the ZDS socket: hello, snapshot, then Adds and Dels, one outstanding at a time. Owned by ZdsServer on the loop's thread;
// buries itself. Internal to zds_server.cpp.
#pragma once

#include "agent/node/zds_server.h"
#include "base/timer.h"

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace warren::node {

class ZdsConnection;

// What a connection needs of its server.
class ZdsOwner {
  public:
    virtual ~ZdsOwner() = default;
    virtual base::Loop& loop() = 0;
    virtual TunnelEvents& events() = 0;
    virtual ZdsStats& counts() = 0;
    virtual const std::map<std::string, TunnelPod>& pods() = 0;
    virtual std::chrono::milliseconds patience() = 0;
    virtual void gone(ZdsConnection& connection) = 0;
    // After a snapshot: what changed meanwhile is this connection's if it is the newest.
    virtual bool newest(const ZdsConnection& connection) = 0;
    // Every pod of the node is among pods().
    virtual bool is_complete() = 0;
    // It is to hear of no pods first (ZdsOptions::anew_since).
    virtual bool begins_anew(const ZdsConnection& connection) = 0;
};

class ZdsConnection final : public base::IoHandler, public base::Buried {
  public:
    // Returns null when the descriptor cannot be watched; the descriptor is closed then.
    static ZdsConnection* start(ZdsOwner& owner, base::Fd fd, TunnelPeer peer);

    // Brings the tunnel to what the server has: sends what it lacks, and takes away what is gone.
    void update();
    // The server has, has not any more, or (replaced) has in another namespace the pod of that uid.
    void changed(const std::string& uid, bool replaced);
    [[nodiscard]] bool refuses(const std::string& uid) const { return refused_.contains(uid); }
    void end();

    [[nodiscard]] TunnelStatus status() const;
    [[nodiscard]] const TunnelPeer& peer() const { return peer_; }

  private:
    enum class Stage : uint8_t { Hello, Snapshot, Synced, Gone };
    enum class Kind : uint8_t { None, Add, Del, SnapshotSent };
    struct Message {
        Kind kind = Kind::None;
        std::string uid;
    };
    ZdsConnection(ZdsOwner& owner, base::Fd fd, TunnelPeer peer);

    void on_io(uint32_t events) override;
    void on_timer();
    bool read_one();
    bool take_hello(std::string_view packet);
    bool take_answer(std::string_view packet);
    bool fail(const char* why);
    void touch(const std::string& uid);
    Message next_message();
    void pump();
    [[nodiscard]] base::Io send(const Message& message) const;

    ZdsOwner& owner_;
    base::Fd fd_;
    const TunnelPeer peer_;
    const base::MonoTime since_;
    base::Timer timer_;
    Stage stage_ = Stage::Hello;
    // Pods about which this tunnel may know something else than the server does: each at most once, so bounded by their number. What to
    // say of one is decided when its turn comes.
    std::deque<std::string> turns_;
    std::set<std::string> touched_;
    Message outstanding_;
    bool anew_ = false;           // its snapshot is empty, and the pods follow
    bool all_told_ = false;       // it has answered for every pod there was
    bool writing_ = false;        // outstanding_ waits for room in the socket
    std::set<std::string> told_;  // Adds sent and not taken back
    std::map<std::string, std::string> refused_;
};

}  // namespace warren::node
