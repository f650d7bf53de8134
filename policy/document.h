// SPDX-License-Identifier: Apache-2.0
// A document (YAML, or JSON) as a flat tape of nodes that know their line and their path, so that every refusal can say where. A parser
// feeds its events to a Builder, which bounds nodes and depth. Values only: no files, no thread affinity. For the readers of files:
// policy_yaml and agent/cluster.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::policy {

class Document;

// One node of a document, borrowed: the document outlives it and does not move. A default Node stands for "absent".
class Node {
  public:
    enum class Kind : uint8_t { Null, Scalar, Sequence, Map };

    Node() = default;
    explicit operator bool() const { return document_ != nullptr; }
    [[nodiscard]] Kind kind() const;
    [[nodiscard]] bool is(Kind k) const { return document_ != nullptr && kind() == k; }
    [[nodiscard]] std::string_view text() const;  // of a scalar
    [[nodiscard]] std::string_view tag() const;   // "!Exact"; empty for an untagged node
    [[nodiscard]] bool quoted() const;            // a scalar written in quotes or as a block
    [[nodiscard]] bool empty() const { return !first(); }
    // Children: elements of a sequence; of a map key, value, key, value.
    [[nodiscard]] Node first() const;  // absent when there is none
    [[nodiscard]] Node next() const;   // absent after the last

    // "mesh.yaml:12", at no cost that depends on the document.
    [[nodiscard]] std::string place() const;
    // "mesh.yaml:12: workloads[0].protocol: WHY"
    [[nodiscard]] base::Error refuse(std::string_view why) const;

    class Iterator;
    [[nodiscard]] Iterator begin() const;
    [[nodiscard]] Iterator end() const;

  private:
    friend class Document;
    Node(const Document* document, uint32_t index) : document_(document), index_(index) {}
    const Document* document_ = nullptr;
    uint32_t index_ = 0;
};

class Node::Iterator {
  public:
    explicit Iterator(Node at) : at_(at) {}
    Node operator*() const { return at_; }
    Iterator& operator++() {
        at_ = at_.next();
        return *this;
    }
    bool operator!=(const Iterator& o) const { return static_cast<bool>(at_) != static_cast<bool>(o.at_); }

  private:
    Node at_;
};

inline Node::Iterator Node::begin() const { return Iterator(first()); }
inline Node::Iterator Node::end() const { return Iterator(Node()); }

class Document {
  public:
    static constexpr size_t kMaxBytes = size_t{64} << 20;
    static constexpr size_t kMaxNodes = 4'000'000;  // 100,000 workloads take 3,000,000
    static constexpr size_t kMaxDepth = 32;         // the deepest field of a mesh file is at 9

    class Builder;
    [[nodiscard]] Node root() const { return {this, 0}; }
    [[nodiscard]] bool empty() const { return entries_.empty(); }  // then there is no root

  private:
    friend class Node;
    struct Entry {
        uint32_t text = 0, text_size = 0;
        uint32_t line = 0;  // from 1
        uint32_t end = 0;   // index behind the last descendant
        uint32_t parent = 0;
        uint16_t tag = 0;  // index into tags_
        Node::Kind kind = Node::Kind::Null;
        bool quoted = false;
    };

    [[nodiscard]] std::string path(uint32_t index) const;

    [[nodiscard]] std::string place(size_t line) const;

    std::string name_;
    bool lines_ = true;
    std::string text_;
    std::vector<std::string> tags_{std::string()};
    std::vector<Entry> entries_;
};

// What a parser feeds. After the first refusal nothing more is taken.
class Document::Builder {
  public:
    // name: how errors call the text, usually a file name.
    explicit Builder(std::string_view name, size_t max_depth = kMaxDepth) : max_depth_(max_depth) { document_.name_ = name; }

    // For text that nobody sees as lines, such as an object of an API server: errors name the document and the path alone.
    void without_lines() { document_.lines_ = false; }

    // line counts from 1. The tag is the YAML one, empty where there is none.
    bool leaf(size_t line, Node::Kind kind, std::string_view text, std::string_view tag = {}, bool quoted = false);
    void open(size_t line, Node::Kind kind, std::string_view tag = {});
    void close();
    void fail(size_t line, std::string_view why);

    [[nodiscard]] std::string at(size_t line, std::string_view why) const;
    [[nodiscard]] const std::string& failure() const { return failure_; }  // empty while all is well
    [[nodiscard]] Document finish() && { return std::move(document_); }

  private:
    bool intern_tag(std::string_view tag, uint16_t& out);

    Document document_;
    size_t max_depth_;
    std::vector<uint32_t> open_;
    std::string failure_;
};

}  // namespace warren::policy
