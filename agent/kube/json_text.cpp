// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/json_text.h"

#include "base/bytes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace warren::kube {

using base::Result;
using nlohmann::json;

namespace {

bool too_deep(std::string_view text) {
    size_t depth = 0;
    bool inside = false;  // a string
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (inside) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                inside = false;
        } else if (c == '"') {
            inside = true;
        } else if (c == '{' || c == '[') {
            if (++depth > kMaxDepth) return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return false;
}

Result<json> parse(std::string_view text) {
    TRY(check_depth(text));
    try {
        return json::parse(text);
    } catch (const std::exception& e) {
        return base::invalid("not JSON: " + base::quoted(e.what()));
    }
}

const json* find(const json& map, const char* key) {
    if (!map.is_object()) return nullptr;
    const auto found = map.find(key);
    return found == map.end() ? nullptr : &*found;
}

std::string text_at(const json& map, const char* key) {
    const json* value = find(map, key);
    return value != nullptr && value->is_string() ? value->get_ref<const std::string&>() : std::string();
}

long status_at(const json& map) {
    const json* value = find(map, "code");
    return value != nullptr && value->is_number_integer() ? value->get<long>() : 0;
}

// What nobody reads and what is often most of an object.
void strip(json& meta) {
    meta.erase("managedFields");
    const auto notes = meta.find("annotations");
    if (notes != meta.end() && notes->is_object()) notes->erase("kubectl.kubernetes.io/last-applied-configuration");
}

// Nothing: an object without a name; why says so.
std::optional<Object> take_object(json& value, const Resource& resource, std::string_view version, std::string& why) {
    json* const meta = const_cast<json*>(find(value, "metadata"));
    Object out;
    if (meta != nullptr && meta->is_object()) {
        out.name = text_at(*meta, "name");
        out.ns = text_at(*meta, "namespace");
    }
    if (out.name.empty() || (resource.namespaced && out.ns.empty())) {
        why = resource.kind + ' ' + base::quoted(out.ns + '/' + out.name) + ": metadata: has no name or no namespace";
        return std::nullopt;
    }
    out.uid = text_at(*meta, "uid");
    out.resource_version = text_at(*meta, "resourceVersion");
    strip(*meta);
    value["apiVersion"] = api_version(resource, version);
    value["kind"] = resource.kind;
    out.json = value.dump();
    return out;
}

WatchEvent::Type type_of(std::string_view text) {
    using Type = WatchEvent::Type;
    constexpr std::pair<std::string_view, Type> kTypes[] = {{"ADDED", Type::Added},
                                                            {"MODIFIED", Type::Modified},
                                                            {"DELETED", Type::Deleted},
                                                            {"BOOKMARK", Type::Bookmark},
                                                            {"ERROR", Type::Error}};
    const auto found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return t.first == text; });
    return found == std::end(kTypes) ? Type::Unknown : found->second;
}

Result<ListPage> page_of(json& root, const Resource& resource, std::string_view version) {
    const json* const meta = find(root, "metadata");
    json* const items = const_cast<json*>(find(root, "items"));
    ListPage out;
    if (meta != nullptr) out.resource_version = text_at(*meta, "resourceVersion");
    if (out.resource_version.empty()) return base::invalid("a list without metadata.resourceVersion");
    out.continue_token = text_at(*meta, "continue");
    if (items == nullptr || items->is_null()) return out;
    if (!items->is_array()) return base::invalid("items is no list");
    out.items.reserve(items->size());
    std::string why;
    for (json& item : *items) {
        if (auto object = take_object(item, resource, version, why))
            out.items.push_back(std::move(*object));
        else
            out.malformed.push_back(why);
        item = nullptr;  // its memory now, not with the page
    }
    return out;
}

WatchEvent event_of(json& root, const Resource& resource, std::string_view version) {
    using Type = WatchEvent::Type;
    WatchEvent out;
    out.type = type_of(text_at(root, "type"));
    json* const object = const_cast<json*>(find(root, "object"));
    if (object == nullptr || !object->is_object()) {
        out.malformed = true;
        out.message = "a watch event without an object";
        return out;
    }
    if (out.type == Type::Error) {
        out.status = status_at(*object);
        out.message = text_at(*object, "message");
    } else if (out.type == Type::Bookmark) {
        if (const json* meta = find(*object, "metadata")) out.object.resource_version = text_at(*meta, "resourceVersion");
    } else if (out.type != Type::Unknown) {
        if (auto taken = take_object(*object, resource, version, out.message))
            out.object = std::move(*taken);
        else
            out.malformed = true;
    }
    return out;
}

// The library throws only where the text was not what it accepts itself; still nothing of it may leave here.
template <class F>
auto guarded(F read) -> decltype(read()) {
    try {
        return read();
    } catch (const std::exception& e) {
        return base::invalid("not readable: " + base::quoted(e.what()));
    }
}

}  // namespace

Result<void> check_depth(std::string_view text) {
    if (too_deep(text)) return base::invalid("JSON nested more than " + std::to_string(kMaxDepth) + " deep");
    return {};
}

Result<ListPage> parse_list_page(std::string_view text, const Resource& resource, std::string_view version) {
    json root = TRY(parse(text));
    return guarded([&]() -> Result<ListPage> { return page_of(root, resource, version); });
}

Result<WatchEvent> parse_watch_event(std::string_view line, const Resource& resource, std::string_view version) {
    json root = TRY(parse(line));
    return guarded([&]() -> Result<WatchEvent> { return event_of(root, resource, version); });
}

std::string status_message(std::string_view body) {
    if (body.size() > (size_t{1} << 20)) return {};
    const auto root = parse(body);
    return root && text_at(*root, "kind") == "Status" ? text_at(*root, "message") : std::string();
}

bool LineSplitter::feed(std::string_view bytes, const std::function<bool(std::string_view)>& line) {
    if (too_long_) return false;
    while (!bytes.empty()) {
        const size_t end = bytes.find('\n');
        const std::string_view piece = bytes.substr(0, end);
        if (rest_.size() + piece.size() > max_line_) {
            too_long_ = true;
            reset();
            return false;
        }
        if (end == std::string_view::npos) {
            rest_ += piece;
            return true;
        }
        bytes.remove_prefix(end + 1);
        bool go_on = true;
        if (rest_.empty()) {
            if (!piece.empty()) go_on = line(piece);
        } else {
            rest_ += piece;
            go_on = line(rest_);
            rest_.clear();
        }
        if (!go_on) return false;
    }
    return true;
}

void LineSplitter::reset() {
    rest_.clear();
    rest_.shrink_to_fit();  // one large object is no reason to keep so much for ever
}

}  // namespace warren::kube
