// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cni_conflist.h"

#include "agent/cni/json_bounds.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace warren::node {

namespace {

using cni::Json;

constexpr size_t kMaxText = size_t{4} << 20;

struct Span {
    size_t begin = 0, end = 0;
};

// Walks text that the parser has accepted: nothing here checks what valid JSON guarantees, but for not running past the end.
class Walker {
  public:
    explicit Walker(std::string_view text) : text_(text) {}

    // The elements of the root's "plugins"; refused when it is not written exactly once, in plain letters.
    base::Result<std::vector<Span>> plugins() {
        std::vector<Span> found;
        size_t lists = 0;
        skip_space();
        ++at_;  // {
        for (skip_space(); at_ < text_.size() && text_[at_] != '}'; skip_space()) {
            const Span key = value();
            skip_space();
            ++at_;  // :
            skip_space();
            if (slice(key) == "\"plugins\"" && at_ < text_.size() && text_[at_] == '[') {
                found = elements();
                ++lists;
            } else {
                value();
            }
            skip_space();
            if (at_ < text_.size() && text_[at_] == ',') ++at_;
        }
        if (lists != 1) return base::invalid("\"plugins\" is not written exactly once");
        return found;
    }

  private:
    [[nodiscard]] std::string_view slice(Span span) const { return text_.substr(span.begin, span.end - span.begin); }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    void skip_string() {
        for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
            if (text_[at_] == '\\') ++at_;
        ++at_;
    }

    Span value() {
        Span span{at_, at_};
        size_t depth = 0;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"') {
                skip_string();
            } else if (c == '{' || c == '[') {
                ++depth, ++at_;
            } else if (depth != 0) {
                if (c == '}' || c == ']') --depth;
                ++at_;
            } else if (std::string_view(",:]} \t\r\n").find(c) == std::string_view::npos) {
                ++at_;  // a number or a word
                continue;
            } else {
                break;
            }
            if (depth == 0) break;
        }
        span.end = std::min(at_, text_.size());
        return span;
    }

    std::vector<Span> elements() {
        std::vector<Span> out;
        ++at_;  // [
        for (skip_space(); at_ < text_.size() && text_[at_] != ']'; skip_space()) {
            out.push_back(value());
            skip_space();
            if (at_ < text_.size() && text_[at_] == ',') ++at_;
        }
        ++at_;
        return out;
    }

    std::string_view text_;
    size_t at_ = 0;
};

struct List {
    std::vector<Json> plugins;
    std::vector<Span> spans;
};

std::string type_of(const Json& plugin) {
    const auto type = plugin.find("type");
    return type != plugin.end() && type->is_string() ? type->get<std::string>() : std::string();
}

base::Result<List> read_list(std::string_view text) {
    if (text.size() > kMaxText) return base::invalid("the configuration is larger than 4 MiB");
    const Json json = TRY(cni::parse_json(text, "the configuration"));
    const auto plugins = json.find("plugins");
    if (plugins == json.end() || !plugins->is_array() || plugins->empty()) return base::invalid("\"plugins\" is not a list of plugins");
    List list;
    for (const Json& plugin : *plugins) {
        if (!plugin.is_object() || type_of(plugin).empty()) return base::invalid("\"plugins\" has an element without a type");
        list.plugins.push_back(plugin);
    }
    list.spans = TRY(Walker(text).plugins());
    if (list.spans.size() != list.plugins.size()) return base::invalid("\"plugins\" is not written in a way that is understood");
    return list;
}

// Without element i, and without the comma that set it apart.
std::string cut(std::string_view text, const std::vector<Span>& spans, size_t i) {
    const Span out = i > 0 ? Span{spans[i - 1].end, spans[i].end} : Span{spans[0].begin, spans[1].begin};
    return std::string(text.substr(0, out.begin)).append(text.substr(out.end));
}

}  // namespace

bool conflist_has(std::string_view text, std::string_view type) {
    const auto list = read_list(text);
    if (!list) return false;
    for (const Json& plugin : list->plugins)
        if (type_of(plugin) == type) return true;
    return false;
}

base::Result<std::string> conflist_without(std::string_view text, std::string_view type) {
    std::string out(text);
    for (;;) {
        const List list = TRY(read_list(out));
        size_t i = 0;
        while (i < list.plugins.size() && type_of(list.plugins[i]) != type) ++i;
        if (i == list.plugins.size()) return out;
        if (list.plugins.size() == 1) return base::invalid("nothing but " + std::string(type) + " is in \"plugins\"");
        out = cut(out, list.spans, i);
    }
}

base::Result<std::string> conflist_with(std::string_view text, std::string_view element) {
    const Json ours = TRY(cni::parse_json(element, "the element"));
    const std::string type = type_of(ours);
    const List before = TRY(read_list(text));
    size_t equal = 0, same_type = 0;
    for (size_t i = 0; i < before.plugins.size(); ++i) {
        same_type += type_of(before.plugins[i]) == type ? 1u : 0u;
        equal += i > 0 && before.plugins[i] == ours ? 1u : 0u;
    }
    // Behind us may stand others that want to be last: what works is left alone.
    if (equal == 1 && same_type == 1) return std::string(text);
    std::string out = TRY(conflist_without(text, type));
    const List list = TRY(read_list(out));
    const Span last = list.spans.back();
    // Set apart from its neighbour as that one is.
    size_t space = last.begin;
    while (space > 0 && std::string_view(" \t\r\n").find(out[space - 1]) != std::string_view::npos) --space;
    out.insert(last.end, "," + out.substr(space, last.begin - space) + std::string(element));
    const List after = TRY(read_list(out));
    if (after.plugins.size() != list.plugins.size() + 1 || after.plugins.back() != ours)
        return base::Error{base::Errc::Internal, 0, "edit the CNI configuration", "the element is not where it was put"};
    return out;
}

base::Result<std::string> conflist_of_single(std::string_view text) {
    if (text.size() > kMaxText) return base::invalid("the configuration is larger than 4 MiB");
    Json single = TRY(cni::parse_json(text, "the configuration"));
    if (type_of(single).empty()) return base::invalid("the configuration has no type");
    Json list;
    const auto version = single.find("cniVersion");
    list["cniVersion"] = version != single.end() && version->is_string() ? *version : Json("0.3.1");
    const auto name = single.find("name");
    list["name"] = name != single.end() && name->is_string() ? *name : Json("k8s-pod-network");
    // Of the list, not of its elements.
    single.erase("cniVersion");
    list["plugins"] = Json::array({std::move(single)});
    return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace warren::node
