// SPDX-License-Identifier: Apache-2.0
#include "agent/node/revocation_file.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/small_file.h"
#include "proto/trust.pb.h"

#include <utility>

namespace warren::node {

namespace {

using base::log::Level;
const base::log::Area kLog("revocation");

}  // namespace

RevocationFile::RevocationFile(std::string path, xds::Handler& next)
    : path_(std::move(path)), next_(next), newest_(std::make_shared<const RevocationLists>()) {
    status_.file = path_;
    if (auto there = base::read_small_file(path_, RevocationLists::kMaxBytes)) {
        if (auto lists = RevocationLists::parse(*there)) {
            newest_ = std::make_shared<const RevocationLists>(std::move(*lists));
            in_force({std::move(*there), newest_});
        } else {
            refused(path_ + ": " + lists.error().message());
        }
    }
    writer_ = std::jthread([this](const std::stop_token& stop) { write_all(stop); });
}

std::vector<xds::Rejection> RevocationFile::apply(const xds::Update& update) {
    if (update.type_url != xds::kRevocationType) return next_.apply(update);
    std::vector<xds::Rejection> rejected;
    for (const xds::Resource& resource : update.resources)
        if (auto taken = take(resource); !taken) {
            refused(taken.error().message());
            rejected.push_back({std::string(resource.name), taken.error().message()});
        }
    for (const xds::Rejection& unread : update.refused) refused(unread.reason);
    // Whoever takes everything back publishes empty lists.
    if (!update.removed.empty()) refused("the control plane has no revocation lists any more; those in the file stay in force");
    return rejected;
}

void RevocationFile::synced(std::string_view type_url) {
    if (type_url != xds::kRevocationType) next_.synced(type_url);
}

base::Result<void> RevocationFile::take(const xds::Resource& resource) {
    warren::trust::v1::RevocationLists message;
    if (!message.ParseFromArray(resource.body.data(), static_cast<int>(resource.body.size())))
        return base::invalid("revocation lists: the message does not parse");
    auto lists = std::make_shared<const RevocationLists>(TRY(RevocationLists::parse(message.pem())));
    if (auto what = lists->takes_back(*newest_)) return base::invalid(*what);
    newest_ = lists;
    {
        const std::lock_guard lock(mutex_);
        pending_ = Content{std::move(*message.mutable_pem()), std::move(lists)};
    }
    changed_.notify_all();
    return {};
}

void RevocationFile::refused(const std::string& why) {
    WARREN_LOG(kLog, Level::Error, "revocation lists refused; those in the file stay in force", {"error", why});
    const std::lock_guard lock(mutex_);
    ++status_.refused;
    status_.error = why;
}

// What the file has now; under mutex_, or before the writer runs.
void RevocationFile::in_force(Content content) {
    held_ = std::move(content.pem);
    status_.lists = content.lists->size();
    status_.serials = content.lists->serials();
    status_.issued = content.lists->issued();
    status_.error.clear();
}

void RevocationFile::write_all(const std::stop_token& stop) {
    base::RandomEngine random = base::make_random_engine();
    base::Backoff backoff(base::Backoff::Mode::Decorrelated, std::chrono::seconds(1), std::chrono::seconds(30));
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return pending_.has_value(); })) {
        Content content = std::move(*std::exchange(pending_, std::nullopt));
        const bool news = content.pem != held_;
        base::Result<void> done;
        if (news) {
            lock.unlock();
            done = base::replace_small_file(path_, content.pem, 0644);
            lock.lock();
        }
        if (!done) {
            ++status_.failures;
            status_.error = done.error().message();
            WARREN_LOG(kLog, Level::Error, "cannot write the revocation lists; trying again", {"error", status_.error});
            if (!pending_) pending_ = std::move(content);
            changed_.wait_for(lock, stop, backoff.next(random), [] { return false; });
            continue;
        }
        backoff.reset();
        in_force(std::move(content));
        if (!news) continue;
        ++status_.written;
        WARREN_LOG(kLog, Level::Info, "revocation lists written", {"file", path_}, {"lists", status_.lists}, {"serials", status_.serials});
    }
}

RevocationStatus RevocationFile::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

}  // namespace warren::node
