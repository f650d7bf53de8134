// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/xds_gate.h"

#include "agent/cluster/issuance.h"
#include "agent/xds/admission.h"
#include "base/bytes.h"
#include "base/log.h"

#include <condition_variable>
#include <deque>
#include <thread>
#include <vector>

namespace warren::cluster {

namespace {

const base::log::Area kLog("xds");

base::Error denied(std::string why) { return {base::Errc::Denied, 0, "", std::move(why)}; }

std::string_view header(const xds::Caller& caller, std::string_view name) {
    for (const auto& [key, value] : caller.metadata)
        if (key == name) return value;
    return {};
}

std::string_view field(const xds::NodeInfo& node, std::string_view name) {
    const auto found = node.metadata.find(std::string(name));
    return found == node.metadata.end() ? std::string_view() : std::string_view(found->second);
}

PresentedCredentials shown_by(const xds::Caller& caller) {
    return {caller.certificate, bearer_of(header(caller, "authorization")), header(caller, "clusterid"), caller.peer};
}

// Of "account/NS/ACCOUNT@NODE NAME": the node; empty when there is none.
std::string_view pods_node(std::string_view identity) {
    const std::string_view who = identity.substr(0, identity.find(' '));
    const size_t at = who.starts_with("account/") ? who.find('@') : std::string_view::npos;
    return at == std::string_view::npos ? std::string_view() : who.substr(at + 1);
}

}  // namespace

struct XdsGate::Queue {
    struct Job {
        xds::Caller caller;
        Done done;
    };
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Job> jobs;
    bool stopping = false;
    std::vector<std::thread> threads;
};

XdsGate::XdsGate(const cluster::Authenticator& authenticator, const Options& options, const base::Clock& clock)
    : authenticator_(authenticator),
      options_(options),
      clock_(clock),
      failures_(options.failures, clock),
      queue_(std::make_unique<Queue>()) {
    for (unsigned i = 0; options_.blocking && i < options_.threads; ++i)
        queue_->threads.emplace_back([this] {
            std::unique_lock lock(queue_->mutex);
            for (;;) {
                queue_->changed.wait(lock, [this] { return queue_->stopping || !queue_->jobs.empty(); });
                if (queue_->jobs.empty()) return;
                const Queue::Job job = std::move(queue_->jobs.front());
                queue_->jobs.pop_front();
                const bool stopping = queue_->stopping;
                lock.unlock();
                if (stopping)
                    job.done(base::Error{base::Errc::Unavailable, 0, "", "the controller is ending"});
                else
                    decide(job.caller, job.done);
                lock.lock();
            }
        });
}

XdsGate::~XdsGate() { stop(); }

void XdsGate::stop() {
    {
        const std::lock_guard lock(queue_->mutex);
        queue_->stopping = true;
    }
    queue_->changed.notify_all();
    for (std::thread& thread : queue_->threads)
        if (thread.joinable()) thread.join();
}

void XdsGate::authenticate(const xds::Caller& caller, Done done) {
    if (limited(caller, done)) return;
    // A good certificate is known without asking anybody: it does not wait behind those that must be asked about.
    const bool known = !caller.certificate.empty() &&
                       authenticator_.authenticate({.certificate_pem = caller.certificate, .peer = caller.peer}, clock_.now());
    if (!options_.blocking || known) return decide(caller, done);
    {
        const std::lock_guard lock(queue_->mutex);
        if (!queue_->stopping && queue_->jobs.size() < options_.queue) {
            queue_->jobs.push_back({caller, std::move(done)});
            queue_->changed.notify_one();
            return;
        }
    }
    ++stats_.overloaded;
    done(base::Error{base::Errc::Exhausted, 0, "", "too many callers wait to be authenticated; try again"});
}

// Before it waits for a thread, and again when it has one: many may have waited together.
bool XdsGate::limited(const xds::Caller& caller, const Done& done) {
    const std::string key = failure_key(shown_by(caller));
    if (failures_.peek(key)) return false;
    ++stats_.limited;
    WARREN_LOG_LIMITED(kLog, base::log::Level::Warn, repeats_, key, "streams are refused unheard: too many that nobody knows",
                       {"peer", caller.peer});
    done(base::Error{base::Errc::Exhausted, 0, "", "too many attempts that failed; try later"});
    return true;
}

void XdsGate::decide(const xds::Caller& caller, const Done& done) {
    if (limited(caller, done)) return;
    const PresentedCredentials shown = shown_by(caller);
    const auto known = authenticator_.authenticate(shown, clock_.now() + options_.deadline);
    const bool joins = known && known->kind == CallerKind::Bootstrap;
    if (known && !joins) {
        ++stats_.admitted;
        return done(identity_of(*known));
    }
    if (!known && known.error().code == base::Errc::Unavailable) {
        ++stats_.unreviewed;
        WARREN_LOG_LIMITED(kLog, base::log::Level::Warn, repeats_, "review", "a stream is refused: nobody can say who it is",
                           {"peer", caller.peer}, {"reason", known.error().message()});
        return done(base::Error{base::Errc::Unavailable, 0, "", "nobody can say at present who the caller is; try again"});
    }
    ++stats_.refused;
    (void)failures_.take(failure_key(shown));
    WARREN_LOG_LIMITED(kLog, base::log::Level::Warn, repeats_, xds::peer_key(caller.peer), "a stream is refused: nobody we know",
                       {"peer", caller.peer},
                       {"reason", joins ? known->name + " is a bootstrap token, which opens no stream" : known.error().message()});
    // One answer for the good token and the bad one: this is no place to try them at.
    done(denied("show a node certificate of this mesh (a bootstrap token is exchanged for one first) or a service account's token"));
}

std::string XdsGate::identity_of(CallerIdentity caller) const {
    if (caller.kind == CallerKind::Kubernetes && caller.node.empty() && options_.pods != nullptr)
        caller.node = options_.pods->node_of(caller).value_or("");
    return identity_text(caller);
}

std::string identity_text(const CallerIdentity& caller) {
    if (caller.kind != CallerKind::Kubernetes) return caller.name;
    std::string text = "account/" + std::string(caller.identity.ns()) + "/" + std::string(caller.identity.service_account());
    if (!caller.node.empty()) text += "@" + caller.node;
    return text + " " + caller.name;
}

base::Result<void> XdsGate::recheck(const std::string& identity, const std::string& certificate) {
    if (const auto node = pods_node(identity); !node.empty() && authenticator_.node_revoked(node))
        return denied("node " + std::string(node) + " is revoked");
    return authenticator_.recheck(std::string_view(identity).substr(0, identity.find(' ')), certificate);
}

base::Result<void> XdsGate::authorize(const std::string& identity, const xds::NodeInfo& node) {
    const std::string_view who = std::string_view(identity).substr(0, identity.find(' '));
    const std::string_view said_node = field(node, "NODE_NAME");
    if (who.starts_with("node/") && !said_node.empty() && who.substr(5) != said_node)
        return denied("the certificate is of " + std::string(who) + ", NODE_NAME says " + base::quoted(said_node));
    if (!who.starts_with("account/")) return {};
    // As the reference: the namespace it says it is in, or else the first label of the id's domain, and the account when it says one.
    const std::string_view account = who.substr(8, who.find('@') == std::string_view::npos ? who.npos : who.find('@') - 8);
    const std::string_view runs_on = pods_node(identity);
    if (!said_node.empty() && !runs_on.empty() && said_node != runs_on)
        return denied("the token is of a pod on node " + base::quoted(runs_on) + ", NODE_NAME says " + base::quoted(said_node));
    if (!runs_on.empty() && authenticator_.node_revoked(runs_on)) return denied("node " + std::string(runs_on) + " is revoked");
    const size_t slash = account.find('/');
    std::string_view ns = field(node, "NAMESPACE");
    if (ns.empty()) ns = std::string_view(node.domain).substr(0, node.domain.find('.'));
    if (ns != account.substr(0, slash))
        return denied("the token is of namespace " + base::quoted(account.substr(0, slash)) + ", the node says " + base::quoted(ns));
    const std::string_view said = field(node, "SERVICE_ACCOUNT");
    if (!said.empty() && said != account.substr(slash + 1))
        return denied("the token is of account " + base::quoted(account.substr(slash + 1)) + ", SERVICE_ACCOUNT says " +
                      base::quoted(said));
    return {};
}

}  // namespace warren::cluster
