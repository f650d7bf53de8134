// SPDX-License-Identifier: Apache-2.0
#include "policy/mesh_yaml.h"

#include "policy/document_yaml.h"
#include "policy/parts_yaml.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace warren::policy {

using base::Result;

namespace {

class MeshFile {
  public:
    explicit MeshFile(TextPool& pool) : pool_(pool) {}

    Result<Batch> read(Node root) {
        const Fields fields = TRY(Fields::of(root, {"workloads", "policies", "services"}));
        for (const Node node : TRY(entries(fields, "workloads"))) TRY(add_workload(node));
        for (const Node node : TRY(entries(fields, "services"))) TRY(add_service(node));
        for (const Node node : TRY(entries(fields, "policies"))) TRY(add_policy(node));
        for (StaticEndpoint& endpoint : endpoints_) TRY(add_membership(endpoint));
        for (const Ref<Workload>& workload : workloads_) finish(*workload);
        batch_.workloads.assign(workloads_.begin(), workloads_.end());
        return std::move(batch_);
    }

  private:
    // A list that may be absent or left empty ("workloads:").
    static Result<Node> entries(const Fields& fields, std::string_view key) {
        const Node node = fields.get(key);
        if (!node || node.is(Node::Kind::Null)) return Node();
        return read_sequence(node);
    }

    Result<void> add_workload(Node node) {
        const auto workload = make_ref<Workload>();
        TRY(read_workload(node, pool_, *workload));
        if (!by_uid_.emplace(workload->uid.view(), workloads_.size()).second)
            return node.refuse("a second workload with the uid " + base::quoted(workload->uid) + "; give each its own");
        workloads_.push_back(workload);
        return {};
    }

    Result<void> add_service(Node node) {
        const auto service = make_ref<Service>();
        TRY(read_service(node, pool_, *service, endpoints_));
        if (!services_.insert(service->key.view()).second)
            return node.refuse("a second service " + base::quoted(service->key) + "; keep one of that namespace and hostname");
        batch_.services.emplace_back(service);
        return {};
    }

    Result<void> add_policy(Node node) {
        PolicySpec policy = TRY(read_policy(node, pool_));
        if (!policies_.insert(policy.key).second)
            return node.refuse("a second policy " + base::quoted(policy.key) + "; keep one of that namespace and name");
        batch_.policies.emplace_back(std::move(policy));
        return {};
    }

    // The model keeps an endpoint's ports and health with the workload alone, so the two places must not say different things.
    Result<void> add_membership(StaticEndpoint& endpoint) {
        const auto found = by_uid_.find(endpoint.uid);
        if (found == by_uid_.end())
            return endpoint.at.refuse("no workload with the uid " + base::quoted(endpoint.uid) + " in this file; add it to workloads");
        const Workload& workload = *workloads_[found->second];
        if (endpoint.status && *endpoint.status != workload.status)
            return endpoint.at.refuse("the endpoint's status is not its workload's; set it at the workload");
        const WorkloadService* own = workload.membership(endpoint.membership.service);
        if (own == nullptr)
            added_[&workload].push_back(std::move(endpoint.membership));
        else if (*own != endpoint.membership)
            return endpoint.at.refuse("the workload's own services entry has other ports; give them in one place");
        return {};
    }

    void finish(Workload& workload) {
        std::vector<WorkloadService> services(workload.services.begin(), workload.services.end());
        if (const auto more = added_.find(&workload); more != added_.end())
            std::move(more->second.begin(), more->second.end(), std::back_inserter(services));
        std::sort(services.begin(), services.end(), [](const auto& a, const auto& b) { return a.service < b.service; });
        workload.services = Array<WorkloadService>(std::move(services));
    }

    TextPool& pool_;
    Batch batch_;
    std::vector<Ref<Workload>> workloads_;
    std::vector<StaticEndpoint> endpoints_;
    std::unordered_map<std::string_view, size_t> by_uid_;  // texts belong to the workloads
    std::unordered_set<std::string_view> services_;        // and to the batch's services
    std::unordered_set<Text> policies_;
    std::unordered_map<const Workload*, std::vector<WorkloadService>> added_;
};

}  // namespace

Result<Batch> mesh_from_yaml(std::string_view text, std::string_view name, TextPool& pool) {
    const Document document = TRY(document_from_yaml(text, name));
    return MeshFile(pool).read(document.root());
}

}  // namespace warren::policy
