// SPDX-License-Identifier: Apache-2.0
// Session: what is said on one stream: first requests, ACKs, NACKs, wishes for names (data-plane contract 3.1, 3.3, 3.4, 3.6). And Shared,
// what the client's thread and its callers both touch. A session belongs to the client's thread.
#pragma once

#include "agent/xds/client.h"
#include "agent/xds/reconnect.h"
#include "agent/xds/stream.h"
#include "agent/xds/type_state.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

using Wishes = std::map<std::string, bool>;  // true: subscribe

struct Shared {
    mutable std::mutex mutex;  // all below
    std::condition_variable stopped;
    bool stopping = false;
    Stream* stream = nullptr;    // while one is open
    std::vector<Wishes> wishes;  // by type, not sent yet
    size_t wish_count = 0;
    Stats stats;
};

class Session {
  public:
    struct Outcome {
        End end;
        bool answered = false;
        bool list_too_long = false;  // the server will not take a request of that size
    };
    // All of them outlive the session. omit_versions: the last session's list was too long.
    Session(const ClientOptions& options, Handler& handler, Shared& shared, std::vector<std::unique_ptr<TypeState>>& types,
            bool omit_versions)
        : options_(options), handler_(handler), shared_(shared), types_(types), omit_versions_(omit_versions) {}

    // From the open call to its end. The stream is registered in shared meanwhile.
    Outcome run(Stream& stream);

  private:
    using Time = std::chrono::steady_clock::time_point;

    void send_first_requests(Stream& stream);
    void send_wishes(Stream& stream);
    base::Result<void> on_message(Stream& stream);
    std::vector<Rejection> apply(size_t index, Response& response);
    void reply(Stream& stream, const Response& response, const std::vector<Rejection>& rejected);
    bool count(size_t index, const Update& update, size_t rejected);
    [[nodiscard]] bool waits_for_answer(const Stream& stream) const;
    Outcome ended(End end) const;

    const ClientOptions& options_;
    Handler& handler_;
    Shared& shared_;
    std::vector<std::unique_ptr<TypeState>>& types_;
    const bool omit_versions_;
    bool listed_ = false;  // some name, in the first requests
    bool answered_ = false;
    bool unknown_type_logged_ = false;
    Time patience_;  // when a stream that owes an answer is given up
};

}  // namespace warren::xds
