// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/resource_set.h"

#include <utility>

namespace warren::xds {

base::Result<bool> ResourceSet::set(const ResourceSpec& spec) {
    ResourceRef made = TRY(ResourceBlock::make(spec));
    const ResourceBlock* old = find(spec.name);
    if (old != nullptr && old->same_content(*made)) return false;
    set(std::move(made));
    return true;
}

void ResourceSet::set(ResourceRef resource) {
    erase(resource->name());
    const ResourceBlock* block = resource.get();
    bytes_ += block->bytes();
    blocks_.set(Key{block}, std::move(resource));
    for (uint32_t i = 0; with_keys_ && i < block->key_count(); ++i) keys_.set(Other{block, i}, {});
}

bool ResourceSet::erase(std::string_view name) {
    const ResourceBlock* old = find(name);
    if (old == nullptr) return false;
    for (uint32_t i = 0; with_keys_ && i < old->key_count(); ++i) keys_.erase(Other{old, i});
    bytes_ -= old->bytes();
    const ResourceRef kept(old);  // name may be its own
    return blocks_.erase(hash(name), [&](const Key& key) { return key.block->name() == name; });
}

const ResourceBlock* ResourceSet::find(std::string_view name) const {
    const ResourceRef* found = blocks_.find(hash(name), [&](const Key& key) { return key.block->name() == name; });
    return found == nullptr ? nullptr : found->get();
}

}  // namespace warren::xds
