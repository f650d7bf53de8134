// SPDX-License-Identifier: Apache-2.0
// Every recorded conversion (tests/golden/conversion).
#include "tests/agent/cluster/conversion_fixture.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace warren::cluster;

namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(WARREN_SOURCE_DIR) / "tests/golden/conversion";

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(kFolder)) {
        const std::string name = entry.path().filename();
        if (name.ends_with(".in.yaml")) out.push_back(name.substr(0, name.size() - 8));
    }
    std::sort(out.begin(), out.end());
    return out;
}

nlohmann::json with_policies_as_sets(nlohmann::json outputs) {
    for (auto& workload : outputs["workloads"])
        if (workload.contains("authorizationPolicies"))
            std::sort(workload["authorizationPolicies"].begin(), workload["authorizationPolicies"].end());
    return outputs;
}

}  // namespace

TEST_CASE("conversion: every recorded set of objects gives what was recorded") {
    const std::vector<std::string> all = names();
    CHECK(all.size() == 78);
    for (const std::string& name : all) {
        INFO(name);
        ObjectReader reader;
        reader.add(read_file(kFolder / "_nodes.yaml"), "_nodes.yaml");
        reader.add(read_file(kFolder / (name + ".in.yaml")), name);
        const Settings settings;
        const Outputs outputs = convert(reader.objects(), settings, reader.problems());
        CHECK(reader.problems().errors() == std::vector<std::string>());
        const auto got = with_policies_as_sets(nlohmann::json::parse(to_json(outputs, settings)));
        const auto want = with_policies_as_sets(nlohmann::json::parse(read_file(kFolder / (name + ".want.json"))));
        CHECK(got == want);
    }
}

TEST_CASE("conversion: the order of the objects does not matter") {
    for (const std::string name : {"global-and-ns-and-wl", "svc-two-select-one-pod", "pa-two-selectors", "wp-ingress-use"}) {
        INFO(name);
        ObjectReader forward, backward;
        forward.add(read_file(kFolder / (name + ".in.yaml")), "t");
        backward.add(read_file(kFolder / (name + ".in.yaml")), "t");
        Objects& o = backward.objects();
        std::reverse(o.pods.begin(), o.pods.end());
        std::reverse(o.services.begin(), o.services.end());
        std::reverse(o.authorization_policies.begin(), o.authorization_policies.end());
        std::reverse(o.peer_authentications.begin(), o.peer_authentications.end());
        const Settings settings;
        CHECK(to_json(convert(forward.objects(), settings, forward.problems()), settings) ==
              to_json(convert(o, settings, backward.problems()), settings));
    }
}
