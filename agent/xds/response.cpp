// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/response.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <optional>
#include <string>

namespace warren::xds {

namespace {

using Bytes = std::span<const uint8_t>;

enum class Wire : uint8_t { Varint = 0, Fixed64 = 1, Length = 2, Fixed32 = 5 };

struct Field {
    uint32_t number = 0;
    Wire wire = Wire::Varint;
    Bytes bytes;  // of Length
    [[nodiscard]] bool is(uint32_t wanted) const { return number == wanted && wire == Wire::Length; }
    [[nodiscard]] std::string_view text() const { return base::as_text(bytes); }
};

// Protobuf's wire format, one field after the other. Fields of an unexpected number or wire type are the caller's to ignore, as protobuf
// ignores unknown ones.
class FieldReader {
  public:
    explicit FieldReader(Bytes bytes) : in_(bytes) {}

    // Nothing at the end and at the first byte that makes no sense; bad() tells which.
    std::optional<Field> next() {
        if (bad_ || in_.empty()) return std::nullopt;
        const auto tag = varint();
        if (!tag || *tag > UINT32_MAX || *tag >> 3 == 0) return fail();
        Field field{static_cast<uint32_t>(*tag >> 3), static_cast<Wire>(*tag & 7), {}};
        switch (field.wire) {
            case Wire::Varint: return varint() ? std::optional(field) : fail();
            case Wire::Fixed64: return in_.take(8) ? std::optional(field) : fail();
            case Wire::Fixed32: return in_.take(4) ? std::optional(field) : fail();
            case Wire::Length: break;
            default: return fail();
        }
        const auto size = varint();
        if (!size || *size > in_.remaining()) return fail();
        field.bytes = *in_.take(static_cast<size_t>(*size));
        return field;
    }
    [[nodiscard]] bool bad() const { return bad_; }

  private:
    std::optional<Field> fail() {
        bad_ = true;
        return std::nullopt;
    }
    std::optional<uint64_t> varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 70; shift += 7) {
            const auto byte = in_.u8();
            if (!byte) return std::nullopt;
            if (shift < 64) value |= uint64_t{*byte & 0x7fu} << shift;
            if (*byte < 0x80) return value;
        }
        return std::nullopt;
    }

    base::ByteReader in_;
    bool bad_ = false;
};

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        if (static_cast<unsigned char>(text.front()) < 0x80) {
            text.remove_prefix(1);
            continue;
        }
        const auto c = base::decode_utf8(text);
        if (!c.valid) return false;
        text.remove_prefix(c.length);
    }
    return true;
}

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
