// SPDX-License-Identifier: Apache-2.0
// LinkList<T>: a doubly linked list of objects that carry their own links (class T : public Link<T>), for the lists of the I/O path, where
// nothing may be allocated. The list borrows its members. Whichever dies first, a member or the list, lets the other go, so no order of
// destruction leaves a dangling pointer. All operations are O(1) but the list's destructor. One thread at a time.
#pragma once

#include <cassert>

namespace warren::base {

template <class T>
class LinkList;

template <class T>
class Link {
  public:
    [[nodiscard]] bool linked() const { return next_ != this; }

  private:
    friend T;  // private, so that only T itself can be a Link<T>
    friend class LinkList<T>;
    Link() = default;
    ~Link() { unlink(); }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    void unlink() {
        prev_->next_ = next_;
        next_->prev_ = prev_;
        prev_ = next_ = this;
    }

    Link* prev_ = this;
    Link* next_ = this;
};

template <class T>
class LinkList {
  public:
    LinkList() = default;
    ~LinkList() {
        while (!empty()) head_.next_->unlink();
    }
    LinkList(const LinkList&) = delete;
    LinkList& operator=(const LinkList&) = delete;

    [[nodiscard]] bool empty() const { return !head_.linked(); }

    // The member must not be on any list.
    void push_back(T& member) {
        Link<T>& link = member;
        assert(!link.linked());
        link.prev_ = head_.prev_;
        link.next_ = &head_;
        head_.prev_->next_ = &link;
        head_.prev_ = &link;
    }

    // nullptr when empty.
    T* pop_front() {
        if (empty()) return nullptr;
        Link<T>* link = head_.next_;
        link->unlink();  // NOLINT(clang-analyzer-cplusplus.NewDelete): it does not see that members unlink when they die
        return static_cast<T*>(link);
    }

    static void remove(T& member) { static_cast<Link<T>&>(member).unlink(); }

    // Moves all members of `from` here, in order; this list must be empty.
    void take(LinkList& from) {
        assert(empty());
        if (from.empty()) return;
        head_.next_ = from.head_.next_;
        head_.prev_ = from.head_.prev_;
        head_.next_->prev_ = &head_;
        head_.prev_->next_ = &head_;
        from.head_.prev_ = from.head_.next_ = &from.head_;
    }

  private:
    Link<T> head_;  // a ring through this sentinel: no end is special
};

}  // namespace warren::base
