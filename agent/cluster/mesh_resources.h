// SPDX-License-Identifier: Apache-2.0
// What the conversion says, as the resources that an xDS server publishes (Kubernetes contract 2.2, 5.2): names, aliases, groups, bytes and
// versions. A version is a hash of the bytes and nothing else, so it is the same in every replica and after every restart: a node that
// comes back is sent what changed while it was away. Only resources whose content changed are made anew; all others are shared with the
// snapshot before. One thread.
#pragma once

#include "agent/cluster/conversion.h"
#include "agent/xds/server.h"
#include "agent/xds/update.h"
#include "base/result.h"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace warren::cluster {

using xds::kAddressType;
using xds::kAuthorizationType;
inline constexpr std::string_view kWorkloadType = "type.googleapis.com/istio.workload.Workload";  // clients of former times

class MeshResources final : public OutputSink {
  public:
    explicit MeshResources(bool with_workload_type);
    MeshResources(const MeshResources&) = delete;
    MeshResources& operator=(const MeshResources&) = delete;

    // As a conversion says. A resource that cannot be sent keeps its former version.
    void begin_whole() override { whole_ = true; }
    void end_whole() override;
    void set_workload(const std::string& uid, Workload& workload) override;
    void set_service(const std::string& key, istio::workload::Service& service) override;
    void set_authorization(const std::string& key, const istio::security::Authorization& policy) override;
    void remove_workload(const std::string& uid) override;
    void remove_service(const std::string& key) override { remove(addresses_, key); }
    void remove_authorization(const std::string& key) override { remove(authorizations_, key); }

    struct Changes {
        size_t set = 0, removed = 0;
    };
    // Since the last call.
    Changes take_changes() { return std::exchange(changes_, {}); }
    // The whole at once.
    Changes update(Outputs outputs);

    [[nodiscard]] size_t workloads() const { return addresses_.size() - services_; }
    [[nodiscard]] size_t services() const { return services_; }
    [[nodiscard]] size_t authorizations() const { return authorizations_.size(); }
    [[nodiscard]] const std::map<std::string, std::string>& refused() const { return refused_; }  // name -> why it cannot be sent
    // To publish: copies cost a few reference counts.
    [[nodiscard]] const xds::Snapshot& snapshot() const { return sets_; }
    [[nodiscard]] std::vector<std::string> types() const;  // in the order of a push

  private:
    template <class MakeNames>
    void put(xds::ResourceSet& set, const std::string& name, const google::protobuf::MessageLite& message, MakeNames make_names);
    void remove(xds::ResourceSet& set, const std::string& name);
    void sweep(xds::ResourceSet& set);

    const bool with_workload_type_;
    xds::Snapshot sets_;
    xds::ResourceSet &addresses_, &old_workloads_, &authorizations_;  // in sets_; the second is the older type's
    xds::ResourceSet none_;                                           // in its place where it is not served
    size_t services_ = 0;                                             // in addresses_
    Changes changes_;
    std::map<std::string, std::string> refused_;
    bool whole_ = false;
    std::unordered_set<const xds::ResourceBlock*> seen_;  // while whole_
    istio::workload::Address address_;                    // made once, for its memory
    std::string bytes_;                                   // likewise
};

// The messages again, for people who look. What does not parse is left out.
[[nodiscard]] Outputs outputs_of(const xds::Snapshot& snapshot);
// 16 hex digits of the SHA-256 of the bytes.
[[nodiscard]] std::string content_version(std::string_view bytes);

}  // namespace warren::cluster
