// SPDX-License-Identifier: Apache-2.0
// What an API server sends: a watch stream in pieces whose size is the first byte, and the same bytes as a page of a list, a Status, a
// Lease, a TokenReview and an object with conditions. Nothing may crash; lines do not depend on the pieces; an object has a key.
#include "agent/kube/gateway_status.h"
#include "agent/kube/json_text.h"
#include "agent/kube/leader.h"
#include "agent/kube/token_review.h"

#include <algorithm>
#include <cstdlib>

using namespace warren::kube;

namespace {

const Resource kPods{"", {"v1"}, "pods", "Pod"};

std::vector<std::string> lines(std::string_view text, size_t step) {
    LineSplitter splitter(4096);
    std::vector<std::string> out;
    const auto keep = [&](std::string_view line) {
        out.emplace_back(line);
        return true;
    };
    for (; !text.empty(); text.remove_prefix(std::min(step, text.size())))
        if (!splitter.feed(text.substr(0, step), keep)) break;
    return out;
}

void check(const Object& object) {
    if (object.name.empty() || object.ns.empty() || object.json.find('\n') != std::string::npos) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto pieces = lines(text, size_t{data[0]} + 1);
    if (pieces != lines(text, 1)) std::abort();
    for (const std::string& line : pieces) {
        const auto event = parse_watch_event(line, kPods, "v1");
        using Type = WatchEvent::Type;
        if (event && !event->malformed && (event->type == Type::Added || event->type == Type::Deleted)) check(event->object);
    }
    if (const auto page = parse_list_page(text, kPods, "v1")) std::for_each(page->items.begin(), page->items.end(), check);
    static_cast<void>(status_message(text));
    static_cast<void>(parse_lease(text));
    if (const auto who = parse_token_review(text, {"istio-ca"}); who && (who->ns.empty() || who->service_account.empty())) std::abort();
    const Condition conditions[] = {{"T", true, "R", "m"}, {.type = "U", .reason = {}, .message = {}, .absent = true}};
    const GatewayStatus gateway{{{"T", true, "R", "m"}}, {{"IPAddress", "10.0.0.1"}}, {{"l", {{"T", true, "R", "m"}}}}};
    static_cast<void>(gateway_patch(text, {"ns", "n", "", 1}, gateway, "now"));
    static_cast<void>(condition_patch(text, {"ns", "n", "", 1}, conditions, "now"));
    return 0;
}
