// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/document_json.h"

#include "base/bytes.h"
#include "policy/document_yaml.h"

#include <nlohmann/json.hpp>

#include <iterator>

namespace warren::cluster {

using policy::Document;
using policy::Node;

namespace {

// Where the parser is. The line is that of the last character that is no space: to end a number the parser reads one beyond it.
struct Progress {
    size_t newlines = 0;
    size_t line = 1;
};

// What nlohmann's parser reads the text through.
class Cursor {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    Cursor(const char* at, Progress* progress) : at_(at), progress_(progress) {}
    reference operator*() const { return *at_; }
    Cursor& operator++() {
        if (*at_ == '\n')
            ++progress_->newlines;
        else if (*at_ != ' ' && *at_ != '\t' && *at_ != '\r')
            progress_->line = progress_->newlines + 1;
        ++at_;
        return *this;
    }
    Cursor operator++(int) {
        Cursor before = *this;
        ++*this;
        return before;
    }
    bool operator==(const Cursor& o) const { return at_ == o.at_; }
    bool operator!=(const Cursor& o) const { return at_ != o.at_; }

  private:
    const char* at_;
    Progress* progress_;
};

// Parser events into a Document; false ends the parse.
class Sax {
  public:
    Sax(Document::Builder& to, const Progress& progress) : to_(to), progress_(progress) {}
    [[nodiscard]] const std::string& syntax() const { return syntax_; }

    bool null() { return leaf(Node::Kind::Null, ""); }
    bool boolean(bool value) { return leaf(Node::Kind::Scalar, value ? "true" : "false"); }
    bool number_integer(int64_t value) { return leaf(Node::Kind::Scalar, std::to_string(value)); }
    bool number_unsigned(uint64_t value) { return leaf(Node::Kind::Scalar, std::to_string(value)); }
    bool number_float(double, const std::string& text) { return leaf(Node::Kind::Scalar, text); }
    bool string(const std::string& text) { return to_.leaf(progress_.line, Node::Kind::Scalar, text, {}, true); }
    bool binary(const std::vector<uint8_t>&) { return false; }
    bool key(const std::string& text) { return string(text); }
    bool start_object(size_t) { return open(Node::Kind::Map); }
    bool start_array(size_t) { return open(Node::Kind::Sequence); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool parse_error(size_t, const std::string& near, const nlohmann::json::exception&) {
        syntax_ = to_.at(progress_.line, "not JSON near " + base::quoted(near) + "; correct the syntax");
        return false;
    }

  private:
    bool leaf(Node::Kind kind, std::string_view text) { return to_.leaf(progress_.line, kind, text); }
    bool open(Node::Kind kind) {
        to_.open(progress_.line, kind);
        return to_.failure().empty();
    }
    bool close() {
        to_.close();
        return to_.failure().empty();
    }

    Document::Builder& to_;
    const Progress& progress_;
    std::string syntax_;
};

}  // namespace

base::Result<Document> document_from_json(std::string_view text, std::string_view name, Lines lines) {
    if (text.size() > Document::kMaxBytes) {
        return base::invalid(std::string(name) + ": " + std::to_string(text.size()) + " bytes; at most " +
                             std::to_string(Document::kMaxBytes) + " are read, split it");
    }
    Progress progress;
    Document::Builder builder(name, policy::kMaxObjectDepth);
    if (lines == Lines::Off) builder.without_lines();
    Sax sax(builder, progress);
    std::string thrown;
    bool done = false;
    try {
        // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the end is beside it
        done = nlohmann::json::sax_parse(Cursor(text.data(), &progress), Cursor(text.data() + text.size(), &progress), &sax);
    } catch (const std::exception& e) {
        thrown = builder.at(progress.line, "not readable as JSON: " + base::quoted(e.what()));
    }
    if (!builder.failure().empty()) return base::invalid(builder.failure());
    if (!thrown.empty()) return base::invalid(std::move(thrown));
    if (!done) return base::invalid(sax.syntax().empty() ? builder.at(progress.line, "not JSON") : sax.syntax());
    return std::move(builder).finish();
}

}  // namespace warren::cluster
