// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/check_daemons.h"

#include "tools/warren/certificates.h"

#include <curl/curl.h>

#include <algorithm>

namespace warren::tools {
namespace {

constexpr auto kSkewNoted = std::chrono::seconds(30);
constexpr auto kSkewBad = std::chrono::seconds(110);  // certificates begin two minutes before they are signed

std::string joined(const Json& list) {
    std::string out;
    for (const Json& one : list) out += (out.empty() ? "" : ", ") + text_of(one);
    return out;
}

void hooks(const Json& kernel, Findings& to) {
    size_t sisters = 0;  // most programs of other Warren agents on one hook
    for (const Json& hook : list_at(kernel, "hooks")) {
        const std::string name = text_at(hook, "hook");
        if (!flag_at(hook, "attached"))
            to.push_back({Severity::Error, "hooks", name + ": " + text_at(hook, "program") + " is not attached",
                          "see the agent's log; `warren status` names what it waits for"});
        std::string others;
        size_t alike = 0;
        for (const Json& program : list_at(hook, "order")) {
            if (flag_at(program, "ours")) continue;
            const std::string other = text_at(program, "name");
            if (other == text_at(hook, "program"))
                ++alike;
            else
                others += (others.empty() ? "" : ", ") + other;
        }
        sisters = std::max(sisters, alike);
        if (!others.empty())
            to.push_back({Severity::Note, "hooks", "other programs on " + name + ": " + others,
                          "harmless unless they rewrite addresses; then they must leave the mesh's pods out"});
    }
    if (sisters > 0)
        to.push_back({Severity::Note, "hooks",
                      "programs of other Warren agents on this machine's hooks, " + std::to_string(sisters) + " on one",
                      "harmless: each knows its own pods; `warren lab status` names labs that are up"});
    for (const Json& failed : list_at(kernel, "unrepaired"))
        to.push_back({Severity::Error, "hooks", text_of(failed) + " could not be repaired",
                      "restart warren-agent, and report it: `warren bug-report`"});
}

void features(const Json& kernel, Findings& to) {
    for (const Json& f : list_at(kernel, "features")) {
        if (flag_at(f, "available")) continue;
        const bool required = flag_at(f, "required");
        to.push_back({required ? Severity::Error : Severity::Note, "features", text_at(f, "name") + " is missing: " + text_at(f, "why_not"),
                      required ? "a kernel that has it" : ""});
    }
}

void fill(const Json& kernel, const char* table, Findings& to) {
    const Json& one = at(kernel, table);
    if (flag_at(one, "alarm"))
        to.push_back({Severity::Warning, "tables",
                      std::string(table) + " table holds " + text_at(one, "used") + " of " + text_at(one, "capacity"),
                      "raise max_connections of the agent's settings"});
}

// What the agent knows of NetworkPolicies. The policies themselves are check_cluster.h's.
void network_policies(const Json& status, Findings& to) {
    const Json& n = at(at(status, "kubernetes"), "network_policies");
    if (!flag_at(n, "watched")) return;
    if (const std::string error = text_at(n, "error"); !flag_at(n, "known") && !error.empty())
        to.push_back({Severity::Warning, "network policies",
                      "the agent may not see them: same-node connections go direct where one may block them: " + error,
                      "let its service account get, list and watch networkpolicies of networking.k8s.io (the chart does), or set "
                      "kubernetes.network_policies: false where nobody enforces them"});
    if (const uint64_t unread = number_at(n, "unread"); unread != 0)
        to.push_back({Severity::Warning, "network policies",
                      std::to_string(unread) +
                          " could not be looked at; the pods of their namespaces take the tunnel on the node too: " + text_at(n, "error"),
                      "see the agent's log"});
}

void conntrack(const Json& status, Findings& to) {
    const Json& c = at(status, "conntrack");
    if (flag_at(c, "unavailable"))
        to.push_back({Severity::Note, "connection tracking",
                      "the agent cannot ask it: " + text_at(c, "error") +
                          ". Where kube-proxy translates service addresses, a connection between two pods of the node may now and then be "
                          "refused in the first two minutes after a running pod was enrolled",
                      "modprobe nf_conntrack_netlink (CONFIG_NF_CT_NETLINK), leave the agent NET_ADMIN, then start the agent anew. "
                      "Nothing is amiss where the node tracks no connections, or pods are enrolled before they start"});
    if (const uint64_t cut = number_at(c, "cut"); cut != 0)
        to.push_back({Severity::Note, "connection tracking",
                      std::to_string(cut) +
                          " looks at it ended at their bound: what pods did before they were captured may stay there for two "
                          "minutes after its end",
                      "enrol fewer running pods at a time, or restart them after"});
}

}  // namespace

void check_agent_status(const Json& s, Findings& to) {
    if (flag_at(s, "ready")) {
        to.push_back({Severity::Ok, "agent", "ready, node " + text_at(s, "node"), ""});
    } else {
        to.push_back({Severity::Error, "agent", "not ready, waits for " + joined(list_at(s, "waiting_for")), "see `warren status`"});
    }
    const Json& kernel = at(s, "kernel");
    features(kernel, to);
    hooks(kernel, to);
    fill(kernel, "handover", to);
    fill(kernel, "announced", to);
    if (const std::string error = text_at(at(s, "mesh"), "error"); !error.empty())
        to.push_back(
            {Severity::Error, "mesh", error, "correct " + text_at(at(s, "mesh"), "from") + ", or see whether the control plane is up"});
    for (const Json& pod : list_at(s, "pods"))
        if (const std::string why = text_at(pod, "why"); !why.empty())
            to.push_back({Severity::Warning, "pods",
                          text_at(pod, "namespace") + '/' + text_at(pod, "name") + " is " + text_at(pod, "state") + ": " + why, ""});
    network_policies(s, to);
    conntrack(s, to);
    if (const uint64_t failed = number_at(at(s, "tables"), "failed_writes"); failed != 0)
        to.push_back({Severity::Warning, "tables", std::to_string(failed) + " writes to the kernel's tables failed",
                      "see the agent's log; a table may be full (max_connections, max_pods)"});
    if (const uint64_t lost = number_at(at(s, "flows"), "kernel_lost"); lost != 0)
        to.push_back({Severity::Note, "flows", std::to_string(lost) + " flow records were lost in the kernel since the start", ""});
    for (const Json& k : list_at(s, "kubelet"))
        if (!list_at(k, "shared_with").empty())
            to.push_back(
                {Severity::Warning, "kubelet",
                 text_at(k, "cgroup") + " holds other programs beside " + text_at(k, "program") + ", and all pass as health probes",
                 "run the kubelet in a cgroup of its own"});
}

void check_controller_status(const Json& s, Findings& to) {
    if (flag_at(s, "ready"))
        to.push_back({Severity::Ok, "controller", "ready, version " + text_at(s, "version"), ""});
    else
        to.push_back({Severity::Error, "controller", "not ready, waits for " + joined(list_at(s, "waitingFor")), "see its log"});
    const Json &mesh = at(s, "mesh"), &source = at(s, "source");
    for (const Json* part : {&source, &mesh})
        for (const Json& error : list_at(*part, "errors"))
            to.push_back(
                {Severity::Error, "controller", text_of(error), "correct the object; until then its last good form counts, or none"});
    for (const Json& client : list_at(s, "clients"))
        for (const Json& type : list_at(client, "types"))
            if (const std::string nack = text_at(type, "lastNack"); !nack.empty())
                to.push_back(
                    {Severity::Warning, "controller", text_at(client, "node") + " refused an update: " + nack, "see that node's log"});
    if (const std::string error = text_at(at(s, "authority"), "error"); !error.empty())
        to.push_back({Severity::Error, "controller", "certificate authority: " + error, "see the controller's log"});
}

void check_certificates(const Json& dump, base::WallTime now, Findings& to) {
    size_t good = 0;
    for (const Json& c : list_at(dump, "certificates")) {
        const std::string identity = text_at(c, "identity");
        const Json& chain = list_at(c, "certChain");
        if (chain.empty()) {
            to.push_back({Severity::Error, "certs", identity + " has no certificate: " + text_at(c, "state"),
                          "see the tunnel's log for why its request was refused"});
            continue;
        }
        const auto from = base::parse_rfc3339(text_at(chain[0], "validFrom"));
        if (certificate_valid(chain[0], now))
            ++good;
        else if (from && now < *from)
            to.push_back(
                {Severity::Error, "clock",
                 identity + " is not valid before " + text_at(chain[0], "validFrom") + ": this node's clock is behind the authority's",
                 "set the clock; run an NTP client"});
        else
            to.push_back({Severity::Error, "certs", identity + " ended at " + text_at(chain[0], "expirationTime"),
                          "see whether the certificate authority answers; or this node's clock is ahead"});
    }
    if (good != 0) to.push_back({Severity::Ok, "certs", std::to_string(good) + " certificates are valid now", ""});
}

void check_skew(const std::string& date, base::WallTime now, Findings& to) {
    const time_t theirs = date.empty() ? -1 : ::curl_getdate(date.c_str(), nullptr);
    if (theirs < 0) return;
    const auto apart = std::chrono::duration_cast<std::chrono::seconds>(now - base::WallTime(std::chrono::seconds(theirs)));
    const auto size = std::chrono::abs(apart);
    const std::string text =
        "this node's clock is " + std::to_string(size.count()) + " s " + (apart.count() < 0 ? "behind" : "ahead of") + " the controller's";
    if (size < kSkewNoted)
        to.push_back({Severity::Ok, "clock", text, ""});
    else
        to.push_back({size < kSkewBad ? Severity::Warning : Severity::Error, "clock", text,
                      "set the clock of whichever is wrong; run an NTP client on both"});
}

}  // namespace warren::tools
