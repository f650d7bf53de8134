// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/protocol.h"

#include "agent/cni/json_bounds.h"

#include <algorithm>
#include <utility>

namespace warren::cni {

namespace {

constexpr size_t kMaxName = 253;           // of Kubernetes
constexpr int64_t kMostPatience = 60'000;  // ms; the kubelet gives a sandbox two minutes

base::Result<std::string> name_member(const Json& object, const char* key) {
    std::string text = TRY(text_member(object, key));
    if (text.size() > kMaxName) return base::invalid(std::string(key) + " is longer than 253 bytes");
    return text;
}

}  // namespace

std::string encode(const Question& q) {
    Json json = {{"kind", q.kind == Question::Kind::Add ? "add" : "del"},
                 {"namespace", q.ns},
                 {"pod", q.pod},
                 {"uid", q.uid},
                 {"container", q.container},
                 {"patienceMs", q.patience.count()}};
    Json addresses = Json::array();
    for (const base::IpAddr& address : q.addresses) addresses.push_back(address.to_string());
    json["addresses"] = std::move(addresses);
    return write_json(json);
}

std::string encode(const Answer& a) {
    const char* verdict = a.verdict == Answer::Verdict::Pass ? "pass" : a.verdict == Answer::Verdict::Captured ? "captured" : "later";
    // Whatever the reason holds, the packet has room for it.
    return write_json(Json{{"verdict", verdict}, {"why", a.why.substr(0, 1024)}});
}

base::Result<Question> parse_question(std::string_view text) {
    if (text.size() > kMaxMessage) return base::invalid("the question is longer than 16 KiB");
    const Json json = TRY(parse_json(text, "the question"));
    Question q;
    const std::string kind = TRY(text_member(json, "kind"));
    if (kind != "add" && kind != "del") return base::invalid("kind '" + kind + "': it is add or del");
    q.kind = kind == "add" ? Question::Kind::Add : Question::Kind::Del;
    q.ns = TRY(name_member(json, "namespace"));
    q.pod = TRY(name_member(json, "pod"));
    q.uid = TRY(name_member(json, "uid"));
    q.container = TRY(name_member(json, "container"));
    if (q.kind == Question::Kind::Add && (q.ns.empty() || q.pod.empty())) return base::invalid("namespace or pod is empty");
    if (const auto patience = json.find("patienceMs"); patience != json.end()) {
        if (!patience->is_number_integer()) return base::invalid("patienceMs is not a whole number");
        q.patience = std::chrono::milliseconds(std::clamp<int64_t>(patience->get<int64_t>(), 0, kMostPatience));
    }
    if (const auto addresses = json.find("addresses"); addresses != json.end()) {
        if (!addresses->is_array() || addresses->size() > kMaxAddresses) return base::invalid("addresses is not a list of at most 64");
        for (const Json& address : *addresses) {
            if (!address.is_string()) return base::invalid("addresses has an element that is not a string");
            q.addresses.push_back(TRY(base::IpAddr::parse(address.get_ref<const std::string&>())));
        }
    }
    return q;
}

base::Result<Answer> parse_answer(std::string_view text) {
    if (text.size() > kMaxMessage) return base::invalid("the answer is longer than 16 KiB");
    const Json json = TRY(parse_json(text, "the answer"));
    const std::string verdict = TRY(text_member(json, "verdict"));
    Answer a;
    if (verdict == "pass")
        a.verdict = Answer::Verdict::Pass;
    else if (verdict == "captured")
        a.verdict = Answer::Verdict::Captured;
    else if (verdict != "later")
        return base::invalid("verdict '" + verdict + "': it is pass, captured or later");
    a.why = TRY(text_member(json, "why"));
    return a;
}

}  // namespace warren::cni
