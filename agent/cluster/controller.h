// SPDX-License-Identifier: Apache-2.0
// Controller: warren-controller put together: a source of objects, their conversion, the xDS server and the certificate service on one TLS
// port, and the HTTP ports. Belongs to main's thread. What may fail fails in start(), with the setting to blame, before anything serves.
//
// One thread of its own looks at files once a second: the authority's keys, rotation and revocations; its server's certificate.
#pragma once

#include "agent/cluster/ca_service.h"
#include "agent/cluster/controller_settings.h"
#include "agent/cluster/file_source.h"
#include "agent/cluster/kube_side.h"
#include "agent/cluster/publisher.h"
#include "agent/cluster/serving.h"
#include "agent/cluster/xds_gate.h"
#include "agent/xds/server.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "base/readiness.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace warren::cluster {

// What the status page and the metrics show: everything at one moment. Gathered on their threads.
struct ControllerReport {
    SourceStatus source;
    Publisher::Status mesh;
    xds::ServerStats xds;
    std::vector<xds::ClientStatus> clients;
    const IssuanceStats* certificates = nullptr;
    CaService::Stats certificate_queue;
    base::log::Stats audit;
    const XdsGate::Stats* gate = nullptr;
    size_t tokens = 0;
    RotationState rotation;
    uint64_t trust_version = 0;
    std::string authority_error;  // of the last look at its files
    std::optional<kube::LeaderStats> leader;
    std::optional<kube::TokenReviewer::Stats> reviews;
    std::optional<StatusWriter::Stats> statuses;
    std::optional<AddressWriter::Stats> addresses;
    std::vector<std::string> pending;  // of readiness
};

class Controller final : SourceHandler {
  public:
    // settings outlive it. quit: called on an admin thread when somebody asked the process to end.
    static base::Result<std::unique_ptr<Controller>> start(const ControllerSettings& settings, std::function<void()> quit);
    ~Controller() override;

    [[nodiscard]] ControllerReport report() const;
    [[nodiscard]] xds::Snapshot snapshot() const { return publisher_->snapshot(); }
    [[nodiscard]] const ControllerSettings& settings() const { return settings_; }
    [[nodiscard]] std::vector<int> ports() const { return server_->ports(); }

  private:
    explicit Controller(const ControllerSettings& settings) : settings_(settings) {}
    base::Result<void> open_state();
    base::Result<void> start_source();
    base::Result<void> start_certificates();
    base::Result<void> start_xds();
    base::Result<void> start_http(std::function<void()> quit);
    base::Result<void> publish_trust();
    void look_after_files();
    void look_once();
    void changed(const Objects& objects, const std::vector<Change>& changes) override;

    const ControllerSettings& settings_;
    base::RealClock clock_;
    base::metrics::Registry registry_;
    base::Readiness readiness_;
    std::unique_ptr<Authority> authority_;
    std::unique_ptr<TokenTable> tokens_;
    std::unique_ptr<AuditLog> audit_;
    std::unique_ptr<KubeSide> kube_;  // null: files
    std::unique_ptr<FileSource> files_;
    Source* source_ = nullptr;
    NodeWorkloads workloads_;
    std::optional<Authenticator> authenticator_;
    std::optional<NodeAuthorizer> authorizer_;
    std::optional<Issuance> issuance_;
    std::unique_ptr<ServingCertificate> serving_;
    uint64_t published_ = 0;  // version of the trust in the public folder
    uint64_t served_ = 0;     // serial of the certificate that the server has
    std::unique_ptr<CaService> ca_;
    std::unique_ptr<XdsGate> gate_;
    std::unique_ptr<xds::Server> server_;
    std::unique_ptr<Publisher> publisher_;

    mutable std::mutex mutex_;  // below
    std::condition_variable wake_;
    bool stopping_ = false;
    std::string authority_error_;
    std::thread thread_;
    std::unique_ptr<base::metrics::Registry::Subscription> metrics_;
    std::vector<std::unique_ptr<base::HttpServer>> http_;  // last: they ask the others
};

}  // namespace warren::cluster
