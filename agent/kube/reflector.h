// SPDX-License-Identifier: Apache-2.0
// Reflector: keeps one kind of object in step with an API server: paged list, then watch, resumed where it was cut, listed again when the
// server has forgotten that place (Kubernetes contract 2.1; Kubernetes API concepts: efficient detection of changes). No I/O and no clock:
// it says what to ask and when, and is told what came. Belongs to its watcher's thread.
//
// What it has told its handler is at every moment a state the server had, except that after a relist of several pages objects that are gone
// stay until the last page; nothing is forgotten while the server is away. One thing it cannot see, as no client can: an etcd set back to
// an older backup; whoever does that restarts the clients.
#pragma once

#include "agent/kube/http.h"
#include "agent/kube/json_text.h"
#include "base/backoff.h"
#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace warren::kube {

struct WatchSpec {
    Resource resource;
    std::string ns = {};  // empty: all
    std::string field_selector = {}, label_selector = {};
    bool metadata_only = false;  // the server sends metadata alone
};

// Called on the watcher's thread, one call at a time; it must not block for long. kind is the place in the list of specs.
class Handler {
  public:
    virtual ~Handler() = default;
    virtual void upsert(size_t kind, Object object) = 0;
    virtual void remove(size_t kind, const std::string& key) = 0;  // "NS/NAME"; only what was given to upsert
    // The state is whole: at the end of each list. missing: the server does not know the kind, and there are no objects of it.
    virtual void synced(size_t kind, bool missing) = 0;
    // One line for people: an object that was passed over, or why nothing comes at present; of failures in a row only the first, the
    // second, the fourth and so on.
    virtual void problem(size_t kind, const std::string& text) {
        static_cast<void>(kind);
        static_cast<void>(text);
    }
};

struct ReflectorOptions {
    unsigned page_size = 500;
    size_t max_page_bytes = size_t{64} << 20;
    size_t max_line_bytes = size_t{16} << 20;     // an object: etcd takes 1.5 MB
    std::chrono::seconds list_limit{60};          // one page
    std::chrono::seconds watch_limit{300};        // the server ends a watch after this to twice this
    std::chrono::seconds silence{150};            // bookmarks come about once a minute
    std::chrono::milliseconds backoff_base{500};  // doubles, with jitter
    std::chrono::milliseconds backoff_cap{30'000};
    std::chrono::milliseconds missing_poll{5'000};     // for a kind that the server does not know
    std::chrono::milliseconds missing_confirm{1'000};  // an API server that starts knows less for a moment
    std::chrono::milliseconds missing_grace{30'000};   // how long a kind that was there may be unknown before its objects go
};

struct ReflectorStats {
    enum class State : uint8_t { Listing, Watching, Missing, Waiting } state = State::Listing;
    bool synced = false;
    size_t objects = 0;
    uint64_t lists = 0, pages = 0, watches = 0, events = 0, bookmarks = 0;
    uint64_t gone = 0;       // the server had forgotten our place
    uint64_t errors = 0;     // failed requests and streams
    uint64_t malformed = 0;  // objects passed over
    std::string resource_version, last_error;
};
[[nodiscard]] std::string_view to_string(ReflectorStats::State state) noexcept;

class Reflector {
  public:
    // All are borrowed but the spec; they outlive it.
    Reflector(size_t kind, WatchSpec spec, const ReflectorOptions& options, base::RandomEngine& random, Handler& handler);

    // What to ask next, not before the time.
    struct Step {
        base::MonoTime at;
        Request request;
        Limits limits;
        bool stream = false;
    };
    [[nodiscard]] Step next();

    void on_open();  // the stream of the last step began
    // Its bytes; false: end it.
    bool on_data(std::string_view bytes);
    // The exchange of the last step is over. The handler is called from inside.
    void done(const base::Result<Reply>& reply, base::MonoTime now);

    [[nodiscard]] ReflectorStats stats() const;
    [[nodiscard]] bool synced() const { return stats_.synced; }

  private:
    using State = ReflectorStats::State;

    [[nodiscard]] const std::string& version() const { return spec_.resource.versions[version_]; }
    void listed(const Reply& reply, base::MonoTime now);
    void finish_list(base::MonoTime now);
    void watch_over(const base::Result<Reply>& reply, base::MonoTime now);
    bool on_line(std::string_view line);
    bool on_error_event(const WatchEvent& event);
    void on_object(WatchEvent event);
    void upsert(Object object);
    void erase(const std::string& key);
    void not_found(base::MonoTime now);
    void failed(const std::string& text, base::MonoTime now, const Reply* reply);
    void restart_list();
    void passed_over(const std::string& what);

    const size_t kind_;
    const WatchSpec spec_;
    const ReflectorOptions& options_;
    base::RandomEngine& random_;
    Handler& handler_;
    base::Backoff backoff_;
    ReflectorStats stats_;

    base::MonoTime at_{};  // of the next step
    bool watching_ = false;
    size_t version_ = 0;  // into the resource's versions
    unsigned page_size_;
    std::string continue_, rv_;

    struct Held {
        std::string rv;
        uint32_t list = 0;  // the list it was last seen in
    };
    std::unordered_map<std::string, Held> held_;
    uint32_t list_ = 0;
    uint64_t failures_ = 0;       // in a row
    unsigned expired_lists_ = 0;  // in a row

    LineSplitter lines_;
    uint64_t lines_seen_ = 0;  // of this watch
    unsigned refused_watches_ = 0;
    bool relist_ = false;  // the watch ends, and its place is of no use
    std::string stream_error_;
    base::MonoTime started_{};  // the watch

    size_t unknown_ = 0;  // answers in a row that the kind is not known, over all versions
    base::MonoTime unknown_since_{};
};

}  // namespace warren::kube
