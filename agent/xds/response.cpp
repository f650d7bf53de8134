// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/response.h"

#include "agent/xds/wire.h"
#include "base/bytes.h"

#include <string>

namespace warren::xds {

namespace {

using Bytes = std::span<const uint8_t>;

// google.protobuf.Any: 1 type_url, 2 value.
bool read_any(Bytes bytes, Bytes& value) {
    FieldReader in(bytes);
    while (const auto field = in.next())
        if (field->is(2)) value = field->bytes;
    return !in.bad();
}

// Resource: 1 version, 2 resource, 3 name. The reason it is refused for, or null.
const char* read_resource(Bytes bytes, Resource& out) {
    FieldReader in(bytes);
    bool has_body = false;
    bool good_body = true;
    while (const auto field = in.next()) {
        if (field->is(1)) out.version = field->text();
        if (field->is(3)) out.name = field->text();
        if (!field->is(2)) continue;
        has_body = true;
        good_body = read_any(field->bytes, out.body) && good_body;
    }
    if (!is_utf8(out.name)) return "the name is not UTF-8";
    if (in.bad()) return "the resource is damaged";
    if (out.name.empty()) return "a resource without a name";
    if (!is_utf8(out.version)) return "the version is not UTF-8";
    if (!has_body) return "there is no body";
    return good_body ? nullptr : "the Any around the body is damaged";
}

// A name that is not UTF-8 would make our own requests unreadable, so it goes on as text for people.
void refuse(Response& response, std::string_view name, const char* reason) {
    response.refused.push_back({is_utf8(name) ? std::string(name) : base::quoted(name), reason});
}

void add_resource(Response& response, Bytes bytes) {
    Resource resource;
    if (const char* reason = read_resource(bytes, resource))
        refuse(response, resource.name, reason);
    else
        response.resources.push_back(resource);
}

void add_removed(Response& response, std::string_view name) {
    if (is_utf8(name))
        response.removed.push_back(name);
    else
        refuse(response, name, "the removed name is not UTF-8");
}

}  // namespace

base::Result<Response> parse_response(Bytes bytes, size_t max_names) {
    Response response;
    FieldReader in(bytes);
    while (const auto field = in.next()) {
        if (field->is(4)) response.type_url = field->text();
        if (field->is(5)) response.nonce = field->text();
        if (field->is(2)) add_resource(response, field->bytes);
        if (field->is(6)) add_removed(response, field->text());
        if (response.resources.size() + response.refused.size() + response.removed.size() > max_names)
            return base::Error{base::Errc::Exhausted, 0, "", "a response with more than " + std::to_string(max_names) + " names"};
    }
    if (in.bad()) return base::Error{base::Errc::Protocol, 0, "", "a response that is no DeltaDiscoveryResponse"};
    if (!is_utf8(response.type_url) || !is_utf8(response.nonce))
        return base::Error{base::Errc::Protocol, 0, "", "a response whose type or nonce is not UTF-8"};
    return response;
}

}  // namespace warren::xds
