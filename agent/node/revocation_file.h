// SPDX-License-Identifier: Apache-2.0
// RevocationFile: the revocation lists that warren-controller publishes, from the node's xDS stream into a file that the tunnel watches
// (CRL_PATH; data-plane contract 4.4). A Handler before the mesh's own: it keeps what is its own and passes on the rest.
//
// Deny on doubt: lists that do not read, that are gone, or that are older than those in force and take a revocation back, leave the file as
// it is; so does a control plane that is away, over a restart too. What cannot be written is tried again until it is.
//
// apply and the others on the client's thread; the file is written on a thread of its own; status on any. The next handler outlives it.
#pragma once

#include "agent/node/revocation_lists.h"
#include "agent/xds/client.h"
#include "base/result.h"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace warren::node {

struct RevocationStatus {
    std::string file;
    size_t lists = 0, serials = 0;  // in the file
    base::WallTime issued{};        // of the youngest; zero: none
    uint64_t written = 0, refused = 0, failures = 0;
    std::string error;  // of the last lists, or of the last attempt to write them; empty: the file has what the control plane says
};

class RevocationFile final : public xds::Handler {
  public:
    // Reads what an earlier agent left there. Lists there that do not read are replaced by the first good ones.
    RevocationFile(std::string path, xds::Handler& next);
    ~RevocationFile() override = default;

    std::vector<xds::Rejection> apply(const xds::Update& update) override;
    void synced(std::string_view type_url) override;
    void connected() override { next_.connected(); }
    void disconnected(xds::Termination reason, std::string_view detail) override { next_.disconnected(reason, detail); }

    [[nodiscard]] RevocationStatus status() const;

  private:
    struct Content {
        std::string pem;
        std::shared_ptr<const RevocationLists> lists;
    };
    base::Result<void> take(const xds::Resource& resource);
    void write_all(const std::stop_token& stop);
    void in_force(Content content);
    void refused(const std::string& why);

    const std::string path_;
    xds::Handler& next_;
    std::shared_ptr<const RevocationLists> newest_;  // taken last; of the client's thread
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::optional<Content> pending_;  // under mutex_, as the two below
    std::string held_;
    RevocationStatus status_;
    std::jthread writer_;  // last, so that it ends first
};

}  // namespace warren::node
