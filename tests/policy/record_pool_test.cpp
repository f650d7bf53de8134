// SPDX-License-Identifier: Apache-2.0
#include "policy/record_pool.h"

#include "tests/catch.h"

#include <string>
#include <vector>

namespace warren::policy {
namespace {

using Services = Array<WorkloadService>;

Services services_of(RecordPool& pool, const std::string& key, std::vector<PortPair> ports) {
    return pool.share(Services{WorkloadService{pool.intern(key), Array<PortPair>(std::move(ports))}});
}

}  // namespace

TEST_CASE("record pool: equal lists of services are one list, others are their own") {
    RecordPool pool;
    const Services one = services_of(pool, "prod/web", {{80, 8080}});
    const Services same = services_of(pool, "prod/web", {{80, 8080}});
    const Services other_port = services_of(pool, "prod/web", {{80, 8081}});
    const Services other_name = services_of(pool, "prod/db", {{80, 8080}});
    CHECK(one.begin() == same.begin());
    CHECK(one == same);
    CHECK_FALSE(one == other_port);
    CHECK_FALSE(one == other_name);
    CHECK(other_port[0].ports == Array<PortPair>{{80, 8081}});
    CHECK(pool.shared() == 3);
    CHECK(pool.share({}).empty());
    CHECK(pool.shared() == 3);  // nothing needs no place
}

TEST_CASE("record pool: what nobody holds any more goes when the pool grows, what is held stays") {
    RecordPool pool;
    const Services held = services_of(pool, "prod/held", {{80, 8080}});
    for (int i = 0; i < 10'000; ++i) services_of(pool, "prod/web-" + std::to_string(i), {});
    CHECK(pool.shared() <= 64);
    CHECK(services_of(pool, "prod/held", {{80, 8080}}).begin() == held.begin());
    CHECK(held[0].service == "prod/held");
}

TEST_CASE("array: copies share their items until the last one goes") {
    auto first = std::make_unique<Array<std::string>>(std::vector<std::string>{"a text that is too long to be kept inside", "b"});
    CHECK(first->unique());
    const Array<std::string> second = *first;
    CHECK(second.begin() == first->begin());
    CHECK_FALSE(second.unique());
    first.reset();
    CHECK(second.unique());
    CHECK(second[0] == "a text that is too long to be kept inside");
    CHECK(Array<std::string>().unique());
}

}  // namespace warren::policy
