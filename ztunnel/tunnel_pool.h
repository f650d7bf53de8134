// SPDX-License-Identifier: Apache-2.0
// TunnelPool: the outbound HBONE connections of one pod on one worker (data-plane contract 4.6). One TLS connection per key carries
// many streams; the first request of a key dials, the others wait for that dial and share its outcome, failure included (trap 43).
// A tunnel that is full stays known and takes streams again when some have ended (trap 44). Where bulk saturates the key's tunnels, new
// streams get a further one, up to kMostBesideBulk: a request does not queue behind somebody else's megabytes. Belongs to the worker's
// thread.
#pragma once

#include "base/ip.h"
#include "base/loop.h"
#include "base/result.h"
#include "policy/identity.h"
#include "ztunnel/tls_context.h"
#include "ztunnel/tunnel.h"

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace warren::ztunnel {

class PodProxy;

struct TunnelKey {
    policy::Identity own;
    std::vector<policy::Identity> expected;  // in order; any one suffices
    base::IpAddr source;                     // the client's: peers see it as the connection's source
    base::SockAddr destination;
    bool operator==(const TunnelKey&) const = default;
};

// Who waits for a tunnel. It is called exactly once, unless it withdrew (its destructor does).
class TunnelWaiter : public base::Link<TunnelWaiter> {
  public:
    // Never called from inside TunnelPool::get. The tunnel has room for one stream now.
    virtual void on_tunnel(base::Result<Tunnel*> tunnel) = 0;

    void withdraw() { base::LinkList<TunnelWaiter>::remove(*this); }

  protected:
    ~TunnelWaiter() = default;
};

class TunnelPool {
  public:
    explicit TunnelPool(PodProxy& pod);
    ~TunnelPool();

    // A tunnel with room, or null: the waiter is called later.
    Tunnel* get(const TunnelKey& key, TunnelWaiter& waiter);
    void close_all(const std::string& why);
    // Re-check of peers after a change of roots or revocation list.
    void on_trust_change(const TlsContext& context);
    [[nodiscard]] size_t tunnels() const;
    [[nodiscard]] uint64_t dials() const { return dials_; }

  private:
    struct KeyHash {
        size_t operator()(const TunnelKey& k) const noexcept {
            size_t h = k.own.principal().hash() * 31 ^ k.source.hash();
            for (const auto& id : k.expected) h = h * 131 ^ id.principal().hash();
            return h * 31 ^ std::hash<base::SockAddr>()(k.destination);
        }
    };
    static constexpr size_t kMostBesideBulk = 4;
    class Pooled;
    struct Entry;
    using Entries = std::unordered_map<TunnelKey, std::unique_ptr<Entry>, KeyHash>;

    // Null where a further tunnel is to be dialled, unless it has to be one of those that are there.
    enum class Choice : uint8_t { Best, Any };
    Tunnel* with_room(Entry& entry, Choice choice);
    void dial(const TunnelKey& key, Entry& entry);
    void dial_with(const TunnelKey& key, std::shared_ptr<const TlsContext> context);
    void settle(const TunnelKey& key, base::Result<Tunnel*> outcome);
    void gone(Pooled& pooled, const base::Error* why);

    PodProxy& pod_;
    Entries entries_;
    uint64_t dials_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // a certificate may be answered after the pod has left
};

}  // namespace warren::ztunnel
