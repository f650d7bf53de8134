// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/cli_fixture.h"
#include "tools/warren/flow_query.h"
#include "tools/warren/talkers.h"

using namespace warren::tools;
using namespace std::chrono_literals;

namespace {

const std::string kFlows = kCliGolden + "flows.log";

size_t count(std::vector<std::string> arguments) {
    std::vector<std::string> all = {"flows", "--file", kFlows, "-o", "json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const CliRun run = cli(all);
    REQUIRE(run.code == 0);
    return static_cast<size_t>(std::count(run.out.begin(), run.out.end(), '\n'));
}

}  // namespace

TEST_CASE("flows: a table of a log, and the same lines for machines") {
    check_golden("flows.txt", cli({"flows", "--file", kFlows}).out);
    const CliRun json = cli({"flows", "--file", kFlows, "-o", "json", "--limit", "1"});
    CHECK(Json::parse(json.out)["cookie"] == "4");
    check_golden("top.txt", cli({"top", "--file", kFlows}).out);
}

TEST_CASE("flows: every filter that is given must hold") {
    CHECK(count({}) == 4);
    CHECK(count({"-n", "ops"}) == 2);
    CHECK(count({"--workload", "shop/front"}) == 1);
    CHECK(count({"--workload", "shop/frontend", "--workload", "ops/batch"}) == 3);
    CHECK(count({"--from", "shop/frontend"}) == 2);
    CHECK(count({"--from", "spiffe://cluster.local/ns/ops/sa/batch"}) == 1);
    CHECK(count({"--from", "10.1.1.0/24"}) == 3);
    CHECK(count({"--to", "shop/cart.shop.svc.cluster.local"}) == 1);
    CHECK(count({"--to", "10.9.0.1"}) == 1);
    CHECK(count({"--to", "shop/cart"}) == 2);
    CHECK(count({"--port", "8080"}) == 2);
    CHECK(count({"--verdict", "denied"}) == 1);
    CHECK(count({"--path", "tunnel", "--path", "plaintext"}) == 2);
    CHECK(count({"--reason", "denied_no_allow_matched"}) == 1);
    CHECK(count({"--reason", "denied_no_allow_matched", "--path", "tunnel"}) == 0);
    CHECK(count({"--since", "1s"}) == 1);  // the open one
    CHECK(cli({"flows", "--file", kFlows, "--since", "soon"}).err.find("--since") != std::string::npos);
    CHECK(cli({"flows", "--file", kFlows, "--path", "carrier-pigeon"}).code == 2);
}

TEST_CASE("flows: a line that does not read has its number, a last one that is cut is none") {
    CHECK(flows_of_text("{\"start_time\":\"2026-01-01T00:00:00Z\"}\n{\"start_", "f")->size() == 1);
    CHECK(flows_of_text("\n{}\n", "f").error().message().find("f:2: start_time") != std::string::npos);
    CHECK(flows_of_text("{]\n", "f").error().message().find("f:1 is no JSON") != std::string::npos);
    CHECK(flows_of_text("[]", "f")->empty());
    CHECK(flows_of_text("{\"start_time\":\"2026-01-01T00:00:00Z\",\"source_address\":\"nowhere\"}\n", "f")
              .error()
              .message()
              .find("source_address") != std::string::npos);
}

TEST_CASE("top: rates are what came between two looks") {
    auto flows = flows_of_text(read_all(kFlows), "f");
    REQUIRE(flows);
    Talkers talkers;
    const warren::base::MonoTime begin{};
    auto first = talkers.look(*flows, begin);
    REQUIRE(first.size() == 4);
    CHECK(first[0].to == "shop/cart:80");
    CHECK(first[0].rate == 0);
    (*flows)[2].record.to_source += 4000;
    const auto second = talkers.look(*flows, begin + 2s);
    CHECK(second[0].to == "shop/payment:9000");
    CHECK(second[0].rate == 2000);
    CHECK(second[1].rate == 0);
}

TEST_CASE("flows: the agent is asked, and who does not answer is named with what to do") {
    std::string list = "[";
    const std::string log = read_all(kFlows);
    for (size_t at = 0; at < log.size();) {
        const size_t end = log.find('\n', at);
        list += (list.size() > 1 ? "," : "") + log.substr(at, end - at);
        at = end + 1;
    }
    const FakeDaemon agent({{"/flows", list + "]"}});
    const CliRun run = cli({"flows", "--agent", agent.address(), "--verdict", "denied"});
    CHECK(run.code == 0);
    CHECK(run.out.find("ops/batch") != std::string::npos);
    CHECK(agent.asked() == std::vector<std::string>{"GET /flows?limit=10000"});
    const CliRun none = cli({"flows", "--agent", "127.0.0.1:1"});
    CHECK(none.code == 1);
    CHECK(none.err.find("the agent does not answer on 127.0.0.1:1: is warren-agent running on this node?") != std::string::npos);
    const CliRun stream = cli({"flows", "-f", "--flows-socket", "/nonexistent/flows.sock"});
    CHECK(stream.code == 1);
    CHECK(stream.err.find("/nonexistent/flows.sock") != std::string::npos);
}
