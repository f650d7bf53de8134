// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/reflector.h"

#include <algorithm>

namespace warren::kube {

using base::MonoTime;
using base::Result;

namespace {

constexpr std::string_view kMetadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
constexpr std::string_view kMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
// A watch that ended sooner than this without a word is a failure and not the server's ordinary end.
constexpr auto kShortWatch = std::chrono::seconds(1);
// Beyond the time the server was asked to end the watch itself.
constexpr auto kWatchMargin = std::chrono::seconds(30);
// Lists whose place the server forgot between two pages, before one is asked for without pages.
constexpr unsigned kMaxExpiredLists = 3;
constexpr unsigned kMaxRefusedWatches = 3;  // in a row, before a list

}  // namespace

std::string_view to_string(ReflectorStats::State state) noexcept {
    switch (state) {
        case ReflectorStats::State::Listing: return "listing";
        case ReflectorStats::State::Watching: return "watching";
        case ReflectorStats::State::Missing: return "missing";
        case ReflectorStats::State::Waiting: return "waiting";
    }
    return "?";
}

Reflector::Reflector(size_t kind, WatchSpec spec, const ReflectorOptions& options, base::RandomEngine& random, Handler& handler)
    : kind_(kind),
      spec_(std::move(spec)),
      options_(options),
      random_(random),
      handler_(handler),
      backoff_(base::Backoff::Mode::Exponential, options.backoff_base, options.backoff_cap),
      page_size_(options.page_size),
      lines_(options.max_line_bytes) {}

Reflector::Step Reflector::next() {
    Step step;
    step.at = at_;
    step.stream = watching_;
    std::string query;
    const auto add = [&](std::string_view key, std::string_view value) {
        query.append(query.empty() ? "?" : "&").append(key).append("=").append(percent_encoded(value));
    };
    if (!spec_.field_selector.empty()) add("fieldSelector", spec_.field_selector);
    if (!spec_.label_selector.empty()) add("labelSelector", spec_.label_selector);
    if (watching_) {
        // Spread, or every watcher of a fleet comes back in the same second for ever.
        const int64_t least = options_.watch_limit.count();
        const int64_t limit = std::uniform_int_distribution<int64_t>(least, 2 * least)(random_);
        add("watch", "true");
        add("allowWatchBookmarks", "true");
        add("resourceVersion", rv_);
        add("timeoutSeconds", std::to_string(limit));
        step.limits = {.total = std::chrono::seconds(limit) + kWatchMargin, .silence = options_.silence};
        if (spec_.metadata_only) step.request.accept = kMetadata;
    } else {
        if (expired_lists_ < kMaxExpiredLists) add("limit", std::to_string(page_size_));
        if (!continue_.empty()) add("continue", continue_);
        step.limits = {.total = options_.list_limit, .max_body = options_.max_page_bytes};
        if (spec_.metadata_only) step.request.accept = kMetadataList;
        if (continue_.empty()) {
            ++list_;
            ++stats_.lists;
        }
    }
    step.request.path = collection_path(spec_.resource, version(), spec_.ns) + query;
    if (watching_) {
        lines_.reset();
        lines_seen_ = 0;
        relist_ = false;
        stream_error_.clear();
        started_ = at_;
        ++stats_.watches;
    }
    return step;
}

void Reflector::done(const Result<Reply>& reply, MonoTime now) {
    if (watching_) return watch_over(reply, now);
    if (reply && reply->ok()) return listed(*reply, now);
    if (!reply && reply.error().code == base::Errc::Exhausted && page_size_ > 1) page_size_ = std::max(1u, page_size_ / 4);
    if (!reply) return failed(reply.error().message(), now, nullptr);
    if (reply->status == 404) return not_found(now);
    if (reply->status == 410) {
        ++stats_.gone;
        ++expired_lists_;
        restart_list();
        at_ = now;
        if (expired_lists_ > kMaxExpiredLists) failed("the server forgets a list before its end", now, nullptr);
        return;
    }
    if (reply->status == 400) restart_list();  // perhaps it was the token of the next page
    failed(error_of({.path = collection_path(spec_.resource, version(), spec_.ns)}, *reply).message(), now, &*reply);
}

void Reflector::listed(const Reply& reply, MonoTime now) {
    auto page = parse_list_page(reply.body, spec_.resource, version());
    if (!page) {
        restart_list();
        return failed("list of " + spec_.resource.plural + ": " + page.error().message(), now, nullptr);
    }
    unknown_ = 0;
    ++stats_.pages;
    for (const std::string& what : page->malformed) passed_over(what);
    for (Object& object : page->items) upsert(std::move(object));
    rv_ = page->resource_version;
    continue_ = page->continue_token;
    at_ = now;
    if (continue_.empty()) finish_list(now);
}

void Reflector::finish_list(MonoTime now) {
    std::vector<std::string> gone;
    for (const auto& [key, held] : held_)
        if (held.list != list_) gone.push_back(key);
    for (const std::string& key : gone) erase(key);
    expired_lists_ = 0;
    failures_ = 0;
    stats_.last_error.clear();
    watching_ = true;
    at_ = now;
    stats_.synced = true;
    stats_.state = State::Watching;
    handler_.synced(kind_, false);
}

void Reflector::on_open() {
    stats_.state = State::Watching;
    stats_.last_error.clear();
}

bool Reflector::on_data(std::string_view bytes) {
    if (!lines_.feed(bytes, [&](std::string_view line) { return on_line(line); })) {
        if (lines_.too_long()) {
            stream_error_ = "an object of more than " + std::to_string(options_.max_line_bytes) + " bytes";
            relist_ = true;
        }
        return false;
    }
    return true;
}

bool Reflector::on_line(std::string_view line) {
    auto event = parse_watch_event(line, spec_.resource, version());
    if (!event) {  // whatever it was about is not known: only a list can tell
        stream_error_ = "watch of " + spec_.resource.plural + ": " + event.error().message();
        relist_ = true;
        return false;
    }
    ++lines_seen_;
    if (event->type == WatchEvent::Type::Error) return on_error_event(*event);
    refused_watches_ = 0;
    on_object(std::move(*event));
    return true;
}

bool Reflector::on_error_event(const WatchEvent& event) {
    if (event.status == 410)
        ++stats_.gone;
    else
        stream_error_ = "watch of " + spec_.resource.plural + ": " + std::to_string(event.status) + ' ' + event.message.substr(0, 300);
    // Only a server that is short of time or at its limit says nothing about our place.
    relist_ = event.status != 429 && event.status < 500;
    return false;
}

void Reflector::on_object(WatchEvent event) {
    using Type = WatchEvent::Type;
    if (event.malformed) return passed_over(event.message);
    if (event.type == Type::Unknown) return passed_over("a watch event of unknown type");
    if (!event.object.resource_version.empty()) rv_ = event.object.resource_version;
    if (event.type == Type::Bookmark) {
        ++stats_.bookmarks;
        return;
    }
    ++stats_.events;
    if (event.type == Type::Deleted) return erase(event.object.key());
    upsert(std::move(event.object));
}

void Reflector::watch_over(const Result<Reply>& reply, MonoTime now) {
    if (reply && reply->status == 404) {
        watching_ = false;
        restart_list();
        return not_found(now);
    }
    const bool brief = now - started_ < kShortWatch;
    if (!brief) {
        failures_ = 0;
        backoff_.reset();
    }
    if (relist_ || (reply && reply->status == 410)) {
        if (!relist_) ++stats_.gone;
        watching_ = false;
        restart_list();
        at_ = now;
        if (!stream_error_.empty())
            failed(stream_error_, now, nullptr);
        else if (brief)  // a server that forgets at once what it has just listed is not to be asked for lists without end
            at_ += backoff_.next(random_);
        return;
    }
    // A place that the server will not go on from, for whatever reason it gives, is of no use.
    if ((!stream_error_.empty() || (reply && !reply->ok())) && ++refused_watches_ >= kMaxRefusedWatches) {
        refused_watches_ = 0;
        watching_ = false;
        restart_list();
    }
    if (!stream_error_.empty()) return failed(stream_error_, now, nullptr);
    if (reply && !reply->ok())
        return failed(error_of({.path = collection_path(spec_.resource, version(), spec_.ns)}, *reply).message(), now, &*reply);
    if (lines_seen_ == 0 && brief) {
        return failed(reply ? "watch of " + spec_.resource.plural + ": ended without a word" : reply.error().message(), now, nullptr);
    }
    // Cut or ended in its time: go on from where it was. A server that is away shows at the next attempt, which is a short one.
    if (!reply) ++stats_.errors;
    at_ = now;
    if (brief) at_ += backoff_.next(random_);
}

void Reflector::upsert(Object object) {
    Held& held = held_[object.key()];
    const bool same = !object.resource_version.empty() && held.rv == object.resource_version;
    held.rv = object.resource_version;
    held.list = list_;
    if (!same) handler_.upsert(kind_, std::move(object));
}

void Reflector::erase(const std::string& key) {
    if (held_.erase(key) != 0) handler_.remove(kind_, key);
}

// No version of the kind is known, or the kind has gone. An API server that starts may say so before it has read its definitions, so what
// was there is kept for a while, and what is new is asked for twice.
void Reflector::not_found(MonoTime now) {
    if (unknown_ == 0) unknown_since_ = now;
    ++unknown_;
    continue_.clear();
    const size_t versions = spec_.resource.versions.size();
    version_ = (version_ + 1) % versions;
    if (unknown_ % versions != 0) {  // the next version at once
        at_ = now;
        return;
    }
    const auto wait = stats_.state == State::Missing ? options_.missing_poll : std::min(options_.missing_confirm, options_.missing_poll);
    at_ = now + wait;
    if (unknown_ < 2 * versions || stats_.state == State::Missing) return;
    if (!held_.empty() && now - unknown_since_ < options_.missing_grace) return;
    while (!held_.empty()) erase(std::string(held_.begin()->first));
    stats_.state = State::Missing;
    stats_.synced = true;
    stats_.last_error.clear();
    at_ = now + options_.missing_poll;
    handler_.synced(kind_, true);
}

void Reflector::failed(const std::string& text, MonoTime now, const Reply* reply) {
    ++stats_.errors;
    stats_.last_error = text;
    stats_.state = State::Waiting;
    ++failures_;
    auto wait = backoff_.next(random_);
    if (reply != nullptr && reply->retry_after) {
        // All who were told the same time must not come back at the same moment.
        wait = *reply->retry_after + std::min<std::chrono::nanoseconds>(wait, std::chrono::seconds(1));
    }
    at_ = now + wait;
    if ((failures_ & (failures_ - 1)) == 0) handler_.problem(kind_, text);
}

void Reflector::restart_list() { continue_.clear(); }

void Reflector::passed_over(const std::string& what) {
    ++stats_.malformed;
    handler_.problem(kind_, what);
}

ReflectorStats Reflector::stats() const {
    ReflectorStats out = stats_;
    out.objects = held_.size();
    out.resource_version = rv_;
    return out;
}

}  // namespace warren::kube
