// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/token_review.h"

#include "agent/kube/json_text.h"
#include "base/log_line.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace warren::kube {

using base::Errc;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

constexpr std::string_view kPath = "/apis/authentication.k8s.io/v1/tokenreviews";

Error denied(std::string why) { return Error{Errc::Denied, 0, "", "token refused: " + std::move(why)}; }

// The first value of an extra.
std::string extra(const json& user, const char* key) {
    const json all = user.value("extra", json::object());
    const auto found = all.find(key);
    return found != all.end() && found->is_array() && found->size() == 1 && (*found)[0].is_string() ? (*found)[0].get<std::string>() : "";
}

Result<TokenIdentity> identity(const json& status, const std::vector<std::string>& audiences) {
    if (!status.value("authenticated", false)) return denied(base::log::quoted(status.value("error", "not authenticated")));
    TokenIdentity out;
    out.audiences = status.value("audiences", std::vector<std::string>());
    // A server that does not know audiences names none, and has then checked none.
    const bool fits = std::any_of(audiences.begin(), audiences.end(), [&](const std::string& a) {
        return std::find(out.audiences.begin(), out.audiences.end(), a) != out.audiences.end();
    });
    if (!audiences.empty() && !fits) return denied("it is for another audience");
    const json& user = status.at("user");
    const auto groups = user.value("groups", std::vector<std::string>());
    if (std::find(groups.begin(), groups.end(), "system:serviceaccounts") == groups.end()) return denied("it is of no service account");
    constexpr std::string_view kPrefix = "system:serviceaccount:";
    const std::string name = user.value("username", "");
    const size_t colon = name.find(':', kPrefix.size());
    if (!name.starts_with(kPrefix) || colon == std::string::npos || name.find(':', colon + 1) != std::string::npos)
        return denied("user name " + base::log::quoted(name) + " is of no service account");
    out.ns = name.substr(kPrefix.size(), colon - kPrefix.size());
    out.service_account = name.substr(colon + 1);
    if (out.ns.empty() || out.service_account.empty()) return denied("user name " + base::log::quoted(name) + " has an empty part");
    out.pod_name = extra(user, "authentication.kubernetes.io/pod-name");
    out.pod_uid = extra(user, "authentication.kubernetes.io/pod-uid");
    out.node_name = extra(user, "authentication.kubernetes.io/node-name");
    return out;
}

}  // namespace

Result<TokenIdentity> parse_token_review(std::string_view text, const std::vector<std::string>& audiences) {
    TRY(check_depth(text));
    try {
        const json root = json::parse(text);
        return identity(root.at("status"), audiences);
    } catch (const std::exception& e) {
        return Error{Errc::Protocol, 0, "", "not a TokenReview: " + base::log::quoted(e.what())};
    }
}

Result<TokenIdentity> TokenReviewer::ask(const std::string& token, base::MonoTime deadline) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.now());
    if (left.count() <= 0) return Error{Errc::Timeout, 0, "", "no time is left to review the token"};
    json body = {{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenReview"}, {"spec", {{"token", token}}}};
    if (!options_.audiences.empty()) body["spec"]["audiences"] = options_.audiences;
    Request request{Method::Post, std::string(kPath), body.dump()};
    request.within = left;
    const std::string answer = TRY(client_.call(request));
    return parse_token_review(answer, options_.audiences);
}

Result<TokenIdentity> TokenReviewer::review(const std::string& token, base::MonoTime deadline) {
    const bool plain = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (token.empty() || token.size() > options_.max_token_bytes || !plain) return denied("it is empty, too long, or no token at all");
    const std::string key = options_.key_of ? options_.key_of(token) : std::string();
    {
        const std::lock_guard lock(mutex_);
        const auto found = kept_.find(key);
        if (found != kept_.end() && clock_.now() < found->second.until) {
            ++stats_.hits;
            return found->second.answer;
        }
        if (stats_.at_once >= options_.max_at_once) {
            ++stats_.overloaded;
            return Error{Errc::Exhausted, 0, "", "too many tokens wait to be reviewed; try again"};
        }
        ++stats_.at_once;
        ++stats_.reviews;
    }
    auto answer = ask(token, deadline);
    const std::lock_guard lock(mutex_);
    --stats_.at_once;
    const bool said = answer || answer.error().code == Errc::Denied;
    if (!answer) ++(said ? stats_.denied : stats_.errors);
    if (!answer && answer.error().code == Errc::Timeout) ++stats_.timed_out;
    if (said && !key.empty()) keep(key, answer);
    return answer;
}

void TokenReviewer::keep(const std::string& key, const Result<TokenIdentity>& answer) {
    const base::MonoTime now = clock_.now();
    if (kept_.size() >= options_.max_kept) std::erase_if(kept_, [&](const auto& entry) { return entry.second.until <= now; });
    if (kept_.size() >= options_.max_kept) return;  // then each is a request: slower, never wrong
    kept_.insert_or_assign(key, Kept{answer, now + (answer ? options_.keep_good : options_.keep_bad)});
}

TokenReviewer::Stats TokenReviewer::stats() const {
    const std::lock_guard lock(mutex_);
    Stats out = stats_;
    out.kept = kept_.size();
    return out;
}

}  // namespace warren::kube
