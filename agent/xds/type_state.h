// SPDX-License-Identifier: Apache-2.0
// What the client remembers of one type from stream to stream: names and versions it holds (data-plane contract 3.3), and which names it
// could not or must not list on the present stream. Belongs to the client's thread; no I/O.
//
// A name that is held but not listed at a reconnect (its last version was rejected, or the list was too long for the server) gets no word
// of its removal. The server sends all of it again instead, so what the first response of a wildcard stream lacks is gone.
#pragma once

#include "agent/xds/response.h"
#include "agent/xds/update.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace envoy::service::discovery::v3 {
class DeltaDiscoveryRequest;
}

namespace warren::xds {

class TypeState {
  public:
    TypeState(std::string type_url, bool on_demand) : type_url_(std::move(type_url)), on_demand_(on_demand) {}

    [[nodiscard]] const std::string& type_url() const { return type_url_; }
    [[nodiscard]] bool on_demand() const { return on_demand_; }
    [[nodiscard]] size_t held() const { return versions_.size(); }

    // A stream begins: everything of the first request but the node. omit_versions lists nothing, for wildcard types only.
    void begin(envoy::service::discovery::v3::DeltaDiscoveryRequest& request, bool omit_versions);
    // Has this stream had a response? Wildcard types always get one, if an empty one.
    [[nodiscard]] bool answered() const { return answered_; }

    // On demand: listed from now on, until an answer says it is not there.
    void want(const std::string& name) {
        if (!versions_.contains(std::string_view(name))) versions_.emplace(name, "");
    }
    void forget(std::string_view name) {
        if (const auto at = versions_.find(name); at != versions_.end()) versions_.erase(at);
    }

    // Names held that the response, the stream's first, shows to be gone without saying so.
    [[nodiscard]] std::vector<std::string> vanished(const Response& response) const;
    // The update was applied but for the rejections.
    void commit(const Update& update, const std::vector<Rejection>& rejections);

  private:
    // A name and its version in one piece of memory: there are as many as resources.
    class Held {
      public:
        Held(std::string_view name, std::string_view version);
        [[nodiscard]] std::string_view name() const { return {texts(), sizes().name}; }
        [[nodiscard]] std::string_view version() const { return {texts() + sizes().name, sizes().version}; }

      private:
        struct Sizes {
            uint32_t name, version;
        };
        [[nodiscard]] Sizes sizes() const {
            Sizes sizes;
            std::memcpy(&sizes, memory_.get(), sizeof sizes);
            return sizes;
        }
        [[nodiscard]] const char* texts() const { return memory_.get() + sizeof(Sizes); }
        std::unique_ptr<char[]> memory_;  // Sizes, name, version
    };
    struct ByName {
        using is_transparent = void;
        size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
        size_t operator()(const Held& held) const { return (*this)(held.name()); }
        bool operator()(std::string_view a, std::string_view b) const { return a == b; }
        bool operator()(const Held& a, std::string_view b) const { return a.name() == b; }
        bool operator()(std::string_view a, const Held& b) const { return a == b.name(); }
        bool operator()(const Held& a, const Held& b) const { return a.name() == b.name(); }
    };
    void hold(std::string_view name, std::string_view version);

    const std::string type_url_;
    const bool on_demand_;
    bool answered_ = false;
    bool omitted_ = false;                               // this stream listed nothing
    std::unordered_set<Held, ByName, ByName> versions_;  // last accepted; empty: wanted, or a type without versions
    std::set<std::string, std::less<>> rejected_;        // wildcard: held by the server, nothing of it accepted here
};

}  // namespace warren::xds
