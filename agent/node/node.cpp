// SPDX-License-Identifier: Apache-2.0
#include "agent/node/node.h"

#include "agent/node/process_start.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace warren::node {
namespace {

const base::log::Area kNode("node");

constexpr auto kGather = std::chrono::milliseconds(2);
constexpr auto kTick = std::chrono::seconds(1);
constexpr uint64_t kCheckTicks = 4;  // somebody's detaching is repaired within five seconds (trap 26)
constexpr uint64_t kStaleTicks = 60;
// A pod source that stays away must not keep a new policy from the kernel's rows.
constexpr auto kSettlePatience = std::chrono::seconds(10);
constexpr auto kNamesKept = std::chrono::minutes(2);  // longer than any record waits in the ring

SameNodeRules rules_of(const Settings& settings) {
    auto rules = SameNodeRules::make(settings.same_node, settings.same_node_overrides);
    return rules ? *std::move(rules) : SameNodeRules();  // settings.cpp has refused what does not parse
}

}  // namespace

Node::Node(const Settings& settings, Publish publish)
    : settings_(settings),
      publish_(std::move(publish)),
      update_timer_(base::Timer::of<&Node::update>(*this)),
      tick_timer_(base::Timer::of<&Node::tick>(*this)),
      mesh_(std::make_shared<const policy::Snapshot>()) {}

Node::~Node() = default;

base::Result<std::unique_ptr<Node>> Node::create(const Settings& settings, Publish publish) {
    std::unique_ptr<Node> node(new Node(settings, std::move(publish)));
    TRY(node->load());
    TRY(node->attach());
    return node;
}

base::Result<void> Node::load() {
    TRY(ensure_bpffs(settings_.bpffs));
    features_ = probe_features({.bpffs = settings_.bpffs, .cgroup2_root = settings_.cgroup_root});
    TRY(features_.sufficient());
    pins_.emplace(TRY(Pins::open(settings_.bpffs, settings_.instance)));
    KernelObjectSettings object;
    object.map_entries = {{"wr_handover", settings_.max_connections}, {"wr_announced", settings_.max_connections}};
    object.verifier_log = settings_.run_dir + "/verifier.log";
    object.leave_out = features_.programs_to_leave_out();
    object_ = TRY(KernelObject::load(embedded_object(), object, *pins_));
    maps_.emplace(TRY(Maps::of(*object_)));
    netns_.emplace(TRY(NodeNetns::of_this_node(settings_.node_netns)));
    return {};
}

wr_config Node::config() const {
    wr_config row{};
    const auto flag = [&row](bool on, wr_config_flag bit) { row.flags |= on ? static_cast<wr_u32>(bit) : 0u; };
    flag(settings_.redirection, WR_CONFIG_REDIRECT);
    flag(settings_.same_node != SameNode::Off || !settings_.same_node_overrides.empty(), WR_CONFIG_DIRECT);
    flag(settings_.flows, WR_CONFIG_FLOWS);
    flag(settings_.flows_of_all_pods, WR_CONFIG_FLOWS_ALL);
    flag(settings_.cubic, WR_CONFIG_CUBIC);
    row.host_netns = netns_->node().cookie().value_or(0);
    row.port_outbound = 15001;
    row.port_plaintext = 15006;
    row.port_hbone = 15008;
    row.port_dns = 15053;
    row.ring_wakeup_bytes = 64 * 1024;
    return row;
}

base::Result<void> Node::attach() {
    loop_ = TRY(base::Loop::create({.mailbox_capacity = 4096}));
    KernelTables::Options tables;
    tables.mesh.network = policy::Text(settings_.network);
    tables.mesh.node = settings_.node_name;
    tables.mesh.same_node = rules_of(settings_);
    tables.tunnel_is_ours = settings_.tunnel == TunnelKind::Warren;
    tables.ranges = settings_.ranges;
    tables.config = config();
    policy_ids_.emplace(TRY(PolicyIdStore::open(*pins_, *maps_)));
    tables_ = std::make_unique<KernelTables>(std::move(tables), *maps_, *policy_ids_);
    TRY(tables_->start());
    attachments_ = TRY(Attachments::create(*object_, *pins_, features_.cgroup2_root));
    TRY(attachments_->start());
    tunnel_cgroups_ = std::make_unique<TunnelCgroups>(features_.cgroup2_root, *maps_, *attachments_);
    TRY(tunnel_cgroups_->adopt());
    KubeletSettings kubelet;
    kubelet.cgroup = settings_.kubelet_cgroup;
    kubelet_ = std::make_unique<KubeletCgroup>(std::move(kubelet), features_.cgroup2_root, *maps_, *netns_);
    if (auto found = kubelet_->refresh(); !found) {
        WARREN_LOG(kNode, base::log::Level::Info, "no kubelet: probes are judged like any plaintext", {"why", found.error().message()});
    }
    if (auto destroyer = SocketDestroyer::of(*object_)) {
        judge_ = std::make_unique<Judge>(*std::move(destroyer));
    } else {
        WARREN_LOG(kNode, base::log::Level::Warn, "a changed policy counts for new connections only on the same-node path",
                   {"why", destroyer.error().message()});
    }
    ZdsOptions zds{.path = settings_.zds_socket()};
    const bool made = std::any_of(object_->maps().begin(), object_->maps().end(),
                                  [](const MapReport& map) { return map.name == "wr_listeners" && map.how == MapReport::How::Made; });
    if (made) zds.anew_since = process_start("/proc/self").value_or(UINT64_MAX);
    tunnel_ = TRY(TunnelLink::start(*loop_, std::move(zds), settings_.redirection ? tunnel_cgroups_.get() : nullptr));
    store_.emplace(TRY(EnrolmentStore::open(*pins_, *maps_)));
    const Enrolment::Parts parts{*loop_, *maps_, *attachments_, *store_, *netns_, *tunnel_, *this};
    EnrolmentSettings enrolment;
    enrolment.max_pods = settings_.max_pods;
    enrolment_ = TRY(Enrolment::create(parts, enrolment));
    loop_->arm(tick_timer_, kTick);
    return {};
}

void Node::mesh(std::shared_ptr<const policy::Snapshot> snapshot, bool synced) {
    {
        const std::lock_guard lock(next_mesh_mutex_);
        next_mesh_ = std::move(snapshot);
        next_mesh_synced_ = next_mesh_synced_ || synced;
    }
    // A task that finds no room is made up for by the tick.
    (void)loop_->post([this] { take_mesh(); });
}

void Node::take_mesh() {
    {
        const std::lock_guard lock(next_mesh_mutex_);
        if (!next_mesh_) return;
        mesh_ = std::exchange(next_mesh_, nullptr);
        if (next_mesh_synced_ && !std::exchange(mesh_synced_, true)) synced_at_ = loop_->now();
    }
    soon();
}

bool Node::also_tell(std::shared_ptr<EnrolmentListener> listener) {
    return loop_->post([this, listener = std::move(listener)]() mutable { also_ = std::move(listener); });
}

void Node::tunnel_acknowledged(const EnrolledPod& pod) {
    if (also_) also_->tunnel_acknowledged(pod);
}

void Node::captured(const EnrolledPod& pod) {
    if (also_) also_->captured(pod);
    conntrack_.captured(pod.addresses);
    names_[pod.id] = {
        std::make_shared<FlowPod>(FlowPod{pod.pod->uid, pod.pod->namespace_name, pod.pod->name, pod.pod->service_account, {}}),
        std::nullopt};
    soon();
}

void Node::left(const EnrolledPod& pod) {
    if (also_) also_->left(pod);
    conntrack_.left(pod.addresses);
    if (const auto found = names_.find(pod.id); found != names_.end()) found->second.left = loop_->now();
    // Its open direct connections live in the namespace that left, and nobody's policy holds them any more.
    if (pod.namespace_handle) left_namespaces_.push_back(pod.namespace_handle);
    soon();
}

void Node::settled() {
    settled_ = true;
    tunnel_->complete();
    soon();
}

void Node::failed(const Pod& pod, const base::Error& error) {
    if (also_) also_->failed(pod, error);
    WARREN_LOG(kNode, base::log::Level::Warn, "pod not captured yet", {"pod", pod.namespace_name + "/" + pod.name},
               {"error", error.message()});
}

void Node::soon() {
    if (!update_timer_.armed()) loop_->arm(update_timer_, kGather);
}

LocalPod Node::local(const EnrolledPod& pod) const {
    LocalPod l;
    l.id = pod.id;
    l.netns = pod.netns;
    const Pod& p = *pod.pod;
    const auto flag = [&l](bool on, wr_pod_flag bit) { l.flags |= on ? static_cast<uint32_t>(bit) : 0u; };
    const bool enrolled = p.membership == Membership::Enrolled;
    flag(!enrolled, WR_POD_OBSERVED);
    flag(enrolled, WR_POD_OUTBOUND);
    flag(enrolled && p.ingress_capture, WR_POD_INBOUND);
    flag(enrolled && p.dns_capture, WR_POD_DNS);
    flag(enrolled && p.direct, WR_POD_DIRECT);
    for (const base::IpAddr& address : pod.addresses) {
        if (address.is_v4() && !l.v4) l.v4 = address;
        if (address.is_v6() && !l.v6) l.v6 = address;
    }
    l.name = policy::Text(p.name);
    l.ns = policy::Text(p.namespace_name);
    l.service_account = policy::Text(p.service_account);
    l.network = p.network;
    if (const auto said = p.annotations.find(std::string(kSameNodeAnnotation)); said != p.annotations.end()) {
        const auto mode = parse_same_node(said->second);
        if (!mode) {
            WARREN_LOG(kNode, base::log::Level::Warn, "annotation not understood: the pod's traffic is encrypted",
                       {"pod", p.namespace_name + "/" + p.name}, {"error", mode.error().message()});
        }
        l.same_node = mode ? *mode : SameNode::Encrypted;
    }
    return l;
}

void Node::update() {
    const std::vector<EnrolledPod> pods = enrolment_->pods();
    std::vector<std::shared_ptr<const base::Netns>> namespaces;
    for (const EnrolledPod& pod : pods) {
        if (pod.namespace_handle) namespaces.push_back(pod.namespace_handle);
    }
    {
        const std::lock_guard lock(namespaces_mutex_);
        namespaces_ = namespaces;
    }
    publish_names();
    if (!mesh_synced_) return;
    if (!settled_ && loop_->now() - synced_at_ < kSettlePatience) return;
    std::vector<LocalPod> local_pods;
    local_pods.reserve(pods.size());
    for (const EnrolledPod& pod : pods) local_pods.push_back(local(pod));
    const bool narrowed = tables_->update(mesh_, local_pods, [this] { publish_names(); });
    if (!narrowed) namespaces.clear();
    namespaces.insert(namespaces.end(), left_namespaces_.begin(), left_namespaces_.end());
    left_namespaces_.clear();
    if (judge_) judge_->request(std::move(namespaces));
}

void Node::publish_names() {
    auto names = std::make_shared<FlowDirectory>();
    names->node = settings_.node_name;
    names->network = settings_.network;
    names->trust_domain = settings_.trust_domain;
    names->mesh = mesh_;
    std::erase_if(names_, [this](const auto& entry) { return entry.second.left && loop_->now() - *entry.second.left > kNamesKept; });
    for (auto& [id, named] : names_) {
        const FlowPod& pod = *named.pod;
        const policy::WorkloadRef record(mesh_->local_workload(pod.ns, pod.name, pod.service_account, settings_.node_name));
        if (record.get() != pod.workload.get() && record) {
            FlowPod fresh = pod;
            fresh.workload = record;
            named.pod = std::make_shared<const FlowPod>(std::move(fresh));
        }
        names->pods[id] = named.pod;
    }
    names->policies = tables_->policy_names();
    publish_(std::move(names));
}

void Node::tick() {
    loop_->arm(tick_timer_, kTick);
    take_mesh();
    tunnel_cgroups_->tick();
    if (++ticks_ % kCheckTicks == 0) {
        last_check_ = attachments_->check();
        if (last_check_.repaired != 0) {
            WARREN_LOG(kNode, base::log::Level::Warn, "somebody detached our programs; put back", {"count", last_check_.repaired});
        }
        for (const std::string& why : last_check_.failed) {
            WARREN_LOG(kNode, base::log::Level::Error, "a hook could not be put back", {"why", why});
        }
        if (auto repaired = object_->repair_pins(*pins_); repaired && *repaired != 0) {
            WARREN_LOG(kNode, base::log::Level::Warn, "pins were gone; put back", {"count", *repaired});
        }
        (void)kubelet_->refresh();
    }
    if (ticks_ % kStaleTicks == 0) {
        if (auto dropped = maps_->drop_stale_announcements(); !dropped) {
            WARREN_LOG(kNode, base::log::Level::Warn, "announcements could not be looked through", {"error", dropped.error().message()});
        }
    }
    if (!settled_ && mesh_synced_) soon();
}

std::vector<std::shared_ptr<const base::Netns>> Node::namespaces() const {
    const std::lock_guard lock(namespaces_mutex_);
    return namespaces_;
}

NodeReport Node::look() const {
    NodeReport r;
    r.mesh_synced = mesh_synced_;
    r.settled = settled_;
    r.tunnel_synced = tunnel_->synced();
    r.features = features_.all;
    r.kernel = features_.kernel;
    r.cgroup2_root = features_.cgroup2_root;
    r.hooks = attachments_->report();
    r.attachments = attachments_->totals();
    r.last_check = last_check_;
    r.maps = object_->maps();
    r.enrolment = enrolment_->counts();
    r.pods = enrolment_->status();
    r.enrolled = enrolment_->pods();
    r.tunnels = tunnel_->server().tunnels();
    r.zds = tunnel_->server().stats();
    r.tunnel_cgroups = tunnel_cgroups_->report();
    r.kubelets = kubelet_->report();
    r.verdicts = tables_->verdicts().counts();
    r.services = tables_->services().counts();
    r.tables = tables_->counts();
    if (judge_) r.judge = judge_->stats();
    r.can_judge = judge_ != nullptr;
    r.conntrack = conntrack_.status();
    return r;
}

std::optional<NodeReport> Node::report(std::chrono::milliseconds deadline) {
    auto answer = std::make_shared<std::promise<NodeReport>>();
    std::future<NodeReport> future = answer->get_future();
    if (!loop_->post([this, answer] { answer->set_value(look()); })) return std::nullopt;
    if (future.wait_for(deadline) != std::future_status::ready) return std::nullopt;
    NodeReport report = future.get();
    // Walks of maps with many rows: on the caller's thread, not on the one that captures pods.
    report.handover = maps_->handover_occupancy().value_or(Occupancy{});
    report.announced = maps_->announced_occupancy().value_or(Occupancy{});
    report.stats = maps_->stats().value_or(StatCounts{});
    return report;
}

bool Node::alive(std::chrono::milliseconds deadline) {
    auto answer = std::make_shared<std::promise<void>>();
    std::future<void> future = answer->get_future();
    return loop_->post([answer] { answer->set_value(); }) && future.wait_for(deadline) == std::future_status::ready;
}

}  // namespace warren::node
