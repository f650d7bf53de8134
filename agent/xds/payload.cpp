// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/payload.h"

#include "agent/xds/wire.h"

#include <algorithm>
#include <utility>

namespace warren::xds {

namespace {

struct Sizes {
    size_t any = 0;       // the Any's content
    size_t resource = 0;  // the Resource's content
};

Sizes sizes_of(const ResourceBlock& block, const EncodeOptions& options) {
    Sizes sizes;
    sizes.any = field_size(options.type_url.size()) + (block.body().empty() ? 0 : field_size(block.body().size()));
    sizes.resource =
        field_size(sizes.any) + field_size(block.name().size()) + (block.version().empty() ? 0 : field_size(block.version().size()));
    if (options.with_aliases)
        block.each_key([&](std::string_view key, uint32_t, bool alias) { sizes.resource += alias ? field_size(key.size()) : 0; });
    return sizes;
}

// Resource: 1 version, 2 resource (Any: 1 type_url, 2 value), 3 name, 4 aliases.
void append(std::string& out, const ResourceBlock& block, const EncodeOptions& options) {
    const Sizes sizes = sizes_of(block, options);
    append_head(out, 2, sizes.resource);
    if (!block.version().empty()) append_field(out, 1, block.version());
    append_head(out, 2, sizes.any);
    append_field(out, 1, options.type_url);
    if (!block.body().empty()) append_field(out, 2, base::as_text(block.body()));
    append_field(out, 3, block.name());
    if (options.with_aliases)
        block.each_key([&](std::string_view key, uint32_t, bool alias) {
            if (alias) append_field(out, 4, key);
        });
}

// As many entries from `at` on as one message takes, at least one: where it ends, and its size.
std::pair<size_t, size_t> fit(size_t at, size_t count, size_t max_bytes, const std::function<size_t(size_t)>& size_at) {
    size_t total = 0;
    const size_t first = at;
    for (; at < count; ++at) {
        const size_t size = size_at(at);
        if (at != first && total + size > max_bytes) break;
        total += size;
    }
    return {at, total};
}

}  // namespace

Messages encode(const Delta& delta, const EncodeOptions& options) {
    const size_t resources = delta.changed.size(), count = resources + delta.removed.size();
    const auto size_at = [&](size_t i) {
        return field_size(i < resources ? sizes_of(*delta.changed[i], options).resource : delta.removed[i - resources].size());
    };
    const size_t head = field_size(options.type_url.size());
    Messages messages;
    size_t at = 0;
    do {
        const auto [end, total] = fit(at, count, options.max_bytes > head ? options.max_bytes - head : 0, size_at);
        auto out = std::make_shared<std::string>();
        out->reserve(head + total);
        append_field(*out, 4, options.type_url);
        for (; at < end; ++at) {
            if (at < resources)
                append(*out, *delta.changed[at], options);
            else
                append_field(*out, 6, delta.removed[at - resources]);
        }
        messages.push_back(std::move(out));
    } while (at < count);
    return messages;
}

size_t empty_size(std::string_view type_url) { return field_size(type_url.size()); }

std::string nonce_field(std::string_view nonce, std::string_view version) {
    std::string out;
    append_field(out, 1, version);
    append_field(out, 5, nonce);
    return out;
}

std::shared_ptr<const Messages> EncodingCache::track(Messages made) {
    size_t bytes = 0;
    for (const auto& message : made) bytes += message->capacity();
    {
        const std::lock_guard lock(books_->mutex);
        books_->held += bytes;
        books_->peak = std::max(books_->peak, books_->held);
    }
    ++encoded_;
    return {new Messages(std::move(made)), [books = books_, bytes](const Messages* last) {
                delete last;
                const std::lock_guard lock(books->mutex);
                books->held -= bytes;
            }};
}

bool EncodingCache::full() const { return held_bytes() >= max_bytes_; }

std::shared_ptr<const Messages> EncodingCache::get(const Key& key, const std::function<Messages()>& make) {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) {
        if (auto held = found->second.lock()) {
            ++shared_;
            return held;
        }
    }
    if (full()) return nullptr;
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    auto made = track(make());
    known_[key] = made;
    return made;
}

std::shared_ptr<const Messages> EncodingCache::alone(const std::function<Messages()>& make) {
    const std::lock_guard lock(mutex_);
    return full() ? nullptr : track(make());
}

size_t EncodingCache::held_bytes() const {
    const std::lock_guard lock(books_->mutex);
    return books_->held;
}

size_t EncodingCache::take_peak() {
    const std::lock_guard lock(books_->mutex);
    return std::exchange(books_->peak, books_->held);
}

uint64_t EncodingCache::encoded() const {
    const std::lock_guard lock(mutex_);
    return encoded_;
}

uint64_t EncodingCache::shared() const {
    const std::lock_guard lock(mutex_);
    return shared_;
}

}  // namespace warren::xds
