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
        if (ahead_ > kMaxYamlLookAhead) {
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

// Turns the parser's events into documents.
class Handler : public YAML::EventHandler {
  public:
    Handler(Source& source, std::string_view name, size_t most) : source_(source), name_(name), most_(most), builder_(name, depth()) {}
    [[nodiscard]] const std::string& failure() const { return builder_.failure(); }
    [[nodiscard]] std::string at(const YAML::Mark& mark, std::string_view why) const { return builder_.at(line(mark), why); }
    std::vector<Document> documents;

    void OnDocumentStart(const YAML::Mark& mark) override {
        ++count_;
        if (count_ > most_) {
            fail(mark, most_ == 1 ? "a second document; keep one" : "more than " + std::to_string(most_) + " documents; split the file");
        } else if (mark.pos == started_at_) {
            fail(mark, "not YAML: no document can begin so; correct the syntax");  // the parser has not moved, nor will it ever
        }
        started_at_ = mark.pos;
    }
    void OnDocumentEnd() override {
        if (!failure().empty()) return;
        Document document = std::move(builder_).finish();
        builder_ = Document::Builder(name_, depth());
        if (most_ == 1 || !document.root().is(Node::Kind::Null)) documents.push_back(std::move(document));
    }
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

  private:
    [[nodiscard]] size_t depth() const { return most_ == 1 ? Document::kMaxDepth : kMaxObjectDepth; }
    static size_t line(const YAML::Mark& mark) { return static_cast<size_t>(mark.line) + 1; }
    // "?" and "!" mean untagged, plain and quoted.
    static std::string_view own_tag(const std::string& tag) { return tag.size() > 1 ? std::string_view(tag) : std::string_view(); }

    void fail(const YAML::Mark& mark, std::string_view why) {
        builder_.fail(line(mark), why);
        source_.stop();
    }
    void leaf(const YAML::Mark& mark, Node::Kind kind, const std::string& tag, std::string_view value) {
        source_.progress();
        if (!builder_.leaf(line(mark), kind, value, own_tag(tag), tag == "!")) source_.stop();
    }
    void open(const YAML::Mark& mark, Node::Kind kind, const std::string& tag) {
        source_.progress();
        builder_.open(line(mark), kind, own_tag(tag));
        if (!failure().empty()) source_.stop();
    }
    void close() {
        source_.progress();
        builder_.close();
    }

    Source& source_;
    std::string_view name_;
    size_t most_;
    Document::Builder builder_;
    size_t count_ = 0;
    int started_at_ = -1;
};

base::Result<std::vector<Document>> parse(std::string_view text, std::string_view named, size_t most) {
    const std::string name(named);
    if (text.size() > Document::kMaxBytes) {
        return base::invalid(name + ": " + std::to_string(text.size()) + " bytes; at most " + std::to_string(Document::kMaxBytes) +
                             " are read, use a control plane for a mesh of this size");
    }
    Source source(text);
    Handler handler(source, name, most);
    std::string thrown;
    try {
        std::istream stream(&source);
        YAML::Parser parser(stream);
        while (handler.failure().empty() && parser.HandleNextDocument(handler)) {
        }
    } catch (const YAML::Exception& e) {
        thrown = handler.at(e.mark, "not YAML: " + base::quoted(e.msg) + "; correct the syntax");  // the message quotes the text
    } catch (const std::exception& e) {
        thrown = name + ": not readable as YAML: " + base::quoted(e.what());
    }
    if (source.too_far()) {
        return base::invalid(name + ": more than " + std::to_string(kMaxYamlLookAhead) +
                             " bytes in one [...], {...} or scalar; write long lists with one '- ' entry a line");
    }
    if (!handler.failure().empty()) return base::invalid(handler.failure());
    if (!thrown.empty()) return base::invalid(std::move(thrown));
    return std::move(handler.documents);
}

}  // namespace

base::Result<Document> document_from_yaml(std::string_view text, std::string_view name) {
    std::vector<Document> documents = TRY(parse(text, name, 1));
    if (documents.empty()) return base::invalid(std::string(name) + ": empty; write {} for a mesh with nothing in it");
    return std::move(documents.front());
}

base::Result<std::vector<Document>> documents_from_yaml(std::string_view text, std::string_view name) {
    return parse(text, name, kMaxYamlDocuments);
}

}  // namespace warren::policy
