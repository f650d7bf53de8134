// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/response.h"
#include "base/bytes.h"
#include "proto/xds.pb.h"
#include "tests/catch.h"

using namespace warren;

namespace {

// Fields of type bytes, by hand: what no serializer would write.
std::string field(int number, const std::string& bytes) {
    REQUIRE(bytes.size() < 128);
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}

std::string resource(const std::string& name, const std::string& version, const std::string& body) {
    return field(2, field(1, version) + field(2, field(1, "type") + field(2, body)) + field(3, name));
}

base::Result<xds::Response> parse(const std::string& bytes, size_t max_names = 100) {
    return xds::parse_response(base::as_bytes(bytes), max_names);
}

}  // namespace

TEST_CASE("xds response: what protobuf writes is read, in place") {
    envoy::service::discovery::v3::DeltaDiscoveryResponse from;
    from.set_system_version_info("v");
    from.set_type_url("t");
    from.set_nonce("n");
    for (int i = 0; i < 3; ++i) {
        auto& r = *from.add_resources();
        r.set_name("name-" + std::to_string(i));
        r.set_version(std::to_string(i));
        r.mutable_resource()->set_value(std::string(200, static_cast<char>('a' + i)));
        r.add_aliases("alias");
        r.mutable_ttl()->set_seconds(5);
        r.mutable_cache_control()->set_do_not_cache(true);
    }
    from.add_removed_resources("gone");
    const std::string bytes = from.SerializeAsString();
    const auto got = parse(bytes);
    REQUIRE(got);
    CHECK(got->type_url == "t");
    CHECK(got->nonce == "n");
    REQUIRE(got->resources.size() == 3);
    CHECK(got->resources[2].name == "name-2");
    CHECK(got->resources[2].version == "2");
    CHECK(base::as_text(got->resources[2].body) == std::string(200, 'c'));
    CHECK(got->resources[2].name.data() > bytes.data());
    CHECK(got->resources[2].name.data() < bytes.data() + bytes.size());
    CHECK(got->removed == std::vector<std::string_view>{"gone"});
    CHECK(got->refused.empty());
}

TEST_CASE("xds response: a bad resource is refused alone, by its name") {
    const std::string cut = field(2, field(3, "cut") + "\x0a\x05" + "abc");
    const std::string bad_any = field(2, field(3, "any") + field(2, "\x12\x7f"));
    const std::string bytes = field(4, "t") + resource("a", "1", "x") + cut + bad_any + resource("b\xff", "1", "x") +
                              resource("c", "\xff", "x") + resource("", "1", "x") + field(2, field(3, "hollow")) + field(2, "") +
                              field(6, "r\xff") + field(6, "r") + resource("z", "", "") + field(5, "n");
    const auto got = parse(bytes);
    REQUIRE(got);
    CHECK(got->type_url == "t");
    CHECK(got->nonce == "n");
    REQUIRE(got->resources.size() == 2);
    CHECK(got->resources[0].name == "a");
    CHECK(got->resources[1].name == "z");
    CHECK(got->removed == std::vector<std::string_view>{"r"});
    std::string text;
    for (const auto& refused : got->refused) text += refused.name + "=" + refused.reason + "\n";
    CHECK(text ==
          "cut=the resource is damaged\nany=the Any around the body is damaged\n'b?'=the name is not UTF-8\nc=the version is not UTF-8\n"
          "=a resource without a name\nhollow=there is no body\n=a resource without a name\n'r?'=the removed name is not UTF-8\n");
}

TEST_CASE("xds response: a damaged message is an error as a whole") {
    const std::string whole = field(4, "t") + resource("a", "1", "x");
    REQUIRE(parse(whole));
    for (const std::string& tail : {std::string("\x12"), std::string("\x12\x7f"), std::string("\x00", 1), std::string("\x0b"),
                                    std::string("\x0c"), std::string("\x0e"), std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                                    field(5, "\xff"), std::string("\x09"), std::string("\x0d\x01"), std::string("\x08")})
        CHECK_FALSE(parse(whole + tail));
    CHECK(parse(""));
    // Unknown fields of every width are passed over.
    CHECK(parse(whole + std::string("\x78\x81\x01", 3) +
                std::string("\x79"
                            "12345678",
                            9) +
                std::string("\x7d"
                            "1234",
                            5) +
                field(15, "x"))
              ->resources.size() == 1);
}

TEST_CASE("xds response: the names of one message are bounded") {
    std::string bytes;
    for (int i = 0; i < 5; ++i) bytes += field(2, "") + field(6, "x");
    CHECK(parse(bytes, 10));
    const auto more = parse(bytes, 9);
    REQUIRE_FALSE(more);
    CHECK(more.error().code == base::Errc::Exhausted);
}
