// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/zds_message.h"

#include "proto/zds.pb.h"
#include "tests/catch.h"

#include <fcntl.h>

using warren::base::Errc;
using warren::base::Fd;
using warren::ztunnel::parse_zds_request;
namespace zds = istio::workload::zds;

namespace {

std::vector<Fd> fds(int n) {
    std::vector<Fd> out;
    for (int i = 0; i < n; ++i) out.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return out;
}

std::span<const uint8_t> bytes(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

std::string add(bool info = true, const char* uid = "uid-1") {
    zds::WorkloadRequest request;
    request.mutable_add()->set_uid(uid);
    if (info) {
        request.mutable_add()->mutable_workload_info()->set_name("web");
        request.mutable_add()->mutable_workload_info()->set_namespace_("prod");
        request.mutable_add()->mutable_workload_info()->set_service_account("sa");
    }
    return request.SerializeAsString();
}

}  // namespace

TEST_CASE("zds: test_parse_add_workload_with_info") {
    auto request = parse_zds_request(bytes(add()), fds(1));
    REQUIRE(request);
    auto* got = std::get_if<warren::ztunnel::ZdsAdd>(&*request);
    REQUIRE(got != nullptr);
    CHECK(got->uid == "uid-1");
    CHECK(got->name == "web");
    CHECK(got->ns == "prod");
    CHECK(got->service_account == "sa");
    CHECK(got->netns.valid());
}

TEST_CASE("zds: no_workload_info_rejected: an add needs exactly one descriptor, a uid and workload_info") {
    CHECK(parse_zds_request(bytes(add()), {}).error().code == Errc::Protocol);
    CHECK(parse_zds_request(bytes(add()), fds(2)).error().code == Errc::Protocol);
    CHECK(parse_zds_request(bytes(add(false)), fds(1)).error().message().find("workload_info") != std::string::npos);
    CHECK(parse_zds_request(bytes(add(true, "")), fds(1)).error().message().find("uid") != std::string::npos);
}

TEST_CASE("zds: test_parse_del_workload_with_fds_fails, and the descriptor is closed") {
    zds::WorkloadRequest request;
    request.mutable_del()->set_uid("uid-1");
    auto with = fds(1);
    const int number = with.front().get();
    CHECK(parse_zds_request(bytes(request.SerializeAsString()), std::move(with)).error().code == Errc::Protocol);
    CHECK(::fcntl(number, F_GETFD) == -1);
    auto without = parse_zds_request(bytes(request.SerializeAsString()), {});
    REQUIRE(without);
    CHECK(std::get<warren::ztunnel::ZdsDel>(*without).uid == "uid-1");
}

TEST_CASE("zds: keep and snapshot_sent, and what is neither") {
    zds::WorkloadRequest request;
    request.mutable_keep()->set_uid("uid-2");
    CHECK(std::get<warren::ztunnel::ZdsKeep>(*parse_zds_request(bytes(request.SerializeAsString()), {})).uid == "uid-2");
    request.mutable_snapshot_sent();
    CHECK(std::holds_alternative<warren::ztunnel::ZdsSnapshotSent>(*parse_zds_request(bytes(request.SerializeAsString()), {})));
    CHECK_FALSE(parse_zds_request(bytes(""), {}));
    CHECK_FALSE(parse_zds_request(bytes("\xff\xff\xff"), {}));
}

TEST_CASE("zds: what we send is what the contract says") {
    CHECK(warren::ztunnel::zds_hello() == std::string("\x08\x01", 2));
    zds::WorkloadResponse response;
    REQUIRE(response.ParseFromString(warren::ztunnel::zds_ack("")));
    CHECK(response.has_ack());
    CHECK(response.ack().error().empty());
    REQUIRE(response.ParseFromString(warren::ztunnel::zds_ack("port busy")));
    CHECK(response.ack().error() == "port busy");
}

TEST_CASE("zds: version skew: fields of a newer agent are passed over at every depth, what an older one leaves out is empty") {
    zds::WorkloadRequest request;
    REQUIRE(request.ParseFromString(add()));
    const auto mark = [](google::protobuf::Message* m) { m->GetReflection()->MutableUnknownFields(m)->AddVarint(99, 1); };
    mark(&request);
    mark(request.mutable_add());
    mark(request.mutable_add()->mutable_workload_info());
    const auto newer = parse_zds_request(bytes(request.SerializeAsString()), fds(1));
    REQUIRE(newer);
    CHECK(std::get<warren::ztunnel::ZdsAdd>(*newer).service_account == "sa");

    zds::WorkloadRequest little;
    little.mutable_add()->set_uid("uid-1");
    little.mutable_add()->mutable_workload_info()->set_name("web");
    const auto older = parse_zds_request(bytes(little.SerializeAsString()), fds(1));
    REQUIRE(older);
    CHECK(std::get<warren::ztunnel::ZdsAdd>(*older).ns.empty());

    const std::string kind("\x9a\x06\x00", 3);  // a message of a kind that only a newer protocol has
    CHECK(parse_zds_request(bytes(kind), {}).error().message().find("no known payload") != std::string::npos);
}
