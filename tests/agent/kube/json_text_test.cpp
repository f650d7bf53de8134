// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/json_text.h"
#include "agent/kube/gateway_status.h"
#include "agent/kube/leader.h"
#include "agent/kube/token_review.h"
#include "tests/catch.h"

#include <nlohmann/json.hpp>

using namespace warren::kube;
using nlohmann::json;

namespace {

const Resource kPods{"", {"v1"}, "pods", "Pod"};

std::vector<std::string> split(size_t max, const std::vector<std::string>& pieces, bool* ok = nullptr) {
    LineSplitter lines(max);
    std::vector<std::string> out;
    bool good = true;
    for (const std::string& piece : pieces)
        good = good && lines.feed(piece, [&](std::string_view line) {
            out.emplace_back(line);
            return true;
        });
    if (ok != nullptr) *ok = good;
    return out;
}

}  // namespace

TEST_CASE("json_text: lines come whole however the stream is cut") {
    const std::string text = "one\n\ntwo words\nthree\n";
    for (size_t step = 1; step <= text.size(); ++step) {
        std::vector<std::string> pieces;
        for (size_t at = 0; at < text.size(); at += step) pieces.push_back(text.substr(at, step));
        CHECK(split(100, pieces) == std::vector<std::string>{"one", "two words", "three"});
    }
}

TEST_CASE("json_text: a line beyond the bound ends the stream") {
    bool ok = true;
    CHECK(split(5, {"1234", "5\n", "12345", "6"}, &ok) == std::vector<std::string>{"12345"});
    CHECK(!ok);
    CHECK(split(5, {"123456\n"}, &ok).empty());
    CHECK(!ok);
}

TEST_CASE("json_text: an object gets its kind and loses what nobody reads") {
    const auto page = parse_list_page(R"({"metadata":{"resourceVersion":"7","continue":"c"},"items":[
        {"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"3","managedFields":[{}],
         "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","k":"v"}}},
        {"metadata":{"namespace":"n"}}, 7]})",
                                      kPods, "v1");
    REQUIRE(page);
    CHECK(page->resource_version == "7");
    CHECK(page->continue_token == "c");
    CHECK(page->malformed.size() == 2);
    REQUIRE(page->items.size() == 1);
    CHECK(page->items[0].key() == "n/a");
    CHECK(page->items[0].resource_version == "3");
    CHECK(json::parse(page->items[0].json) ==
          json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"3",
                          "annotations":{"k":"v"}}})"));
}

TEST_CASE("json_text: events of a watch") {
    using Type = WatchEvent::Type;
    const auto event = [](std::string_view text) { return parse_watch_event(text, kPods, "v1"); };
    CHECK(event(R"({"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"n"}}})")->type == Type::Modified);
    CHECK(event(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}})")->object.resource_version == "9");
    const auto gone = event(R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})");
    CHECK(gone->status == 410);
    CHECK(gone->message == "too old");
    CHECK(event(R"({"type":"ADDED","object":{"metadata":{"name":"a"}}})")->malformed);
    CHECK(event(R"({"type":"ADDED"})")->malformed);
    CHECK(event(R"({"type":"NEWS","object":{}})")->type == Type::Unknown);
    CHECK(!event("{"));
    CHECK(!event(std::string(1000, '[')));  // deep
    CHECK(!event("\"\xff\""));              // not UTF-8
}

TEST_CASE("token_review: who may pass") {
    json answer = json::parse(R"({"status":{"authenticated":true,"audiences":["istio-ca"],"user":{
        "username":"system:serviceaccount:mesh:ztunnel","groups":["system:serviceaccounts","system:authenticated"],
        "extra":{"authentication.kubernetes.io/pod-name":["p"],"authentication.kubernetes.io/pod-uid":["u"],
                 "authentication.kubernetes.io/node-name":["n"]}}}})");
    const std::vector<std::string> audiences = {"istio-ca"};
    const auto review = [&] { return parse_token_review(answer.dump(), audiences); };
    CHECK(*review() == TokenIdentity{"mesh", "ztunnel", "p", "u", "n", {"istio-ca"}});
    json& status = answer["status"];
    SECTION("not authenticated") { status["authenticated"] = false; }
    SECTION("another audience") { status["audiences"] = {"vault"}; }
    SECTION("a server without audiences") { status.erase("audiences"); }
    SECTION("a user who is no service account") { status["user"]["groups"] = {"system:masters"}; }
    SECTION("a name with too few parts") { status["user"]["username"] = "system:serviceaccount:mesh"; }
    SECTION("a name with too many parts") { status["user"]["username"] = "system:serviceaccount:mesh:a:b"; }
    SECTION("an empty part") { status["user"]["username"] = "system:serviceaccount::a"; }
    CHECK(review().error().code == warren::base::Errc::Denied);
}

TEST_CASE("condition: others stay, and nothing is written twice") {
    const std::string object = R"({"metadata":{"resourceVersion":"5","generation":3,"uid":"u"},"status":{"conditions":[
        {"type":"Other","status":"True"},
        {"type":"T","status":"True","reason":"R","message":"old","lastTransitionTime":"before","observedGeneration":1}]}})";
    // The spec that was judged, not the one there is by now.
    const Subject subject{"ns", "n", "u", 2};
    const std::vector<Condition> wanted = {{"T", true, "R", "m"}};
    const auto patch = condition_patch(object, subject, wanted, "now");
    REQUIRE(patch);
    REQUIRE(*patch);
    const json written = json::parse(**patch);
    CHECK(written["metadata"]["resourceVersion"] == "5");
    CHECK(written["status"]["conditions"] == json::parse(R"([{"type":"Other","status":"True"},
        {"type":"T","status":"True","reason":"R","message":"m","lastTransitionTime":"before","observedGeneration":2}])"));
    json after = json::parse(object);
    after["status"] = written["status"];
    CHECK(condition_patch(after.dump(), subject, wanted, "later")->has_value() == false);
    const auto changed = condition_patch(after.dump(), subject, std::vector<Condition>{{"T", false, "R", "m"}}, "later");
    CHECK(json::parse(**changed)["status"]["conditions"][1]["lastTransitionTime"] == "later");
    const auto seen = condition_patch(after.dump(), {"ns", "n", "u", 3}, wanted, "later");
    REQUIRE(*seen);
    CHECK(json::parse(**seen)["status"]["conditions"][1]["observedGeneration"] == 3);
    CHECK(json::parse(**seen)["status"]["conditions"][1]["lastTransitionTime"] == "before");
    CHECK(!condition_patch("[]", subject, wanted, "now"));
    CHECK(condition_patch(object, {"ns", "n", "another", 2}, wanted, "now")->has_value() == false);
}

TEST_CASE("condition: several are one patch, and what is to be absent goes") {
    const std::string object = R"({"metadata":{"resourceVersion":"5"},"status":{"conditions":[
        {"type":"T","status":"True"},7,{"type":3},{"type":"Other","status":"True"}]}})";
    const std::vector<Condition> wanted = {{.type = "T", .reason = {}, .message = {}, .absent = true}, {"U", true, "R", "m"}};
    const auto patch = condition_patch(object, {"ns", "n", "", 0}, wanted, "now");
    REQUIRE(patch);
    REQUIRE(*patch);
    json after = json::parse(object);
    after["status"] = json::parse(**patch)["status"];
    CHECK(after["status"]["conditions"] == json::parse(R"([7,{"type":3},{"type":"Other","status":"True"},
        {"type":"U","status":"True","reason":"R","message":"m","lastTransitionTime":"now"}])"));
    CHECK(condition_patch(after.dump(), {"ns", "n", "", 0}, wanted, "later")->has_value() == false);
}

TEST_CASE("gateway status: what is there already is not written again, whoever else is there") {
    const GatewayStatus status{{{"Accepted", true, "A", "m"}}, {{"IPAddress", "10.0.0.1"}}, {{"l", {{"Accepted", false, "B", "m"}}}}};
    const Subject subject{"ns", "n", "u", 2};
    const auto patch = gateway_patch(R"({"metadata":{"uid":"u","resourceVersion":"5"}})", subject, status, "now");
    REQUIRE(patch);
    REQUIRE(*patch);
    json object = json::parse(**patch);
    CHECK(object == json::parse(R"({"apiVersion":"gateway.networking.k8s.io/v1","kind":"Gateway","metadata":{"namespace":"ns","name":"n"},
        "status":{"addresses":[{"type":"IPAddress","value":"10.0.0.1"}],
            "conditions":[{"type":"Accepted","status":"True","reason":"A","message":"m","lastTransitionTime":"now","observedGeneration":2}],
            "listeners":[{"name":"l","attachedRoutes":0,"supportedKinds":[],"conditions":[{"type":"Accepted","status":"False","reason":"B",
                "message":"m","lastTransitionTime":"now","observedGeneration":2}]}]}})"));
    object["metadata"]["uid"] = "u";
    const auto again = [&](const GatewayStatus& wanted = {}) {
        const auto made = gateway_patch(object.dump(), subject, wanted, "later");
        REQUIRE(made);
        return *made ? json::parse(**made)["status"] : json();
    };
    CHECK(again(status).is_null());
    // Others' beside ours.
    object["status"]["conditions"].push_back({{"type", "Theirs"}});
    object["status"]["listeners"][0]["conditions"].insert(object["status"]["listeners"][0]["conditions"].begin(), {{"type", "Theirs"}});
    CHECK(again(status).is_null());
    // A time stays with its status, in a listener too.
    GatewayStatus other = status;
    other.listeners[0].conditions[0].reason = "C";
    CHECK(again(other)["listeners"][0]["conditions"][0]["lastTransitionTime"] == "now");
    other.listeners[0].conditions[0].status = true;
    CHECK(again(other)["listeners"][0]["conditions"][0]["lastTransitionTime"] == "later");
    CHECK(again(other)["conditions"][0]["lastTransitionTime"] == "now");
    other = status;
    other.addresses.clear();
    CHECK(again(other)["addresses"].empty());
    other = status;
    other.listeners.clear();
    CHECK(again(other)["listeners"].empty());
    CHECK(again({}) == json::object());  // nothing of ours is to stay
    for (const char* odd : {"7", "[]", R"({"conditions":7,"listeners":{},"addresses":null})",
                            R"({"conditions":[7,{"type":[]}],"listeners":[{"name":"l","conditions":7}]})"}) {
        INFO(odd);
        object["status"] = json::parse(odd);
        CHECK(again(status)["conditions"].size() == 1);
    }
    CHECK(gateway_patch(object.dump(), {"ns", "n", "another", 2}, status, "later")->has_value() == false);
    CHECK(!gateway_patch("7", subject, status, "later"));
}

TEST_CASE("leader: a lease survives its JSON form") {
    const LeaseRecord record{"me", 30, "2024-01-01T00:00:00.000001Z", "2024-01-01T00:00:00.000000Z", 4, "17"};
    const auto read = parse_lease(lease_json("ns", "n", record));
    REQUIRE(read);
    CHECK(read->holder == "me");
    CHECK(read->duration_s == 30);
    CHECK(read->transitions == 4);
    CHECK(read->resource_version == "17");
    CHECK(parse_lease(R"({"metadata":{"resourceVersion":"1"},"spec":{"holderIdentity":null}})")->holder.empty());
    CHECK(!parse_lease("[]"));
}
