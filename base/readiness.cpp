// SPDX-License-Identifier: Apache-2.0
#include "base/readiness.h"

namespace warren::base {

void Readiness::Task::done() {
    Readiness* readiness = std::exchange(readiness_, nullptr);
    if (readiness == nullptr) return;
    const std::scoped_lock lock(readiness->mutex_);
    readiness->tasks_.extract(name_);
}

std::unique_ptr<Readiness::Task> Readiness::expect(std::string name) {
    {
        const std::scoped_lock lock(mutex_);
        tasks_.insert(name);
    }
    return std::make_unique<Task>(*this, std::move(name));
}

void Readiness::watch(std::string name, std::function<bool()> ready) {
    const std::scoped_lock lock(mutex_);
    conditions_.emplace_back(std::move(name), std::move(ready));
}

std::vector<std::string> Readiness::pending() const {
    const std::scoped_lock lock(mutex_);
    std::set<std::string> names(tasks_.begin(), tasks_.end());
    for (const auto& [name, ready] : conditions_)
        if (!ready()) names.insert(name);
    return {names.begin(), names.end()};
}

HttpResponse readiness_response(const HttpRequest& request, const Readiness& readiness) {
    HttpResponse r;
    if (request.path != "/healthz/ready") {
        r.status = 404;
        r.body = "not found\n";
        return r;
    }
    if (request.method != "GET" && request.method != "HEAD") {
        r.status = 405;
        r.allow = "GET, HEAD";
        return r;
    }
    const std::vector<std::string> pending = readiness.pending();
    if (pending.empty()) {
        r.body = "ready\n";
        return r;
    }
    r.status = 500;
    r.body = "not ready, pending: ";
    for (const std::string& name : pending) r.body.append(&name == &pending.front() ? "" : ", ").append(name);
    r.body += '\n';
    return r;
}

bool Pulse::alive() {
    const std::vector<uint64_t> now = batches_();
    const MonoTime time = clock_.now();
    bool alive = true;
    for (size_t i = 0; i < now.size(); ++i) {
        if (i >= seen_.size()) seen_.push_back({now[i], time});
        if (seen_[i].batches != now[i]) seen_[i] = {now[i], time};
        alive = alive && time - seen_[i].since < patience_;
    }
    return alive;
}

}  // namespace warren::base
