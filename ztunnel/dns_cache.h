// SPDX-License-Identifier: Apache-2.0
// Answers of name servers for as long as their TTLs allow, the least recently used going first when it is full. Bounded in entries and in
// bytes (an answer beyond kMaxEntryBytes is not kept). Pure: it is told the time. Belongs to one thread, with its forwarder.
#pragma once

#include "base/clock.h"
#include "ztunnel/dns_message.h"

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace warren::ztunnel {

class DnsCache {
  public:
    static constexpr size_t kMaxEntryBytes = 4096;
    explicit DnsCache(size_t entries) : limit_(entries) {}

    // What an answer depends on: the question, the flags and EDNS of the query. Empty: this query's answer is for its client alone.
    [[nodiscard]] static std::string key_of(const dns::Query& query);

    struct Hit {
        dns::Bytes message;  // borrowed until the next call
        uint32_t age_s = 0;
    };
    [[nodiscard]] std::optional<Hit> find(const std::string& key, base::MonoTime now);
    void keep(const std::string& key, dns::Bytes message, uint32_t ttl_s, base::MonoTime now);
    [[nodiscard]] size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        std::string key;
        std::vector<uint8_t> message;
        base::MonoTime since, until;
    };
    size_t limit_;
    std::list<Entry> entries_;                                                 // the last used first
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;  // views of the entries' keys
};

}  // namespace warren::ztunnel
