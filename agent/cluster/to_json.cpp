// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/to_json.h"

#include "base/bytes.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wrappers.pb.h>
#include <nlohmann/json.hpp>

namespace warren::cluster {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::json;  // keys sorted

Json message_json(const Message& message);

// Every bytes field of these messages is an address.
std::string address_text(const std::string& bytes) {
    const auto ip = base::IpAddr::from_bytes(base::as_bytes(bytes));
    return ip ? ip->to_string() : base::to_hex(base::as_bytes(bytes));
}

// index: of an element of a repeated field, -1 for a single one.
Json value_json(const Message& message, const FieldDescriptor* field, int index) {
    const auto* r = message.GetReflection();
    const bool list = index >= 0;
    switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_BOOL: return list ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field);
        case FieldDescriptor::CPPTYPE_UINT32: return list ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field);
        case FieldDescriptor::CPPTYPE_ENUM: return (list ? r->GetRepeatedEnum(message, field, index) : r->GetEnum(message, field))->name();
        case FieldDescriptor::CPPTYPE_STRING: {
            const std::string text = list ? r->GetRepeatedString(message, field, index) : r->GetString(message, field);
            return field->type() == FieldDescriptor::TYPE_BYTES ? address_text(text) : text;
        }
        case FieldDescriptor::CPPTYPE_MESSAGE:
            return message_json(list ? r->GetRepeatedMessage(message, field, index) : r->GetMessage(message, field));
        default: return nullptr;  // the messages have no other types
    }
}

Json map_json(const Message& message, const FieldDescriptor* field) {
    Json out = Json::object();
    const auto* r = message.GetReflection();
    const FieldDescriptor* key = field->message_type()->map_key();
    const FieldDescriptor* value = field->message_type()->map_value();
    for (int i = 0; i < r->FieldSize(message, field); ++i) {
        const Message& entry = r->GetRepeatedMessage(message, field, i);
        out[entry.GetReflection()->GetString(entry, key)] = value_json(entry, value, -1);
    }
    return out;
}

Json message_json(const Message& message) {
    if (message.GetDescriptor() == google::protobuf::UInt32Value::descriptor())
        return static_cast<const google::protobuf::UInt32Value&>(message).value();
    Json out = Json::object();
    std::vector<const FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);  // those with a value
    for (const FieldDescriptor* field : fields) {
        Json& to = out[field->json_name()];
        if (field->is_map()) {
            to = map_json(message, field);
        } else if (field->is_repeated()) {
            to = Json::array();
            for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) to.push_back(value_json(message, field, i));
        } else {
            to = value_json(message, field, -1);
        }
    }
    return out;
}

template <class T>
Json all_json(const std::map<std::string, T>& messages) {
    Json out = Json::object();
    for (const auto& [key, message] : messages) out[key] = message_json(message);
    return out;
}

}  // namespace

std::string to_json(const Outputs& outputs, const Settings& settings) {
    Json authorizations = all_json(outputs.authorizations);
    authorizations.erase(settings.root_namespace + "/istio_converted_static_strict");
    const Json out = {{"authorizations", std::move(authorizations)},
                      {"services", all_json(outputs.services)},
                      {"workloads", all_json(outputs.workloads)}};
    return out.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace warren::cluster
