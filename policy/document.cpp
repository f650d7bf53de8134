// SPDX-License-Identifier: Apache-2.0
#include "policy/document.h"

#include "base/bytes.h"

#include <algorithm>

namespace warren::policy {

std::string Document::Builder::at(size_t line, std::string_view why) const { return document_.place(line) + ": " + std::string(why); }

void Document::Builder::fail(size_t line, std::string_view why) {
    if (failure_.empty()) failure_ = at(line, why);
}

bool Document::Builder::leaf(size_t line, Node::Kind kind, std::string_view text, std::string_view tag, bool quoted) {
    if (!failure_.empty()) return false;
    auto& entries = document_.entries_;
    if (entries.size() >= kMaxNodes) {
        fail(line, "more than " + std::to_string(kMaxNodes) + " values; use a control plane for a mesh of this size");
        return false;
    }
    Entry entry;
    entry.kind = kind;
    entry.line = static_cast<uint32_t>(line);
    entry.text = static_cast<uint32_t>(document_.text_.size());
    entry.text_size = static_cast<uint32_t>(text.size());
    entry.end = static_cast<uint32_t>(entries.size() + 1);
    entry.parent = open_.empty() ? 0 : open_.back();
    entry.quoted = quoted;
    if (!intern_tag(tag, entry.tag)) {
        fail(line, "too many different tags; the known ones are !Exact, !Prefix, !Suffix and !Presence");
        return false;
    }
    document_.text_ += text;
    entries.push_back(entry);
    return true;
}

void Document::Builder::open(size_t line, Node::Kind kind, std::string_view tag) {
    if (open_.size() >= max_depth_) fail(line, "nested more than " + std::to_string(max_depth_) + " deep; no field that is read is");
    if (leaf(line, kind, "", tag)) open_.push_back(static_cast<uint32_t>(document_.entries_.size() - 1));
}

void Document::Builder::close() {
    if (!failure_.empty()) return;  // starts after the failure were not kept, so ends do not pair
    document_.entries_[open_.back()].end = static_cast<uint32_t>(document_.entries_.size());
    open_.pop_back();
}

bool Document::Builder::intern_tag(std::string_view tag, uint16_t& out) {
    if (tag.empty()) return true;
    auto& tags = document_.tags_;
    const auto found = std::find(tags.begin(), tags.end(), tag);
    out = static_cast<uint16_t>(found - tags.begin());
    if (found == tags.end()) tags.emplace_back(tag);
    return tags.size() <= 64;
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

std::string Node::place() const { return document_ == nullptr ? std::string() : document_->place(document_->entries_[index_].line); }

base::Error Node::refuse(std::string_view why) const {
    std::string text = document_->place(document_->entries_[index_].line) + ": " + document_->path(index_);
    if (index_ != 0) text += ": ";
    return base::invalid(text.append(why));
}

std::string Document::place(size_t line) const { return lines_ ? name_ + ":" + std::to_string(line) : name_; }

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
