// SPDX-License-Identifier: Apache-2.0
#include "agent/node/redirection_writer.h"

#include "agent/kube/json_text.h"
#include "agent/node/kube_pod.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace warren::node {

namespace {

const kube::Resource& pods() {
    static const kube::Resource kPods{"", {"v1"}, "pods", "Pod"};
    return kPods;
}

base::Result<void> patch(kube::Client& client, const RedirectionWriter::Job& job) {
    using Json = nlohmann::json;
    // With the uid in it the server refuses the patch of another pod that has the name by now.
    const Json value = job.value.empty() ? Json(nullptr) : Json(job.value);
    const Json body = {{"metadata", {{"uid", job.uid}, {"annotations", {{kRedirectionAnnotation, value}}}}}};
    const auto answer = client.merge(kube::object_path(pods(), job.ns, job.name, "status"), body.dump());
    if (answer) return {};
    if (answer.error().code == base::Errc::NotFound || answer.error().code == base::Errc::Exists) return {};
    return answer.error();
}

}  // namespace

base::Result<void> clear_redirection(kube::Client& client, const std::string& node_name) {
    const std::string path =
        kube::collection_path(pods(), "v1", "") + "?fieldSelector=" + kube::percent_encoded("spec.nodeName=" + node_name);
    const kube::ListPage page = TRY(kube::parse_list_page(TRY(client.get(path)), pods(), "v1"));
    base::Result<void> done;
    for (const kube::Object& object : page.items) {
        const auto pod = read_kube_pod(object.json);
        if (!pod || (pod->redirection() != "enabled" && pod->redirection() != "pending")) continue;
        if (auto patched = patch(client, {pod->ns, pod->name, pod->uid, {}}); !patched) done = std::move(patched);
    }
    return done;
}

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

void RedirectionWriter::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        const Job job = std::move(jobs_.extract(jobs_.begin()).mapped());
        lock.unlock();
        const auto result = patch(*client_, job);
        lock.lock();
        if (stopping_) return;  // it was cut off
        lock.unlock();
        done_(job, result);
        lock.lock();
    }
}

}  // namespace warren::node
