// SPDX-License-Identifier: Apache-2.0
#include "policy/document_yaml.h"

#include "base/bytes.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>

namespace warren::policy {

namespace {

// Hands the text to the parser in pieces and ends it early when told to, or when the parser has gone too far without an event: the only
// ways to stop it from inside without throwing through it.
class Source : public std::streambuf {
  public:
    explicit Source(std::string_view text) : rest_(text) {}
    void progress() { ahead_ = 0; }
    void stop() { rest_ = {}; }
    [[nodiscard]] bool too_far() const { return too_far_; }

  protected:
    int_type underflow() override {
        if (ahead_ > Document::kMaxLookAhead) {
            too_far_ = true;
            stop();
        }
        const std::string_view piece = rest_.substr(0, sizeof piece_);
        if (piece.empty()) return traits_type::eof();
        rest_.remove_prefix(piece.size());
        ahead_ += piece.size();
        std::copy(piece.begin(), piece.end(), piece_);
        setg(piece_, piece_, piece_ + piece.size());
        return traits_type::to_int_type(piece_[0]);
    }

  private:
    std::string_view rest_;
    size_t ahead_ = 0;
    bool too_far_ = false;
    char piece_[2048] = {};
};

}  // namespace

class Document::Builder : public YAML::EventHandler {
  public:
    Builder(Document& document, Source& source) : to_(document), source_(source) {}
    [[nodiscard]] const std::string& failure() const { return failure_; }
    [[nodiscard]] int documents() const { return documents_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ > 1) fail(mark, "a second document; keep one");
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { leaf(mark, Node::Kind::Null, "", ""); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { fail(mark, "aliases (*name) are not supported; write the value out"); }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
        leaf(mark, Node::Kind::Scalar, tag, value);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
        open(mark, Node::Kind::Sequence, tag);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
        open(mark, Node::Kind::Map, tag);
    }
    void OnMapEnd() override { close(); }

    std::string at(const YAML::Mark& mark, std::string_view why) const {
        return to_.name_ + ":" + std::to_string(mark.line + 1) + ": " + std::string(why);
    }

  private:
    void fail(const YAML::Mark& mark, std::string_view why) {
        if (failure_.empty()) failure_ = at(mark, why);
        source_.stop();
    }

    bool add(const YAML::Mark& mark, Node::Kind kind, const std::string& tag, std::string_view value) {
        source_.progress();
        if (!failure_.empty()) return false;
        if (to_.entries_.size() >= kMaxNodes) {
            fail(mark, "more than " + std::to_string(kMaxNodes) + " values; use a control plane for a mesh of this size");
            return false;
        }
        Entry entry;
        entry.kind = kind;
        entry.line = static_cast<uint32_t>(mark.line + 1);
        entry.text = static_cast<uint32_t>(to_.text_.size());
        entry.text_size = static_cast<uint32_t>(value.size());
        entry.end = static_cast<uint32_t>(to_.entries_.size() + 1);
        entry.parent = open_.empty() ? 0 : open_.back();
        entry.quoted = tag == "!";
        if (!intern_tag(tag, entry.tag)) {
            fail(mark, "too many different tags; the known ones are !Exact, !Prefix, !Suffix and !Presence");
            return false;
        }
        to_.text_ += value;
        to_.entries_.push_back(entry);
        return true;
    }

    void leaf(const YAML::Mark& mark, Node::Kind kind, const std::string& tag, std::string_view value) { add(mark, kind, tag, value); }

    void open(const YAML::Mark& mark, Node::Kind kind, const std::string& tag) {
        if (open_.size() >= kMaxDepth) fail(mark, "nested more than " + std::to_string(kMaxDepth) + " deep; no field of a mesh file is");
        if (add(mark, kind, tag, "")) open_.push_back(static_cast<uint32_t>(to_.entries_.size() - 1));
    }

    void close() {
        source_.progress();
        if (!failure_.empty()) return;  // starts after the failure were not kept, so ends do not pair
        to_.entries_[open_.back()].end = static_cast<uint32_t>(to_.entries_.size());
        open_.pop_back();
    }

    // "?" and "!" mean untagged, plain and quoted.
    bool intern_tag(const std::string& tag, uint16_t& out) {
        if (tag.size() <= 1) return true;
        const auto found = std::find(to_.tags_.begin(), to_.tags_.end(), tag);
        out = static_cast<uint16_t>(found - to_.tags_.begin());
        if (found == to_.tags_.end()) to_.tags_.push_back(tag);
        return to_.tags_.size() <= 64;
    }

    Document& to_;
    Source& source_;
    std::vector<uint32_t> open_;
    std::string failure_;
    int documents_ = 0;
};

base::Result<Document> Document::parse(std::string_view text, std::string_view name) {
    Document document;
    document.name_ = name;
    if (text.size() > kMaxBytes) {
        return base::invalid(document.name_ + ": " + std::to_string(text.size()) + " bytes; at most " + std::to_string(kMaxBytes) +
                             " are read, use a control plane for a mesh of this size");
    }
    Source source(text);
    Builder builder(document, source);
    std::string thrown;
    try {
        std::istream stream(&source);
        YAML::Parser parser(stream);
        while (builder.failure().empty() && parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& e) {
        thrown = builder.at(e.mark, "not YAML: " + base::quoted(e.msg) + "; correct the syntax");  // the message quotes the text
    } catch (const std::exception& e) {
        thrown = document.name_ + ": not readable as YAML: " + base::quoted(e.what());
    }
    if (source.too_far()) {
        return base::invalid(document.name_ + ": more than " + std::to_string(kMaxLookAhead) +
                             " bytes in one [...], {...} or scalar; write long lists with one '- ' entry a line");
    }
    if (!builder.failure().empty()) return base::invalid(builder.failure());
    if (!thrown.empty()) return base::invalid(std::move(thrown));
    if (document.entries_.empty()) return base::invalid(document.name_ + ": empty; write {} for a mesh with nothing in it");
    return document;
}

Node::Kind Node::kind() const { return document_->entries_[index_].kind; }
bool Node::quoted() const { return document_->entries_[index_].quoted; }
std::string_view Node::tag() const { return document_->tags_[document_->entries_[index_].tag]; }
std::string_view Node::text() const {
    const auto& entry = document_->entries_[index_];
    return std::string_view(document_->text_).substr(entry.text, entry.text_size);
}

Node Node::first() const {
    return document_ != nullptr && document_->entries_[index_].end > index_ + 1 ? Node(document_, index_ + 1) : Node();
}

Node Node::next() const {
    const auto& entry = document_->entries_[index_];
    const bool last = index_ == 0 || entry.end >= document_->entries_[entry.parent].end;
    return last ? Node() : Node(document_, entry.end);
}

base::Error Node::refuse(std::string_view why) const {
    std::string text = document_->name_ + ":" + std::to_string(document_->entries_[index_].line) + ": " + document_->path(index_);
    if (index_ != 0) text += ": ";
    return base::invalid(text.append(why));
}

// Walks down from the root: each step is the child whose subtree holds the node.
std::string Document::path(uint32_t index) const {
    std::string text;
    for (Node at = root(); at.index_ != index;) {
        Node key, child = at.first();
        size_t position = 0;
        for (; entries_[child.index_].end <= index; child = child.next(), ++position)
            if (position % 2 == 0) key = child;
        if (!at.is(Node::Kind::Map)) {
            text.append("[").append(std::to_string(position)).append("]");
        } else if (position % 2 == 0) {
            return text.empty() ? "key" : text.append(" key");
        } else {
            const std::string name = base::quoted(key.text());
            const bool plain = !key.text().empty() && key.text().find_first_of("/. ") == std::string_view::npos;
            if (plain)
                text.append(text.empty() ? "" : ".").append(name, 1, name.size() - 2);
            else
                text.append("[").append(name).append("]");
        }
        at = child;
    }
    return text;
}

}  // namespace warren::policy
