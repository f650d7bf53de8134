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

// Where each text of a block will stand: in the body, or among the block's own texts, which end where the body begins.
class Texts {
  public:
    explicit Texts(std::span<const uint8_t> body) : body_(base::as_text(body.first(std::min(body.size(), kLookedAt)))) {}

    struct Spot {
        bool in_body;
        size_t at;
    };
    Spot place(std::string_view text) {
        if (const size_t found = body_.find(text); found != std::string_view::npos) return {true, found};
        own_ += text;
        return {false, own_.size() - text.size()};
    }
    [[nodiscard]] const std::string& own() const { return own_; }
    // From the first of the own texts; once all are placed.
    [[nodiscard]] size_t offset(Spot spot) const { return spot.at + (spot.in_body ? own_.size() : 0); }

  private:
    static constexpr size_t kLookedAt = 4096;  // more than nearly every resource has; a bound for those with thousands of names
    std::string_view body_;
    std::string own_;
};

}  // namespace

base::Result<ResourceRef> ResourceBlock::make(const ResourceSpec& spec) {
    if (spec.name.empty()) return base::invalid("a resource without a name");
    TRY(check(spec, "the name", spec.name));
    TRY(check(spec, "the version", spec.version));
    auto aliases = TRY(checked_keys(spec, "alias", spec.aliases));
    auto groups = TRY(checked_keys(spec, "group", spec.groups));
    // An alias brings all that a group of that name would.
    std::erase_if(groups, [&](std::string_view key) { return std::binary_search(aliases.begin(), aliases.end(), key); });
    Texts texts(spec.body);
    const size_t table = (aliases.size() + groups.size()) * sizeof(Place) + spec.version.size();
    const Texts::Spot name = texts.place(spec.name);
    std::vector<Texts::Spot> places;
    places.reserve(aliases.size() + groups.size());
    for (const auto* list : {&aliases, &groups})
        for (const auto key : *list) places.push_back(texts.place(key));
    const size_t total = table + texts.own().size() + spec.body.size();
    if (spec.body.size() > kMaxBytes || total > kMaxBytes)
        return base::invalid("resource " + base::quoted(spec.name) + " is larger than 2 GiB");

    auto* block = new (::operator new(sizeof(ResourceBlock) + total)) ResourceBlock();
    block->body_at_ = static_cast<uint32_t>(table + texts.own().size());
    block->body_ = static_cast<uint32_t>(spec.body.size());
    block->name_at_ = static_cast<uint32_t>(table + texts.offset(name));
    block->name_ = static_cast<uint16_t>(spec.name.size());
    block->version_ = static_cast<uint16_t>(spec.version.size());
    block->aliases_ = static_cast<uint16_t>(aliases.size());
    block->groups_ = static_cast<uint16_t>(groups.size());
    char* to = block->data();
    const auto put = [&](std::string_view bytes) { to = std::copy(bytes.begin(), bytes.end(), to); };
    size_t index = 0;
    for (const auto* list : {&aliases, &groups})
        for (const auto key : *list) {
            const size_t at = table + texts.offset(places[index++]);
            const Place place{{static_cast<uint16_t>(at), static_cast<uint16_t>(at >> 16)}, static_cast<uint16_t>(key.size())};
            put({reinterpret_cast<const char*>(&place), sizeof place});
        }
    put(spec.version);
    put(texts.own());
    put(base::as_text(spec.body));
    ResourceRef ref(block);
    block->refs_.store(1, std::memory_order_relaxed);  // the one in ref
    return ref;
}

std::string_view ResourceBlock::key(uint32_t index) const {
    Place place;
    std::memcpy(&place, data() + index * sizeof place, sizeof place);
    return {data() + (place.at[0] | uint32_t{place.at[1]} << 16), place.size};
}

bool ResourceBlock::same_keys(const ResourceBlock& o) const {
    if (aliases_ != o.aliases_ || groups_ != o.groups_) return false;
    for (uint32_t i = 0; i < key_count(); ++i)
        if (key(i) != o.key(i)) return false;
    return true;
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
