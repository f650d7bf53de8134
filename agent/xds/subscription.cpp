// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/subscription.h"

#include "base/bytes.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace warren::xds {

namespace {

constexpr std::string_view kEverything = "*";
constexpr size_t kMaxNackText = 1024;

using Names = std::set<std::string_view>;
Names names_of(const std::vector<std::string_view>& list) { return {list.begin(), list.end()}; }

std::string printable(std::string_view text) {
    std::string out(text.substr(0, kMaxNackText));
    for (char& c : out)
        if (c < 0x20 || c > 0x7e) c = '?';
    return out;
}

}  // namespace

bool resolve(const ResourceSet& set, std::string_view name, const std::function<void(const ResourceBlock&)>& fn) {
    bool found = false;
    const auto members = [&](std::string_view of) {
        set.for_each_of(of, [&](const ResourceBlock& member, bool alias) {
            if (!alias) fn(member);
        });
    };
    if (const ResourceBlock* block = set.find(name)) {
        found = true;
        fn(*block);
    }
    set.for_each_of(name, [&](const ResourceBlock& block, bool alias) {
        found = true;
        fn(block);
        if (alias) members(block.name());
    });
    return found;
}

base::Result<void> Subscription::on_request(const RequestView& request, const PublishedType& now) {
    if (!began_) {
        begin(request, now);
    } else {
        answered(request);
        change_names(request);
    }
    if (names_.size() > limits_.max_names)
        return base::Error{base::Errc::Exhausted, 0, "",
                           "more than " + std::to_string(limits_.max_names) + " names of " + status_.type_url + " are asked for"};
    return {};
}

void Subscription::begin(const RequestView& request, const PublishedType& now) {
    began_ = true;
    must_answer_ = true;  // an empty state is an answer, too: the client waits for it
    const Names taken_back = names_of(request.unsubscribe);
    wildcard_ = request.subscribe.empty() && !taken_back.contains(kEverything);
    for (const auto name : request.subscribe) {
        if (taken_back.contains(name)) continue;
        if (name == kEverything)
            wildcard_ = true;
        else
            ask(name, {});
    }
    if (wildcard_) return resume_wildcard(request, now.set);
    seen_ = now.set;
    seen_generation_ = now.generation;
    held_generation_ = kNoGeneration;
    for (const auto& [name, version] : request.versions)
        if (version.empty() && name != kEverything && !taken_back.contains(name)) ask(name, {});
    for (const auto& [name, version] : request.versions) {
        if (version.empty() || name == kEverything || taken_back.contains(name)) continue;
        const ResourceBlock* block = now.set.find(name);
        if (block != nullptr && version == block->version()) held_.set(ResourceRef(block));
        // A member of a group that is asked for was given for the group's sake: asked for by itself it would bring members of its own.
        if (block == nullptr || !in_asked_group(*block)) ask(name, {false, false});
    }
    for (const std::string& name : implied_) ask(name, {false, true});
}

bool Subscription::in_asked_group(const ResourceBlock& block) const {
    bool found = false;
    block.each_key([&](std::string_view key, uint32_t, bool alias) { found = found || (!alias && names_.contains(key)); });
    return found;
}

void Subscription::resume_wildcard(const RequestView& request, const ResourceSet& now) {
    if (request.versions.empty()) return;
    held_ = ResourceSet(false);
    held_generation_ = kNoGeneration;
    for (const auto& [name, version] : request.versions) {
        const ResourceBlock* block = now.find(name);
        if (block == nullptr)
            gone_.emplace_back(name);
        else if (!version.empty() && version == block->version())
            held_.set(ResourceRef(block));
    }
}

void Subscription::ask(std::string_view name, Asked how) {
    names_.emplace(name);
    const auto [at, added] = asked_.try_emplace(std::string(name), how);
    if (!added) at->second = {at->second.again || how.again, at->second.quiet && how.quiet};
}

void Subscription::answered(const RequestView& request) {
    if (nonce_.empty() || request.nonce != nonce_) return;  // of an earlier stream, or no answer at all
    nonce_.clear();
    if (request.error) {
        // What was refused is not sent again before it changes: the client keeps what it had.
        ++status_.nacks;
        status_.last_nack = printable(*request.error);
    } else {
        ++status_.acks;
    }
    if (messages_ == nullptr) status_.acked_generation = status_.sent_generation;
}

void Subscription::change_names(const RequestView& request) {
    for (const auto name : request.subscribe) {
        if (name == kEverything) {
            go_wildcard();
            continue;
        }
        ask(name, {});
        if (names_.size() > limits_.max_names) return;
    }
    for (const auto name : request.unsubscribe) {
        if (name == kEverything)
            leave_wildcard();
        else
            drop_name(name);
    }
}

void Subscription::go_wildcard() {
    must_answer_ = true;
    if (std::exchange(wildcard_, true)) return;
    seen_ = ResourceSet();  // held_ says all
}

void Subscription::leave_wildcard() {
    if (!std::exchange(wildcard_, false)) return;
    ResourceSet kept;
    for (const std::string& name : names_) resolve(held_, name, [&](const ResourceBlock& block) { kept.set(ResourceRef(&block)); });
    seen_ = std::exchange(held_, std::move(kept));
    seen_generation_ = std::exchange(held_generation_, kNoGeneration);
}

void Subscription::drop_name(std::string_view name) {
    const auto found = names_.find(name);
    if (found == names_.end() && held_.find(name) == nullptr) return;
    if (found != names_.end()) names_.erase(found);
    if (const auto asked = asked_.find(name); asked != asked_.end()) asked_.erase(asked);
    if (wildcard_) return;
    std::vector<ResourceRef> unwanted;
    resolve(held_, name, [&](const ResourceBlock& block) {
        if (!wanted(block, seen_)) unwanted.emplace_back(&block);
    });
    for (const ResourceRef& block : unwanted) held_.erase(block->name());
}

// By its name, by another of its names, or because it belongs to a resource that is wanted by an alias.
bool Subscription::wanted(const ResourceBlock& block, const ResourceSet& set) const {
    if (names_.contains(block.name())) return true;
    bool found = false;
    block.each_key([&](std::string_view key, uint32_t, bool alias) {
        found = found || names_.contains(key);
        if (found || alias) return;
        if (const ResourceBlock* owner = set.find(key))
            owner->each_key([&](std::string_view of_owner, uint32_t, bool owner_alias) {
                found = found || (owner_alias && names_.contains(of_owner));
            });
    });
    return found;
}

bool Subscription::owes(const PublishedType& now) const {
    if (must_answer_ || !asked_.empty() || !gone_.empty()) return true;
    return (wildcard_ ? held_generation_ : seen_generation_) != now.generation;
}

std::optional<Outgoing> Subscription::next(const PublishedType& now, EncodingCache& cache, const Turn& turn) {
    deferred_ = false;
    if (!began_ || !nonce_.empty()) return std::nullopt;
    if (messages_ == nullptr) {
        if (!owes(now)) return std::nullopt;
        messages_ = compose(now, cache);
        if (messages_ == nullptr) return std::nullopt;
    }
    return take_message(turn);
}

// Null: nothing to say, or deferred.
std::shared_ptr<const Messages> Subscription::compose(const PublishedType& now, EncodingCache& cache) {
    const EncodeOptions options{status_.type_url, !wildcard_, limits_.max_message_bytes};
    std::shared_ptr<const Messages> made;
    bool empty = false;
    if (wildcard_ && now.index != PublishedType::kUnknown && asked_.empty() && gone_.empty() && held_generation_ != kNoGeneration) {
        made = cache.get({now.index, held_generation_, now.generation}, [&] {
            Delta delta;
            collect_wildcard(now.set, delta);
            return encode(delta, options);
        });
        empty = made != nullptr && made->size() == 1 && made->front()->size() == empty_size(status_.type_url);
    } else {
        // The sets change with what is collected, so there must be room for it first.
        made = cache.alone([&] {
            Delta delta;
            const ResourceSet before = wildcard_ ? held_ : seen_;  // keeps the removed ones while they are written
            if (wildcard_)
                collect_wildcard(now.set, delta);
            else
                collect_names(now.set, delta);
            collect_asked(now.set, delta);
            // What has come back meanwhile must not be taken from the client by its old list.
            for (const std::string& name : gone_)
                if (now.set.find(name) == nullptr) delta.removed.push_back(name);
            empty = delta.empty();
            return encode(delta, options);
        });
    }
    deferred_ = made == nullptr;
    if (deferred_) return nullptr;
    if (wildcard_) {
        held_ = now.set;
        held_generation_ = now.generation;
    } else {
        seen_ = now.set;
        seen_generation_ = now.generation;
    }
    asked_.clear();
    gone_.clear();
    at_ = 0;
    // A push that says nothing is left out, an answer never.
    const bool say = std::exchange(must_answer_, false) || !empty;
    if (!say) {
        status_.acked_generation = status_.sent_generation = now.generation;
        return nullptr;
    }
    owed_since_ = now.since;
    return made;
}

void Subscription::collect_wildcard(const ResourceSet& now, Delta& delta) const {
    ResourceSet::diff(held_, now, [&](const ResourceBlock* before, const ResourceBlock* after) {
        if (after == nullptr)
            delta.removed.push_back(before->name());
        else if (before == nullptr || !before->same_to_client(*after))
            delta.changed.push_back(after);
    });
}

void Subscription::collect_names(const ResourceSet& now, Delta& delta) {
    std::unordered_set<std::string_view> done;
    const auto consider = [&](const ResourceBlock& after) {
        const ResourceBlock* held = held_.find(after.name());
        if (held == nullptr && !wanted(after, now)) return;
        if (!done.insert(after.name()).second) return;
        if (held == nullptr || !held->same_to_client(after) || !held->same_keys(after)) delta.changed.push_back(&after);
        held_.set(ResourceRef(&after));
    };
    ResourceSet::diff(seen_, now, [&](const ResourceBlock* before, const ResourceBlock* after) {
        if (after == nullptr) {
            if (held_.erase(before->name())) delta.removed.push_back(before->name());
            return;
        }
        consider(*after);
        // What goes by another alias now may be wanted, and its members with it.
        if (before == nullptr || !before->same_keys(*after)) {
            now.for_each_of(after->name(), [&](const ResourceBlock& member, bool alias) {
                if (!alias) consider(member);
            });
        }
    });
}

void Subscription::collect_asked(const ResourceSet& now, Delta& delta) {
    std::unordered_set<std::string_view> done;
    for (const ResourceBlock* block : delta.changed) done.insert(block->name());
    for (const auto& [name, how] : asked_) {
        const bool again = how.again;
        const bool found = resolve(now, name, [&](const ResourceBlock& block) {
            const ResourceBlock* held = wildcard_ ? nullptr : held_.find(block.name());
            const bool has_it = held != nullptr && held->same_to_client(block);
            if (has_it && !again) return;
            if (!done.insert(block.name()).second) return;
            delta.changed.push_back(&block);
            if (!wildcard_) held_.set(ResourceRef(&block));
        });
        if (!found && !how.quiet) delta.removed.push_back(name);
    }
}

Outgoing Subscription::take_message(const Turn& turn) {
    const uint64_t generation = wildcard_ ? held_generation_ : seen_generation_;
    Outgoing out{{messages_, (*messages_)[at_].get()}, nonce_field(turn.nonce, std::to_string(generation))};
    if (++at_ == messages_->size()) messages_.reset();
    nonce_ = turn.nonce;
    sent_at_ = turn.time;
    status_.sent_generation = generation;
    ++status_.pushes;
    status_.bytes += out.size();
    return out;
}

TypeStatus Subscription::status() const {
    TypeStatus status = status_;
    status.wildcard = wildcard_;
    status.names = names_.size();
    status.held = held_.size();
    status.pending = waiting();
    return status;
}

}  // namespace warren::xds
