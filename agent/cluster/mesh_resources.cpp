// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/mesh_resources.h"

#include "agent/xds/mesh_names.h"
#include "base/bytes.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <span>

namespace warren::cluster {

namespace {

using istio::workload::Address;

// The order of a protobuf map is not defined otherwise.
void serialize(const google::protobuf::MessageLite& message, std::string& to) {
    to.clear();
    google::protobuf::io::StringOutputStream stream(&to);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
}

bool is_service(const xds::ResourceBlock& block) {
    bool found = false;
    block.each_key([&](std::string_view key, uint32_t, bool alias) { found = found || (!alias && key == xds::kServicesGroup); });
    return found;
}

xds::Snapshot empty_sets(bool with_workload_type) {
    xds::Snapshot out;
    out.try_emplace(std::string(kAddressType));
    if (with_workload_type) out.try_emplace(std::string(kWorkloadType));
    out.try_emplace(std::string(kAuthorizationType));
    return out;
}

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

MeshResources::MeshResources(bool with_workload_type)
    : with_workload_type_(with_workload_type),
      sets_(empty_sets(with_workload_type)),
      addresses_(sets_.find(kAddressType)->second),
      old_workloads_(with_workload_type ? sets_.find(kWorkloadType)->second : none_),
      authorizations_(sets_.find(kAuthorizationType)->second) {}

std::vector<std::string> MeshResources::types() const {
    std::vector<std::string> out{std::string(kAddressType)};
    if (with_workload_type_) out.emplace_back(kWorkloadType);
    out.emplace_back(kAuthorizationType);
    return out;
}

// Names are made of the message, so the same bytes have the same names.
template <class MakeNames>
void MeshResources::put(xds::ResourceSet& set, const std::string& name, const google::protobuf::MessageLite& message,
                        MakeNames make_names) {
    serialize(message, bytes_);
    const xds::ResourceBlock* old = set.find(name);
    if (old == nullptr || base::as_text(old->body()) != bytes_) {
        const std::string version = content_version(bytes_);
        xds::OtherNames names = make_names();
        const auto done = set.set({name, version, base::as_bytes(bytes_), std::move(names.aliases), std::move(names.groups)});
        // The older type has the same workloads once more: not counted twice.
        const bool counts = &set != &old_workloads_;
        if (counts && done) ++changes_.set;
        if (counts && done && old == nullptr && &message == &address_ && address_.has_service()) ++services_;
        if (counts && !done) refused_.insert_or_assign(name, done.error().message());
        if (done && !refused_.empty()) refused_.erase(name);
        if (whole_ && done) old = set.find(name);
    }
    if (whole_ && old != nullptr) seen_.insert(old);
}

void MeshResources::remove(xds::ResourceSet& set, const std::string& name) {
    if (!refused_.empty()) refused_.erase(name);
    const xds::ResourceBlock* old = set.find(name);
    if (old == nullptr) return;
    if (&set == &addresses_ && is_service(*old)) --services_;
    if (&set != &old_workloads_) ++changes_.removed;
    set.erase(name);
}

void MeshResources::set_workload(const std::string& uid, Workload& workload) {
    address_.mutable_workload()->Swap(&workload);
    const auto names = [this] { return xds::other_names(address_.workload()); };
    put(addresses_, uid, address_, names);
    if (with_workload_type_) put(old_workloads_, uid, address_.workload(), names);
}

void MeshResources::set_service(const std::string& key, istio::workload::Service& service) {
    address_.mutable_service()->Swap(&service);
    put(addresses_, key, address_, [this] { return xds::other_names(address_.service()); });
}

void MeshResources::set_authorization(const std::string& key, const istio::security::Authorization& policy) {
    put(authorizations_, key, policy, [] { return xds::OtherNames{}; });
}

void MeshResources::remove_workload(const std::string& uid) {
    remove(addresses_, uid);
    if (with_workload_type_) remove(old_workloads_, uid);
}

void MeshResources::sweep(xds::ResourceSet& set) {
    std::vector<std::string> gone;
    set.for_each([&](const xds::ResourceBlock& block) {
        if (!seen_.contains(&block)) gone.emplace_back(block.name());
    });
    for (const std::string& name : gone) remove(set, name);
}

void MeshResources::end_whole() {
    for (xds::ResourceSet* set : {&addresses_, &old_workloads_, &authorizations_}) sweep(*set);
    seen_ = {};
    whole_ = false;
}

MeshResources::Changes MeshResources::update(Outputs outputs) {
    begin_whole();
    for (auto& [key, service] : outputs.services) set_service(key, service);
    for (auto& [uid, workload] : outputs.workloads) set_workload(uid, workload);
    for (const auto& [key, policy] : outputs.authorizations) set_authorization(key, policy);
    end_whole();
    return take_changes();
}

}  // namespace warren::cluster
