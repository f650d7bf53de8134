// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/mesh_resources.h"

#include "base/bytes.h"
#include "base/ip.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <span>

namespace warren::cluster {

namespace {

using istio::workload::Address;
using istio::workload::NetworkAddress;

std::string node_group(std::string_view node) { return "node:" + std::string(node); }

// The order of a protobuf map is not defined otherwise.
void serialize(const google::protobuf::MessageLite& message, std::string& to) {
    to.clear();
    google::protobuf::io::StringOutputStream stream(&to);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
}

// "network/ip", "network/ip/length"; nothing for what is no address.
std::string alias(const NetworkAddress& address) {
    const auto ip = base::IpAddr::from_bytes(base::as_bytes(address.address()));
    if (!ip) return {};
    std::string out = address.network() + "/" + ip->to_string();
    if (address.has_length() && address.length() < ip->bits()) out += "/" + std::to_string(address.length());
    return out;
}

struct Names {
    std::vector<std::string> aliases, groups;
};

Names names_of(const istio::workload::Workload& workload) {
    Names out;
    for (const std::string& bytes : workload.addresses())
        if (const auto ip = base::IpAddr::from_bytes(base::as_bytes(bytes)))
            out.aliases.push_back(workload.network() + "/" + ip->to_string());
    for (const auto& [service, ports] : workload.services()) out.groups.push_back(service);
    if (!workload.node().empty()) out.groups.push_back(node_group(workload.node()));
    return out;
}

Names names_of(const istio::workload::Service& service) {
    Names out;
    for (const NetworkAddress& address : service.addresses())
        if (std::string name = alias(address); !name.empty()) out.aliases.push_back(std::move(name));
    out.groups.emplace_back(kServicesGroup);
    return out;
}

// One type being brought up to date.
class SetUpdate {
  public:
    SetUpdate(xds::ResourceSet& set, MeshResources::Changes& changes) : set_(set), changes_(changes) {}

    // True when it is not what was there. Names are made of the message, so the same bytes have the same names.
    template <class MakeNames>
    bool put(const std::string& name, const google::protobuf::MessageLite& message, MakeNames make_names) {
        serialize(message, bytes_);
        ++put_;
        const xds::ResourceBlock* old = set_.find(name);
        if (old != nullptr && base::as_text(old->body()) == bytes_) return false;
        const std::string version = content_version(bytes_);
        Names names = make_names();
        const auto done = set_.set({name, version, base::as_bytes(bytes_), std::move(names.aliases), std::move(names.groups)});
        if (done) {
            ++changes_.set;
        } else {
            changes_.refused.push_back(name + ": " + done.error().message());
            if (old == nullptr) --put_;
        }
        return true;
    }
    // Removes what is not there any more.
    template <class IsThere>
    void finish(IsThere is_there) {
        if (set_.size() == put_) return;
        std::vector<std::string> gone;
        set_.for_each([&](const xds::ResourceBlock& block) {
            if (std::string name(block.name()); !is_there(name)) gone.push_back(std::move(name));
        });
        for (const std::string& name : gone) set_.erase(name);
        changes_.removed += gone.size();
    }

  private:
    xds::ResourceSet& set_;
    MeshResources::Changes& changes_;
    size_t put_ = 0;
    std::string bytes_;
};

}  // namespace

std::string content_version(std::string_view bytes) {
    // The algorithm is looked up once: fetched for each message it costs more than the hash. A context a thread.
    static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    // Out of memory, or a library without SHA-256: no version, and the resource is sent again after a reconnect.
    if (algorithm == nullptr || context == nullptr || EVP_DigestInit_ex2(context.get(), algorithm, nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 || EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1)
        return {};
    return base::to_hex(std::span<const uint8_t>(digest).first(8));
}

std::vector<std::string> implied_names(const xds::NodeInfo& node, std::string_view type_url) {
    const auto name = node.metadata.find("NODE_NAME");
    if (type_url == kAuthorizationType || name == node.metadata.end() || name->second.empty()) return {};
    return {node_group(name->second)};
}

Outputs outputs_of(const xds::Snapshot& snapshot) {
    Outputs out;
    const auto each = [&](std::string_view type, auto&& fn) {
        if (const auto set = snapshot.find(type); set != snapshot.end())
            set->second.for_each([&](const xds::ResourceBlock& block) { fn(std::string(block.name()), block.body()); });
    };
    each(kAddressType, [&](std::string name, std::span<const uint8_t> body) {
        Address address;
        if (!address.ParseFromArray(body.data(), static_cast<int>(body.size()))) return;
        if (address.has_workload())
            out.workloads.emplace(std::move(name), std::move(*address.mutable_workload()));
        else if (address.has_service())
            out.services.emplace(std::move(name), std::move(*address.mutable_service()));
    });
    each(kAuthorizationType, [&](std::string name, std::span<const uint8_t> body) {
        istio::security::Authorization policy;
        if (policy.ParseFromArray(body.data(), static_cast<int>(body.size())))
            out.authorizations.emplace(std::move(name), std::move(policy));
    });
    return out;
}

MeshResources::MeshResources(bool with_workload_type) : with_workload_type_(with_workload_type) {
    for (const std::string& type : types()) sets_.try_emplace(type);
}

std::vector<std::string> MeshResources::types() const {
    std::vector<std::string> out{std::string(kAddressType)};
    if (with_workload_type_) out.emplace_back(kWorkloadType);
    out.emplace_back(kAuthorizationType);
    return out;
}

MeshResources::Changes MeshResources::update(Outputs outputs) {
    Changes changes, same;  // the older type has the same workloads once more: not counted twice
    xds::ResourceSet none;
    SetUpdate addresses(sets_.find(kAddressType)->second, changes);
    SetUpdate workloads(with_workload_type_ ? sets_.find(kWorkloadType)->second : none, same);
    Address address;
    for (auto& [name, service] : outputs.services) {
        address.mutable_service()->Swap(&service);
        addresses.put(name, address, [&] { return names_of(address.service()); });
    }
    for (auto& [name, workload] : outputs.workloads) {
        address.mutable_workload()->Swap(&workload);
        const auto names = [&] { return names_of(address.workload()); };
        addresses.put(name, address, names);
        if (with_workload_type_) workloads.put(name, address.workload(), names);
    }
    const auto is_workload = [&](const std::string& name) { return outputs.workloads.contains(name); };
    addresses.finish([&](const std::string& name) { return is_workload(name) || outputs.services.contains(name); });
    workloads.finish(is_workload);
    SetUpdate authorizations(sets_.find(kAuthorizationType)->second, changes);
    for (const auto& [name, policy] : outputs.authorizations) authorizations.put(name, policy, [] { return Names{}; });
    authorizations.finish([&](const std::string& name) { return outputs.authorizations.contains(name); });
    return changes;
}

}  // namespace warren::cluster
