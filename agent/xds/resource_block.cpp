// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/resource_block.h"

#include "agent/xds/wire.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace warren::xds {

namespace {

constexpr size_t kMaxText = UINT16_MAX;
constexpr size_t kMaxKeys = UINT16_MAX / 2;
constexpr size_t kMaxBytes = std::numeric_limits<int32_t>::max();  // what protobuf can carry

base::Result<void> check(const ResourceSpec& spec, std::string_view what, std::string_view text) {
    const std::string where = "resource " + base::quoted(spec.name) + ": " + std::string(what);
    if (text.size() > kMaxText) return base::invalid(where + " is longer than " + std::to_string(kMaxText) + " bytes");
    if (!is_utf8(text)) return base::invalid(where + " " + base::quoted(text) + " is not UTF-8");
    return {};
}

base::Result<std::vector<std::string_view>> checked_keys(const ResourceSpec& spec, std::string_view what,
                                                         const std::vector<std::string>& keys) {
    std::vector<std::string_view> made(keys.begin(), keys.end());
    std::sort(made.begin(), made.end());
    made.erase(std::unique(made.begin(), made.end()), made.end());
    if (made.size() > kMaxKeys)
        return base::invalid("resource " + base::quoted(spec.name) + " has more than " + std::to_string(kMaxKeys) + " of " +
                             std::string(what));
    for (const auto key : made) TRY(check(spec, what, key));
    return made;
}

}  // namespace

base::Result<ResourceRef> ResourceBlock::make(const ResourceSpec& spec) {
    if (spec.name.empty()) return base::invalid("a resource without a name");
    TRY(check(spec, "the name", spec.name));
    TRY(check(spec, "the version", spec.version));
    auto aliases = TRY(checked_keys(spec, "alias", spec.aliases));
    auto groups = TRY(checked_keys(spec, "group", spec.groups));
    // An alias brings all that a group of that name would.
    std::erase_if(groups, [&](std::string_view key) { return std::binary_search(aliases.begin(), aliases.end(), key); });
    size_t keys = 0;
    for (const auto* list : {&aliases, &groups})
        for (const auto key : *list) keys += 2 + key.size();
    const size_t total = spec.name.size() + spec.version.size() + keys + spec.body.size();
    if (spec.body.size() > kMaxBytes || total > kMaxBytes)
        return base::invalid("resource " + base::quoted(spec.name) + " is larger than 2 GiB");

    auto* block = new (::operator new(sizeof(ResourceBlock) + total)) ResourceBlock();
    block->name_ = static_cast<uint16_t>(spec.name.size());
    block->version_ = static_cast<uint16_t>(spec.version.size());
    block->keys_ = static_cast<uint32_t>(keys);
    block->body_ = static_cast<uint32_t>(spec.body.size());
    block->aliases_ = static_cast<uint16_t>(aliases.size());
    block->groups_ = static_cast<uint16_t>(groups.size());
    char* at = block->text();
    const auto put = [&](std::string_view text) { at = std::copy(text.begin(), text.end(), at); };
    put(spec.name);
    put(spec.version);
    for (const auto* list : {&aliases, &groups})
        for (const auto key : *list) {
            *at++ = static_cast<char>(key.size() >> 8);
            *at++ = static_cast<char>(key.size() & 0xff);
            put(key);
        }
    put(base::as_text(spec.body));
    ResourceRef ref(block);
    block->refs_.store(1, std::memory_order_relaxed);  // the one in ref
    return ref;
}

std::string_view ResourceBlock::key(uint32_t index) const {
    std::string_view found;
    each_key([&](std::string_view text_of, uint32_t i, bool) {
        if (i == index) found = text_of;
    });
    return found;
}

bool ResourceBlock::same_keys(const ResourceBlock& o) const {
    return aliases_ == o.aliases_ && keys_ == o.keys_ && groups_ == o.groups_ &&
           std::memcmp(text() + name_ + version_, o.text() + o.name_ + o.version_, keys_) == 0;
}

bool ResourceBlock::same_content(const ResourceBlock& o) const {
    return name() == o.name() && version() == o.version() && same_keys(o) && base::as_text(body()) == base::as_text(o.body());
}

bool ResourceBlock::same_to_client(const ResourceBlock& o) const {
    return version() == o.version() && base::as_text(body()) == base::as_text(o.body());
}

ResourceRef::~ResourceRef() {
    if (block_ == nullptr || block_->refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    auto* last = const_cast<ResourceBlock*>(block_);
    last->~ResourceBlock();
    ::operator delete(last);
}

}  // namespace warren::xds
