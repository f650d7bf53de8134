// SPDX-License-Identifier: Apache-2.0
// Where the objects of a mesh come from: files, or an API server. A source keeps all of them and tells its handler when they changed, on a
// thread of its own, one call at a time; while a call runs, further changes are gathered into the next one.
#pragma once

#include "agent/cluster/kube_objects.h"
#include "agent/cluster/object_store.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace warren::cluster {

class SourceHandler {
  public:
    virtual ~SourceHandler() = default;
    // The objects are whole, and lent for the call. changes: what differs from the last call, each object once; empty at the first call
    // and whenever the source cannot tell.
    virtual void changed(const Objects& objects, const std::vector<Change>& changes) = 0;
};

struct SourceStatus {
    bool synced = false;      // all that there is was read once; before that the handler is not called
    uint64_t deliveries = 0;  // calls of the handler
    // What is wrong at present, bounded: "FILE:LINE: FIELD: WHY" or "KIND NS/NAME: FIELD: WHY", or why nothing comes.
    std::vector<std::string> errors;
    size_t error_count = 0;                    // with those beyond the bound
    std::map<std::string, size_t> objects;     // by kind
    std::map<std::string, uint64_t> counters;  // of the source's own, for metrics: "relists", ...
};

class Source {
  public:
    virtual ~Source() = default;
    // The handler outlives the source, or stop(). Once.
    virtual void start(SourceHandler& handler) = 0;
    // No call of the handler afterwards. For good. Not from the handler.
    virtual void stop() = 0;
    [[nodiscard]] virtual SourceStatus status() const = 0;  // any thread
};

}  // namespace warren::cluster
