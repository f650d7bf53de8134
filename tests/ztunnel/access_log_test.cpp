// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/access_log.h"

#include "tests/ztunnel/observe_fixture.h"
#include "ztunnel/traffic_recorder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <regex>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;

namespace {

std::string without_time(const std::string& line) { return line.substr(line.find('\t') + 1); }

ConnectionEnd end_of(uint64_t sent, uint64_t received, std::string_view error = {}) { return {sent, received, {}, error, nullptr}; }

// The connections of the samples, in their order.
void replay_samples(const SampleEnds& e) {
    constexpr auto kOut = Direction::Outbound, kIn = Direction::Inbound;
    const auto& c = SampleEnds::between;
    const auto out = SampleEnds::facts(kOut, e.p1, e.p2), out_service = SampleEnds::facts(kOut, e.p1, e.p2, e.server);
    const auto in = SampleEnds::facts(kIn, e.p1, e.p2, e.server);
    const std::string refused = "connection closed due to policy rejection: allow policies exist, but none allowed";
    log_complete(c(out, "10.77.1.2:58550", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(455233, 455232));
    log_complete(c(SampleEnds::facts(kIn, e.p1, e.p1b, e.server), "10.77.1.2:35562", "10.77.1.3:15008", "10.77.1.3:7000"),
                 end_of(540032, 540033));
    log_complete(c(SampleEnds::facts(kOut, e.p1, e.p1b), "10.77.1.2:49494", "10.77.1.3:15008", "10.77.1.3:7000"), end_of(540033, 540032));
    log_complete(c(out_service, "10.77.1.2:57464", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(261121, 261120));
    log_complete(c(out_service, "10.77.1.2:57456", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(260417, 260416));
    log_complete(c(out, "10.77.1.2:51420", "10.77.2.2:15008", "10.77.2.2:7999"), end_of(0, 0, "http status: 401 Unauthorized"));

    log_complete(c(in, "10.77.1.2:43634", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(455232, 455233));
    log_complete(c(in, "10.77.1.2:43634", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(260416, 260417));
    log_complete(c(in, "10.77.1.2:43634", "10.77.2.2:15008", "10.77.2.2:7000"), end_of(261120, 261121));
    log_complete(c(SampleEnds::facts(kIn, e.p2b, e.p2, e.server), "10.77.2.3:60296", "10.77.2.2:15008", "10.77.2.2:7000"),
                 end_of(0, 0, refused));
    log_complete(c(SampleEnds::facts(kOut, e.p2b, e.p2), "10.77.2.3:42454", "10.77.2.2:15008", "10.77.2.2:7000"),
                 end_of(0, 0, "http status: 401 Unauthorized"));
    log_complete(c(SampleEnds::facts(kIn, e.p1, e.p2), "10.77.1.2:43634", "10.77.2.2:15008", "10.77.2.2:7999"), end_of(0, 0, refused));
    TrafficFacts plain;
    plain.direction = kIn;
    plain.src = SampleEnds::addr("10.77.1.12:38480");
    plain.dst = SampleEnds::addr("10.77.2.2:7000");
    plain.dst_workload = e.p2;
    plain.dst_service = e.server;
    plain.src_identity = "spiffe://not/shown";  // not under mutual TLS
    log_complete(plain, end_of(0, 0,
                               "connection closed due to policy rejection: explicitly denied by: "
                               "istio-system/istio_converted_static_strict"));
}

}  // namespace

TEST_CASE("access log: the lines of the samples, byte for byte but for time and duration") {
    LogCapture capture;
    replay_samples(SampleEnds());
    std::vector<std::string> lines = capture.lines();
    for (std::string& line : lines) line = without_time(line);
    const auto wanted = lines_of(golden("access.log"));
    REQUIRE(lines.size() == wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) CHECK(lines[i] == wanted[i]);
}

TEST_CASE("access log: JSON has the same keys and values") {
    LogCapture capture(base::log::Format::Json);
    replay_samples(SampleEnds());
    const std::vector<std::string> lines = capture.lines();
    const auto wanted = lines_of(golden("access.log"));
    REQUIRE(lines.size() == wanted.size());
    const std::regex pair(R"re(([a-z_.]+)=("[^"]*"|[^ ]+))re");
    for (size_t i = 0; i < lines.size(); ++i) {
        const auto json = nlohmann::ordered_json::parse(lines[i]);
        std::vector<std::string> keys{"level", "time", "scope", "message"}, seen;
        const std::string fields = wanted[i].substr(wanted[i].rfind('\t') + 1);
        for (std::sregex_iterator at(fields.begin(), fields.end(), pair), none; at != none; ++at) {
            keys.push_back((*at)[1]);
            std::string value = (*at)[2];
            const auto& got = json.at((*at)[1].str());
            if (got.is_number())
                CHECK(std::to_string(got.get<uint64_t>()) == value);
            else
                CHECK(got.get<std::string>() == (value[0] == '"' ? value.substr(1, value.size() - 2) : value));
        }
        for (const auto& [key, value] : json.items()) seen.push_back(key);
        CHECK(seen == keys);
        CHECK(json.at("scope") == "access");
        CHECK(json.at("message") == "connection complete");
    }
}

TEST_CASE("access log: opening is told at debug, with the same keys but bytes and duration") {
    LogCapture capture(base::log::Format::Text, "info,access=debug");
    const SampleEnds e;
    const auto f =
        SampleEnds::between(SampleEnds::facts(Direction::Outbound, e.p1, e.p2), "10.77.1.2:58550", "10.77.2.2:15008", "10.77.2.2:7000");
    log_opened(f);
    log_complete(f, end_of(1, 2));
    const auto lines = capture.lines();
    REQUIRE(lines.size() == 2);
    const std::string opened = without_time(lines[0]), complete = without_time(lines[1]);
    CHECK(opened.starts_with("debug\taccess\tconnection opened\tsrc.addr="));
    const std::string keys = opened.substr(opened.rfind('\t'));
    CHECK(complete.substr(complete.rfind('\t')) == keys + " bytes_sent=1 bytes_recv=2 duration=\"0ms\"");
}

TEST_CASE("access log: a deciding policy, an early deny, and a peer known by baggage alone") {
    LogCapture capture;
    const SampleEnds e;
    const policy::Policy deny(policy_spec("prod/no-web", policy::Scope::Global));
    TrafficFacts f;
    f.direction = Direction::Inbound;
    f.src = SampleEnds::addr("[fd00::1]:1");
    f.dst = SampleEnds::addr("10.0.0.1:15008");
    f.src_baggage.workload_name = "web";
    f.src_baggage.ns = "far";
    f.src_baggage.cluster = "c2";
    log_complete(f, {0, 0, std::chrono::microseconds(12'999), "denied", &deny, "denied_by_policy", "more"});
    log_early_deny(Direction::Outbound, f.src, f.dst, "no such \"workload\"");
    const auto lines = capture.lines();
    REQUIRE(lines.size() == 2);
    CHECK(without_time(lines[0]) ==
          "error\taccess\tconnection complete\tsrc.addr=[fd00::1]:1 src.workload=\"web\" src.namespace=\"far\" src.cluster=\"c2\" "
          "dst.addr=10.0.0.1:15008 direction=\"inbound\" bytes_sent=0 bytes_recv=0 duration=\"12ms\" error=\"denied\" "
          "policy=\"prod/no-web\" reason=\"denied_by_policy\" detail=\"more\"");
    CHECK(without_time(lines[1]) ==
          "warn\taccess\tconnection failed\tsrc.addr=[fd00::1]:1 dst.addr=10.0.0.1:15008 direction=\"outbound\" "
          "error=\"no such \\\"workload\\\"\"");
}

TEST_CASE("access log: what policies decide, at debug or info as it is set, and what a dry run would have") {
    const SampleEnds e;
    const policy::Policy deny(policy_spec("prod/no-web", policy::Scope::Global)), trial(policy_spec("prod/trial", policy::Scope::Global));
    TrafficFacts f =
        SampleEnds::between(SampleEnds::facts(Direction::Inbound, e.p1, e.p2), "10.77.1.2:5", "10.77.2.2:15008", "10.77.2.2:7000");
    f.original_dst = SampleEnds::addr("10.77.2.2:7000");
    policy::Decision denied, free;
    denied.reason = policy::Reason::DeniedByPolicy;
    denied.policy = &deny;
    free.allowed = true;
    free.reason = policy::Reason::AllowedNoAllowPolicy;
    const std::string ends = " src.addr=10.77.1.2:5 src.identity=\"spiffe://cluster.local/ns/default/sa/client\" dst.addr=10.77.2.2:7000";
    const auto lines_at = [&](bool info, const char* filter, const policy::Decision& decision) {
        LogCapture capture(base::log::Format::Text, filter);
        base::metrics::Registry registry;
        const auto traffic = make_traffic(registry, {.decisions_at_info = info}).value();
        const auto record = traffic->open(f);
        record->judged(decision);
        record->close(ResponseFlag::None, {});
        auto lines = capture.lines();
        for (std::string& line : lines) line = without_time(line);
        return lines;
    };
    using Lines = std::vector<std::string>;
    const char *quiet = "info,access=off", *loud = "debug,access=off";
    const std::string said = "policy\tpolicy decision\tpolicy=\"prod/no-web\" decision=\"denied\" reason=\"denied_by_policy\"" + ends;
    CHECK(lines_at(false, quiet, denied).empty());
    CHECK(lines_at(false, loud, denied) == Lines{"debug\t" + said});
    CHECK(lines_at(true, quiet, denied) == Lines{"info\t" + said});
    CHECK(lines_at(true, quiet, free).empty());
    CHECK(lines_at(true, loud, free) ==
          Lines{"debug\tpolicy\tpolicy decision\tdecision=\"allowed\" reason=\"allowed_no_allow_policy\"" + ends});
    const std::string dry = "info\tpolicy\tdry-run policy decision\t";
    free.dry_run = policy::DryRun::WouldDeny;
    free.dry_run_policy = &trial;
    CHECK(lines_at(true, quiet, free) == Lines{dry + "policy=\"prod/trial\" decision=\"denied\" reason=\"denied_by_policy\"" + ends});
    free.dry_run = policy::DryRun::WouldAllow;
    CHECK(lines_at(true, quiet, free) == Lines{dry + "policy=\"prod/trial\" decision=\"allowed\" reason=\"allowed_by_policy\"" + ends});
    free.dry_run = policy::DryRun::WouldDenyNoMatch;
    free.dry_run_policy = nullptr;
    CHECK(lines_at(true, quiet, free) == Lines{dry + "decision=\"denied\" reason=\"denied_no_allow_matched\"" + ends});
}
