// SPDX-License-Identifier: Apache-2.0
#include "base/config_source.h"
#include "base/log_line.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <exception>
#include <set>
#include <sstream>

namespace warren::base::config {
namespace {

constexpr size_t kMaxBytes = 1 << 20;
constexpr size_t kMaxValues = 1000;
constexpr int kMaxDepth = 16;
constexpr size_t kMaxItems = 1000;

// Events that nobody wants: the parser is only asked whether there is a second document.
class Ignore final : public YAML::EventHandler {
  public:
    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

// Not YAML::LoadAll: yaml-cpp 0.7 reads ",!" as an empty document without moving on, for ever. YAML::Load alone would take the first
// document and say nothing of the rest.
bool more_than_one_document(const std::string& text) {
    std::istringstream in(text);
    YAML::Parser parser(in);
    Ignore ignore;
    return parser.HandleNextDocument(ignore) && parser.HandleNextDocument(ignore);
}

class Flattener {
  public:
    explicit Flattener(const std::string& path) : path_(path) {}

    Result<void> map(const YAML::Node& node, const std::string& prefix, int depth) {
        if (depth > kMaxDepth) return error(node, prefix, fmt::format("nested deeper than {} levels", kMaxDepth));
        for (const auto& entry : node) {
            if (!entry.first.IsScalar()) return error(entry.first, prefix, "a key must be plain text");
            const std::string name = prefix.empty() ? entry.first.Scalar() : prefix + "." + entry.first.Scalar();
            TRY(value(entry.first, entry.second, name, depth));
        }
        return {};
    }

    [[nodiscard]] Error error(const YAML::Node& node, const std::string& name, std::string_view what) const {
        return invalid(origin(node) + ": " + (name.empty() ? "" : log::quoted(name) + ": ") + std::string(what));
    }

    std::vector<RawValue> out;

  private:
    Result<void> value(const YAML::Node& key, const YAML::Node& node, const std::string& name, int depth) {
        if (node.IsMap() && node.size() > 0) return map(node, name, depth + 1);
        // Aliases let a short text repeat a long one: the count of what comes out is what is bounded.
        if (out.size() >= kMaxValues) return error(key, name, fmt::format("more than {} values", kMaxValues));
        if (!seen_.insert(name).second) return error(key, name, "given twice");
        RawValue value{name, {}, RawValue::Shape::Scalar, origin(key)};
        if (node.IsScalar()) {
            value.items.push_back(node.Scalar());
        } else if (node.IsSequence()) {
            value.shape = RawValue::Shape::Sequence;
            if (node.size() > kMaxItems) return error(key, name, fmt::format("more than {} items", kMaxItems));
            for (const auto& item : node) {
                if (!item.IsScalar()) return error(key, name, "the items of a list must be plain text or numbers");
                value.items.push_back(item.Scalar());
            }
        } else {
            value.shape = node.IsMap() ? RawValue::Shape::EmptyMap : RawValue::Shape::Null;
        }
        out.push_back(std::move(value));
        return {};
    }

    [[nodiscard]] std::string origin(const YAML::Node& node) const { return fmt::format("{}:{}", path_, node.Mark().line + 1); }

    const std::string& path_;
    std::set<std::string> seen_;
};

}  // namespace

Result<std::vector<RawValue>> read_yaml(std::string_view text, const std::string& path) {
    if (text.size() > kMaxBytes) return invalid(fmt::format("{}: {} bytes, at most {} are taken", path, text.size(), kMaxBytes));
    try {
        const std::string whole(text);
        if (more_than_one_document(whole))
            return invalid(fmt::format("{}: text after the end of the YAML document; one document is taken", path));
        const YAML::Node root = YAML::Load(whole);
        Flattener flat(path);
        if (root.IsNull() || !root.IsDefined()) return std::move(flat.out);
        if (!root.IsMap()) return flat.error(root, "", "the file must be a mapping of keys to values");
        TRY(flat.map(root, "", 1));
        return std::move(flat.out);
    } catch (const YAML::Exception& e) {
        return invalid(fmt::format("{}:{}: not YAML: {}", path, e.mark.line + 1, e.msg));
    } catch (const std::exception& e) {
        return invalid(fmt::format("{}: not YAML: {}", path, e.what()));
    }
}

}  // namespace warren::base::config
