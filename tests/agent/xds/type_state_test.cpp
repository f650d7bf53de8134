// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/type_state.h"
#include "proto/xds.pb.h"
#include "tests/catch.h"

using namespace warren;
using xds::TypeState;

namespace {

using Versions = std::map<std::string, std::string>;

Versions begin(TypeState& state, bool omit = false) {
    envoy::service::discovery::v3::DeltaDiscoveryRequest request;
    state.begin(request, omit);
    CHECK(request.type_url() == "t");
    return {request.initial_resource_versions().begin(), request.initial_resource_versions().end()};
}

xds::Update update(std::vector<xds::Resource> resources, std::vector<std::string_view> removed = {}) {
    return {"t", std::move(resources), std::move(removed), {}};
}

}  // namespace

TEST_CASE("xds type state: versions of accepted resources, the old one where the new one was rejected") {
    TypeState state("t", false);
    CHECK(begin(state).empty());
    CHECK_FALSE(state.answered());
    state.commit(update({{"a", "1", {}}, {"b", "1", {}}, {"c", "1", {}}}), {{"c", "no"}});
    CHECK(state.answered());
    state.commit(update({{"a", "2", {}}, {"b", "2", {}}}), {{"b", "no"}});
    CHECK(begin(state) == Versions{{"a", "2"}, {"b", "1"}});
    CHECK_FALSE(state.answered());
    // Removals come after the resources of the same response.
    state.commit(update({{"a", "3", {}}, {"d", "1", {}}}, {"a", "unknown"}), {});
    CHECK(begin(state) == Versions{{"b", "1"}, {"d", "1"}});
    CHECK(state.held() == 2);
}

TEST_CASE("xds type state: a name twice in one response, once rejected, is not recorded") {
    TypeState state("t", false);
    begin(state);
    state.commit(update({{"a", "1", {}}, {"a", "2", {}}}), {{"a", "no"}});
    CHECK(begin(state).empty());
}

TEST_CASE("xds type state: what is held and was not listed is gone when the first response lacks it") {
    TypeState state("t", false);
    begin(state);
    state.commit(update({{"good", "1", {}}, {"bad", "1", {}}, {"worse", "1", {}}, {"mended", "1", {}}}),
                 {{"bad", "no"}, {"worse", "no"}, {"mended", "no"}});
    CHECK(state.vanished({}).empty());  // this stream has had its first
    state.commit(update({{"mended", "2", {}}}), {});
    CHECK(begin(state) == Versions{{"good", "1"}, {"mended", "2"}});
    xds::Response first;
    first.resources = {{"worse", "2", {}}};
    CHECK(state.vanished(first) == std::vector<std::string>{"bad"});
    first.resources.clear();
    first.refused = {{"bad", "damaged"}};
    CHECK(state.vanished(first) == std::vector<std::string>{"worse"});
    // Without the list everything must be there.
    CHECK(begin(state, true).empty());
    CHECK(state.vanished(first) == std::vector<std::string>{"worse", "good", "mended"});
}

TEST_CASE("xds type state: on demand, the wanted are listed, and nothing vanishes by not being mentioned") {
    TypeState state("t", true);
    state.want("a");
    state.want("b");
    CHECK(begin(state, true) == Versions{{"a", ""}, {"b", ""}});
    state.commit(update({{"a", "1", {}}, {"extra", "1", {}}, {"bad", "1", {}}}), {{"bad", "no"}});
    state.want("a");
    CHECK(begin(state) == Versions{{"a", "1"}, {"b", ""}, {"extra", "1"}});
    CHECK(state.vanished({}).empty());
    state.forget("a");
    state.commit(update({}, {"b"}), {});
    CHECK(begin(state) == Versions{{"extra", "1"}});
}
