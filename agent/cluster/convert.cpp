// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert.h"

#include "agent/cluster/conversion.h"

#include <utility>

namespace warren::cluster {

namespace {

class Collected final : public OutputSink {
  public:
    explicit Collected(Outputs& to) : to_(to) {}
    void begin_whole() override {}
    void end_whole() override {}
    void set_workload(const std::string& uid, Workload& workload) override { to_.workloads.emplace(uid, std::move(workload)); }
    void set_service(const std::string& key, istio::workload::Service& service) override { to_.services.emplace(key, std::move(service)); }
    void set_authorization(const std::string& key, const istio::security::Authorization& policy) override {
        to_.authorizations.emplace(key, policy);
    }
    void remove_workload(const std::string&) override {}
    void remove_service(const std::string&) override {}
    void remove_authorization(const std::string&) override {}

  private:
    Outputs& to_;
};

}  // namespace

Outputs convert(const Objects& objects, const Settings& settings, Diagnostics& problems) {
    Outputs out;
    Collected sink(out);
    Conversion conversion(settings);
    conversion.update(objects, {}, sink);
    conversion.report(problems);
    return out;
}

}  // namespace warren::cluster
