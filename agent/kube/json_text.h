// SPDX-License-Identifier: Apache-2.0
// The API server's texts: pages of lists, lines of watches, Status objects. Pure functions over foreign bytes, any thread; fuzzed
// (tests/fuzz/kube_stream.cpp). JSON deeper than kMaxDepth is refused before it is parsed: the library's writer recurses.
#pragma once

#include "agent/kube/resource.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::kube {

inline constexpr size_t kMaxDepth = 128;
// An error for text that is nested deeper: for those who parse themselves.
base::Result<void> check_depth(std::string_view text);

// A page of a list (Kubernetes API: limit and continue). Objects without a name are left out and reported.
struct ListPage {
    std::string resource_version, continue_token;
    std::vector<Object> items;
    std::vector<std::string> malformed;
};
// version: what was asked for, since the items of built-in kinds do not say.
base::Result<ListPage> parse_list_page(std::string_view text, const Resource& resource, std::string_view version);

struct WatchEvent {
    enum class Type : uint8_t { Added, Modified, Deleted, Bookmark, Error, Unknown } type = Type::Unknown;
    Object object;           // of a bookmark only the version
    bool malformed = false;  // an object that cannot be told from others: no name
    long status = 0;         // of an error
    std::string message;     // of an error, or what is malformed
};
base::Result<WatchEvent> parse_watch_event(std::string_view line, const Resource& resource, std::string_view version);

// The message of a Status object; any other text is empty.
[[nodiscard]] std::string status_message(std::string_view body);

// Cuts a stream into lines.
class LineSplitter {
  public:
    explicit LineSplitter(size_t max_line) : max_line_(max_line) {}
    // Calls back for each whole line, without its end; empty lines are left out. False: a line is longer than the bound, or the callback
    // said false, and the stream is over. The views end with the call.
    bool feed(std::string_view bytes, const std::function<bool(std::string_view)>& line);
    [[nodiscard]] bool too_long() const { return too_long_; }
    [[nodiscard]] bool partial() const { return !rest_.empty(); }
    void reset();

  private:
    size_t max_line_;
    bool too_long_ = false;
    std::string rest_;
};

}  // namespace warren::kube
