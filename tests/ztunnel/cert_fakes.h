// SPDX-License-Identifier: Apache-2.0
// What the certificate store is tested with: certificates that are only a name and two times, a signer that answers when the test says so,
// and a loop that collects answers.
#pragma once

#include "base/clock.h"
#include "base/loop.h"
#include "tests/catch.h"
#include "ztunnel/cert_store_threads.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace warren::tests {

using namespace std::chrono_literals;
using policy::Identity;
using ztunnel::CertOutcome;
using ztunnel::CertPriority;
using ztunnel::ContextPtr;
using ztunnel::CredentialPtr;

inline Identity workload(const std::string& account) { return Identity("cluster.local", "default", account); }

class FakeCredential final : public ztunnel::Credential {
  public:
    FakeCredential(Identity who, base::WallTime from, base::WallTime to, std::vector<std::string> roots = {"root"})
        : identity_(std::move(who)) {
        chain_.push_back({"leaf", "1", from, to});
        for (auto& root : roots) roots_.push_back({std::move(root), "2", from, to});
    }
    [[nodiscard]] const Identity& identity() const override { return identity_; }
    [[nodiscard]] const std::vector<ztunnel::CertificateInfo>& chain() const override { return chain_; }
    [[nodiscard]] const std::vector<ztunnel::CertificateInfo>& roots() const override { return roots_; }
    [[nodiscard]] size_t skipped_roots() const override { return 0; }

  private:
    Identity identity_;
    std::vector<ztunnel::CertificateInfo> chain_, roots_;
};

struct FakeContext final : ztunnel::TlsContext {
    FakeContext(CredentialPtr c, std::shared_ptr<const ztunnel::RevocationList> r) : made_of(std::move(c)), revoked(std::move(r)) {}
    [[nodiscard]] base::Result<void> recheck(const std::vector<std::string>&, std::chrono::system_clock::time_point) const override {
        return {};
    }
    [[nodiscard]] const ztunnel::Credential& credential() const override { return *made_of; }
    CredentialPtr made_of;
    std::shared_ptr<const ztunnel::RevocationList> revoked;
};

inline CertOutcome fake_context(CredentialPtr credential, std::shared_ptr<const ztunnel::RevocationList> revoked) {
    return ContextPtr(std::make_shared<FakeContext>(std::move(credential), std::move(revoked)));
}

// Until it holds, 20 s at most: longer than anything here takes on a busy machine.
inline bool wait_for(const std::function<bool()>& holds, const std::function<void()>& meanwhile) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!holds()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        meanwhile();
    }
    return true;
}

class FakeSigner final : public ztunnel::CertSigner {
  private:
    template <class F>
    void set(F f) {
        const std::lock_guard lock(mutex_);
        f();
        changed_.notify_all();
    }
    template <class F>
    auto get(F f) {
        const std::lock_guard lock(mutex_);
        return f();
    }

  public:
    explicit FakeSigner(const base::Clock& clock) : clock_(clock) {}

    base::Result<CredentialPtr> sign(const Identity& identity, std::chrono::steady_clock::time_point) override {
        std::unique_lock lock(mutex_);
        started_.emplace_back(identity.service_account());
        ++calls_[std::string(identity.service_account())];
        most_ = std::max(most_, ++in_flight_);
        changed_.notify_all();
        const bool released = changed_.wait_for(lock, 20s, [&] { return !held_ || permits_ > 0; });
        if (held_ && permits_ > 0) --permits_;
        --in_flight_;
        if (!released) return base::Error{base::Errc::Timeout, 0, "fake signer", "never released"};
        if (failure_) return *failure_;
        const auto now = clock_.wall();
        return CredentialPtr(std::make_shared<FakeCredential>(identity, now, now + lifetime_, roots_));
    }

    // From now on calls wait for release().
    void hold() {
        set([&] { held_ = true; });
    }
    void release(int calls) {
        set([&] { permits_ += calls; });
    }
    void release_all() {
        set([&] { held_ = false; });
    }
    void fail(std::optional<base::Error> error) {
        set([&] { failure_ = std::move(error); });
    }
    void fail() { fail(base::Error{base::Errc::Unavailable, 0, "fake signer", "no"}); }
    void lifetime(std::chrono::seconds value) {
        set([&] { lifetime_ = value; });
    }
    void roots(std::vector<std::string> value) {
        set([&] { roots_ = std::move(value); });
    }

    int calls(const std::string& account) {
        return get([&] { return calls_[account]; });
    }
    std::vector<std::string> started() {
        return get([&] { return started_; });
    }
    int in_flight() {
        return get([&] { return in_flight_; });
    }
    int most() {
        return get([&] { return most_; });
    }
    bool wait_started(size_t n) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return started_.size() >= n; });
    }

  private:
    const base::Clock& clock_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    int permits_ = 0, in_flight_ = 0, most_ = 0;
    std::chrono::seconds lifetime_ = 24h;
    std::vector<std::string> roots_{"root"};
    std::optional<base::Error> failure_;
    std::vector<std::string> started_;
    std::map<std::string, int> calls_;
};

// A loop that asks, and the answers it got.
struct Asker {
    using Handle = std::shared_ptr<std::optional<CertOutcome>>;

    explicit Asker(size_t mailbox = 4096) {
        auto made = base::Loop::create({.mailbox_capacity = mailbox});
        REQUIRE(made);
        loop = std::move(*made);
    }
    Handle ask(ztunnel::CertStore& store, const Identity& identity, CertPriority priority = CertPriority::RealTime) {
        auto handle = std::make_shared<std::optional<CertOutcome>>();
        store.request(identity, priority, *loop, [handle](CertOutcome outcome) { handle->emplace(std::move(outcome)); });
        return handle;
    }
    void turn() { REQUIRE(loop->run_once(std::chrono::steady_clock::now() + 1ms)); }
    bool until(const std::function<bool()>& holds) {
        return wait_for(holds, [&] { turn(); });
    }
    CertOutcome answer(const Handle& handle) {
        if (!until([&] { return handle->has_value(); })) return base::Error{base::Errc::Timeout, 0, "test", "no answer"};
        return **handle;
    }
    CertOutcome get(ztunnel::CertStore& store, const Identity& identity, CertPriority priority = CertPriority::RealTime) {
        return answer(ask(store, identity, priority));
    }
    std::unique_ptr<base::Loop> loop;
};

}  // namespace warren::tests
