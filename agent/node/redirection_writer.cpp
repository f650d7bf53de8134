// SPDX-License-Identifier: Apache-2.0
#include "agent/node/redirection_writer.h"

#include "agent/node/kube_pod.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace warren::node {

RedirectionWriter::RedirectionWriter(std::shared_ptr<kube::Client> client, Done done)
    : client_(std::move(client)), done_(std::move(done)), thread_([this] { run(); }) {}

RedirectionWriter::~RedirectionWriter() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    client_->stop();
    thread_.join();
}

void RedirectionWriter::write(Job job) {
    const std::lock_guard lock(mutex_);
    std::string uid = job.uid;
    jobs_.insert_or_assign(std::move(uid), std::move(job));
    wake_.notify_one();
}

base::Result<void> RedirectionWriter::patch(const Job& job) {
    using Json = nlohmann::json;
    // With the uid in it the server refuses the patch of another pod that has the name by now.
    const Json value = job.value.empty() ? Json(nullptr) : Json(job.value);
    const Json body = {{"metadata", {{"uid", job.uid}, {"annotations", {{kRedirectionAnnotation, value}}}}}};
    static const kube::Resource kPods{"", {"v1"}, "pods", "Pod"};
    const auto answer = client_->merge(kube::object_path(kPods, job.ns, job.name, "status"), body.dump());
    if (answer) return {};
    if (answer.error().code == base::Errc::NotFound || answer.error().code == base::Errc::Exists) return {};
    return answer.error();
}

void RedirectionWriter::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        const Job job = std::move(jobs_.extract(jobs_.begin()).mapped());
        lock.unlock();
        done_(job, patch(job));
        lock.lock();
    }
}

}  // namespace warren::node
