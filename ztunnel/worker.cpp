// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/worker.h"

#include "ztunnel/tunnel_pool.h"

#include <algorithm>

namespace warren::ztunnel {

namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kMeasureEvery = std::chrono::milliseconds(200);
// 64 free chunks are 17 MB, which only a worker that moves bulk over dozens of connections keeps; 1,024 at once are 270 MB, the most a
// worker's connections may have in flight before reading stops.
constexpr size_t kKeepChunks = 4, kMostChunks = 1024;

}  // namespace

Worker::Worker(const WorkerShared& shared, std::unique_ptr<base::Loop> loop, base::Netns home,
               std::shared_ptr<const policy::Snapshot> snapshot, uint64_t seed)
    : loop_(std::move(loop)),
      home_(std::move(home)),
      chunks_(kKeepChunks, kMostChunks),
      random_(seed),
      context_{*loop_,     chunks_,         shared.settings, shared.certs, shared.traffic, random_, home_, std::move(snapshot),
               shared.dns, shared.resolver, shared.on_demand},
      measure_(base::Timer::of<&Worker::measure>(*this)) {}

base::Result<std::unique_ptr<Worker>> Worker::start(const WorkerShared& shared, std::shared_ptr<const policy::Snapshot> snapshot,
                                                    uint64_t seed) {
    auto loop = TRY(base::Loop::create());
    base::Netns home = TRY(base::Netns::current());
    std::unique_ptr<Worker> worker(new Worker(shared, std::move(loop), std::move(home), std::move(snapshot), seed));
    worker->thread_ = std::thread([w = worker.get()] { w->run(); });
    return worker;
}

Worker::~Worker() {
    loop_->stop();
    if (thread_.joinable()) thread_.join();
}

void Worker::run() {
    measure();
    (void)loop_->run();
    // On the thread that made them: pods end their connections into this loop.
    pods_.clear();
    (void)loop_->run_once(loop_->now());
}

void Worker::measure() {
    WorkerLoad now;
    now.counts = gone_;
    for (const auto& [uid, pod] : pods_) {
        now.connections += pod->use.connections();
        now.streams += pod->use.streams();
        now.descriptors += pod->use.descriptors();
        now.buffered_bytes += pod->buffers.used;
        now.pooled_tunnels += pod->pool().tunnels();
        now.counts.add(pod->counts());
    }
    now.chunks_out = chunks_.out();
    now.chunks_refused = chunks_.refused();
    now.handshakes_refused = context_.handshakes_refused;
    const auto answering = std::count_if(pods_.begin(), pods_.end(), [](const auto& pod) { return pod.second->answering(); });
    busy_.store(now.connections + static_cast<size_t>(answering), std::memory_order_relaxed);
    {
        const std::lock_guard lock(load_mutex_);
        load_ = now;
    }
    loop_->arm(measure_, kMeasureEvery);
}

// Runs on the worker and waits for the answer; the manager's thread may wait, a worker never does.
template <class T>
base::Result<T> Worker::ask(std::function<base::Result<T>()> question) {
    auto promise = std::make_shared<std::promise<base::Result<T>>>();
    auto answer = promise->get_future();
    if (!loop_->post([promise, question = std::move(question)] { promise->set_value(question()); }))
        return base::Error{base::Errc::Exhausted, 0, "", "a worker's mailbox is full"};
    if (answer.wait_for(kPatience) != std::future_status::ready)
        return base::Error{base::Errc::Timeout, 0, "", "a worker did not answer within 10 s"};
    return answer.get();
}

base::Result<void> Worker::add_pod(std::shared_ptr<const PodInfo> pod) {
    return ask<void>([this, pod = std::move(pod)]() -> base::Result<void> {
        auto proxy = TRY(PodProxy::start(context_, pod));
        pods_[pod->uid] = std::move(proxy);
        return {};
    });
}

void Worker::remove_pod(const std::string& uid) {
    (void)ask<void>([this, uid]() -> base::Result<void> {
        // Immediate: everything of the pod is cut at once (contract 4.8).
        if (auto found = pods_.find(uid); found != pods_.end()) {
            gone_.add(found->second->counts());
            pods_.erase(found);
        }
        return {};
    });
}

void Worker::set_snapshot(std::shared_ptr<const policy::Snapshot> snapshot) {
    auto task = [this, snapshot = std::move(snapshot)] {
        context_.snapshot = snapshot;
        for (auto& [uid, pod] : pods_) pod->on_mesh_change();
    };
    // A full mailbox is a worker that is behind; the manager asks again until it has room, a policy change is never dropped.
    while (!loop_->post(task)) std::this_thread::yield();
}

void Worker::trust_changed() {
    while (!loop_->post([this] {
        for (auto& [uid, pod] : pods_) pod->on_trust_change();
    }))
        std::this_thread::yield();
}

base::Result<std::vector<HeldListener>> Worker::hold_listeners() {
    return ask<std::vector<HeldListener>>([this]() -> base::Result<std::vector<HeldListener>> {
        std::vector<HeldListener> out;
        for (auto& [uid, pod] : pods_)
            for (HeldListener& held : TRY(pod->hold_listeners())) out.push_back(std::move(held));
        return out;
    });
}

void Worker::drain() {
    (void)ask<void>([this]() -> base::Result<void> {
        for (auto& [uid, pod] : pods_) pod->drain();
        measure();
        return {};
    });
}

void Worker::cut_all(const std::string& why) {
    (void)ask<void>([this, why]() -> base::Result<void> {
        for (auto& [uid, pod] : pods_) pod->cut_all(why);
        measure();
        return {};
    });
}

WorkerLoad Worker::load() const {
    WorkerLoad out;
    {
        const std::lock_guard lock(load_mutex_);
        out = load_;
    }
    out.loop = loop_->stats();
    return out;
}

}  // namespace warren::ztunnel
