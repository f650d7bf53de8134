// SPDX-License-Identifier: Apache-2.0
#include "agent/node/node_join.h"

#include "base/log.h"

#include <algorithm>
#include <random>
#include <utility>

namespace warren::node {
namespace {

using namespace std::chrono_literals;
using base::log::Level;

const base::log::Area kLog("join");

constexpr auto kAttempt = 10s;  // one call, its connection included
constexpr auto kFirst = 15s;    // a stream waits so long for the first certificate before it backs off
constexpr auto kLook = 60s;     // the wall clock may jump: it is looked at so often

}  // namespace

NodeJoin::NodeJoin(xds::JoinOptions options, std::string file, std::string token_path, const base::Clock& clock)
    : options_(std::move(options)), file_(std::move(file)), token_path_(std::move(token_path)), clock_(clock) {
    status_.identity = xds::node_uri_of(options_);
    status_.file = file_;
}

NodeJoin::~NodeJoin() { stop(); }

void NodeJoin::start() {
    take_kept();
    thread_ = std::thread([this] { run(); });
}

void NodeJoin::stop() {
    stop_.request_stop();
    {
        const std::lock_guard lock(mutex_);  // between a waiter's look and its wait
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

// Streams need not wait for the renewal of one that is good.
void NodeJoin::take_kept() {
    auto kept = xds::load_node_credential(file_, status_.identity);
    const std::lock_guard lock(mutex_);
    if (kept && clock_.wall() < kept->not_after) take(std::move(*kept), false);
}

bool NodeJoin::usable() const { return credential_ && clock_.wall() < credential_->not_after; }

base::MonoTime NodeJoin::due(base::MonoTime now) const {
    if (!usable()) return not_before_attempt_;
    const base::MonoTime by_wall = now + std::max<base::FakeClock::Duration>(status_.renew_at - clock_.wall(), 0ns);
    return std::max(not_before_attempt_, std::min(by_wall, renew_mono_));
}

void NodeJoin::take(xds::NodeCredential credential, bool fresh) {
    const base::MonoTime now = clock_.now();
    const auto life = credential.not_after - credential.not_before;
    // Nodes that joined together shall not renew together.
    const auto jitter = base::FakeClock::Duration(std::uniform_int_distribution<int64_t>(0, (life / 10).count())(random_));
    status_.not_before = credential.not_before;
    status_.not_after = credential.not_after;
    status_.renew_at = credential.renew_at() + jitter;
    status_.error.clear();
    renew_mono_ = now + life / 2 + jitter;
    // A short one is half over when it arrives, for it is dated back.
    const base::WallTime wall = clock_.wall();
    const bool valid_here = wall >= credential.not_before && wall < credential.not_after;
    not_before_attempt_ = !fresh ? now : now + (valid_here ? std::min(life / 4, (credential.not_after - wall) / 2) : life / 4);
    failures_in_row_ = 0;
    backoff_.reset();
    if (fresh && !valid_here)
        WARREN_LOG(kLog, Level::Warn, "the control plane's clock and this node's are apart: set the node's clock",
                   {"certificate_from", base::to_rfc3339(credential.not_before, 0)},
                   {"certificate_to", base::to_rfc3339(credential.not_after, 0)}, {"here", base::to_rfc3339(wall, 0)});
    credential_.emplace(std::move(credential));
    changed_.notify_all();
}

void NodeJoin::run() {
    std::unique_lock lock(mutex_);
    while (!stop_.stop_requested()) {
        const base::MonoTime now = clock_.now();
        const auto wait = due(now) - now;
        if (wait > 0ns)
            changed_.wait_for(lock, std::min<base::FakeClock::Duration>(wait, kLook));
        else
            attempt(lock);
    }
}

void NodeJoin::attempt(std::unique_lock<std::mutex>& lock) {
    xds::JoinOptions options = options_;
    options.stop = stop_.get_token();
    const bool renews = usable();
    const bool anew = renews && failures_in_row_ % 2 == 1 && options.token.read();
    options.renew = anew ? xds::Renew::Anew : renews ? xds::Renew::Now : xds::Renew::WhenDue;
    lock.unlock();
    auto joined = xds::join(options, file_, clock_, std::chrono::steady_clock::now() + kAttempt);
    lock.lock();
    if (stop_.stop_requested()) return;
    if (!joined) return failed(joined.error(), !renews || anew);
    if (!joined->renewal_error.empty()) return failed({base::Errc::Unavailable, 0, "", joined->renewal_error}, anew);
    take(std::move(joined->credential), joined->changed);
    if (!joined->changed) return;
    ++status_.renewals;
    WARREN_LOG(kLog, Level::Info, renews && !anew ? "the node's certificate is renewed" : "joined: the node has a certificate of its own",
               {"identity", status_.identity}, {"file", file_}, {"expires", base::to_rfc3339(status_.not_after, 0)});
}

void NodeJoin::failed(const base::Error& error, bool with_token) {
    ++status_.failures;
    ++failures_in_row_;
    const auto pause = backoff_.next(random_);
    not_before_attempt_ = clock_.now() + pause;
    status_.error = error.message() + advice(error, with_token);
    WARREN_LOG(kLog, usable() ? Level::Warn : Level::Error,
               usable() ? "the node's certificate is not renewed; the present one goes on" : "the node cannot join",
               {"error", status_.error}, {"identity", status_.identity},
               {"retry_ms", std::chrono::duration_cast<std::chrono::milliseconds>(pause).count()});
    changed_.notify_all();
}

// What the operator does about it. The control plane tells a caller that it does not know only that it does not; its audit log says why.
std::string NodeJoin::advice(const base::Error& error, bool with_token) const {
    const std::string create = "warren-controller token create NAME --node " + options_.node;
    const std::string& said = error.message();
    const auto has = [&](const char* text) { return said.find(text) != std::string::npos; };
    if (with_token && options_.token.none()) return ": set join.token to a file with a bootstrap token (" + create + ")";
    const bool refused = error.code == base::Errc::Denied || has("authentication failed");
    if (refused && with_token)
        return ": the token in " + token_path_ +
               " has expired, is used up, is unknown or is for other nodes, or the node is revoked; the control plane's " +
               "audit log says which. A new one: " + create;
    if (refused) return ": the control plane renews no certificate of this node any more; its audit log says why (is the node revoked?)";
    if (has("CERTIFICATE_VERIFY_FAILED") || has("certificate verify failed") || has("handshake"))
        return ": is xds.roots the control plane's root certificate, and is this node's clock right?";
    if (with_token && error.code != base::Errc::Unavailable && error.code != base::Errc::Timeout)
        return ": join.token is the file " + token_path_ + "; a new token: " + create;
    return {};
}

base::Result<xds::NodeProof> NodeJoin::proof() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kFirst, [this] { return stop_.stop_requested() || usable() || !status_.error.empty(); });
    if (!usable()) {
        const std::string why = status_.error.empty() ? "the control plane has not answered yet" : status_.error;
        return base::Error{base::Errc::Unavailable, 0, "", "this node has no certificate of its own: " + why};
    }
    xds::NodeProof proof;
    proof.certificate = credential_->certificate();
    proof.more_roots = credential_->roots_pem;
    return proof;
}

NodeJoinStatus NodeJoin::status() const {
    const std::lock_guard lock(mutex_);
    NodeJoinStatus now = status_;
    now.joined = usable();
    return now;
}

}  // namespace warren::node
