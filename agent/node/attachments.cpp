// SPDX-License-Identifier: Apache-2.0
#include "agent/node/attachments.h"

#include "agent/node/cgroups.h"
#include "agent/node/hook_programs.h"
#include "base/log.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("kernel");

constexpr std::array<std::string_view, 4> kTunnelPrograms = {"wr_bind4", "wr_bind6", "wr_getsockopt", "wr_tunnel_ops"};

// Who redirects comes last, after those that tell the tunnel where to and the application whom it talks to.
int rank_of(uint32_t attach_type) {
    return attach_type == BPF_CGROUP_INET4_CONNECT || attach_type == BPF_CGROUP_INET6_CONNECT || attach_type == BPF_CGROUP_UDP4_SENDMSG ||
                   attach_type == BPF_CGROUP_UDP6_SENDMSG
               ? 1
               : 0;
}

struct PinName {
    Place place;
    uint64_t target;
    std::string program;
};

// "wr_connect4", "tunnel-ID-wr_bind4", "pod-COOKIE-wr_sk_lookup".
std::optional<PinName> parse_pin(std::string_view pin) {
    Place place = Place::Node;
    if (pin.starts_with("tunnel-")) {
        place = Place::Tunnel;
        pin.remove_prefix(7);
    } else if (pin.starts_with("pod-")) {
        place = Place::Pod;
        pin.remove_prefix(4);
    } else {
        return PinName{place, 0, std::string(pin)};
    }
    uint64_t target = 0;
    const auto [end, error] = std::from_chars(pin.data(), pin.data() + pin.size(), target);
    if (error != std::errc() || end == pin.data() + pin.size() || *end != '-') return std::nullopt;
    return PinName{place, target, std::string(end + 1, pin.data() + pin.size())};
}

base::Error attach_error(int os, const std::string& pin) {
    std::string fix = pin;
    if (os == EPERM) fix += ": another program holds this hook alone (attached without BPF_F_ALLOW_MULTI); see `bpftool cgroup tree`";
    return base::os_error_of(os, "attach", fix);
}

}  // namespace

std::optional<Place> place_of(const LoadedProgram& program) {
    switch (program.type) {
        case BPF_PROG_TYPE_SK_LOOKUP: return Place::Pod;
        case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
        case BPF_PROG_TYPE_CGROUP_SOCK:
        case BPF_PROG_TYPE_CGROUP_SOCKOPT:
        case BPF_PROG_TYPE_SOCK_OPS: break;
        default: return std::nullopt;
    }
    const bool tunnel = std::find(kTunnelPrograms.begin(), kTunnelPrograms.end(), program.name) != kTunnelPrograms.end();
    return tunnel ? Place::Tunnel : Place::Node;
}

Attachments::Attachments(const KernelObject& object, const Pins& pins, base::Fd root)
    : object_(object), pins_(pins), root_(std::move(root)) {}

base::Result<std::unique_ptr<Attachments>> Attachments::create(const KernelObject& object, const Pins& pins,
                                                               const std::string& cgroup2_root) {
    Cgroup root = TRY(open_cgroup(cgroup2_root));
    std::unique_ptr<Attachments> made(new Attachments(object, pins, std::move(root.fd)));
    made->root_id_ = root.id;
    return made;
}

std::string Attachments::pin_name(Place place, uint64_t target, std::string_view program) {
    if (place == Place::Node) return std::string(program);
    return (place == Place::Tunnel ? "tunnel-" : "pod-") + std::to_string(target) + "-" + std::string(program);
}

base::Result<Attachments::State> Attachments::state_of(int link_fd) {
    bpf_link_info info{};
    uint32_t size = sizeof info;
    if (::bpf_obj_get_info_by_fd(link_fd, &info, &size) != 0) return base::os_error("link info");
    // A link that was detached, or whose cgroup or namespace has ended, says so by a target of zero.
    const bool alive = info.type == BPF_LINK_TYPE_CGROUP  ? info.cgroup.cgroup_id != 0
                       : info.type == BPF_LINK_TYPE_NETNS ? info.netns.netns_ino != 0
                                                          : false;
    return State{.alive = alive, .program_id = info.prog_id};
}

std::vector<const LoadedProgram*> Attachments::programs_for(Place place) const {
    std::vector<const LoadedProgram*> out;
    for (const LoadedProgram& program : object_.programs())
        if (place_of(program) == place) out.push_back(&program);
    std::sort(out.begin(), out.end(), [](const LoadedProgram* a, const LoadedProgram* b) {
        return std::pair(rank_of(a->attach_type), a->name) < std::pair(rank_of(b->attach_type), b->name);
    });
    return out;
}

std::vector<uint64_t> Attachments::targets(Place place) const {
    std::vector<uint64_t> out;
    for (const auto& [pin, entry] : entries_)
        if (entry.place == place) out.push_back(entry.target);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

base::Result<base::Fd> Attachments::create_link(const Entry& entry, const LoadedProgram& program) {
    base::Fd link(::bpf_link_create(program.fd, entry.where(), static_cast<bpf_attach_type>(program.attach_type), nullptr));
    if (!link) return attach_error(errno, pin_name(entry.place, entry.target, entry.program));
    return link;
}

base::Result<void> Attachments::attach(Entry entry, const LoadedProgram& program) {
    const std::string pin = pin_name(entry.place, entry.target, program.name);
    if (const auto old = entries_.find(pin); old != entries_.end()) {
        // Adopted, or asked for twice: it has the program already; now it can be repaired too.
        const State state = TRY(state_of(old->second.link.get()));
        if (state.alive && state.program_id == program.id) {
            old->second.cgroup = std::move(entry.cgroup);
            old->second.netns = std::move(entry.netns);
            return {};
        }
    }
    entry.link = TRY(create_link(entry, program));
    TRY(pins_.pin_link(pin, entry.link.get()));
    entries_.insert_or_assign(pin, std::move(entry));
    return {};
}

void Attachments::adopt(const std::string& pin) {
    const auto name = parse_pin(pin);
    auto link = pins_.get_link(pin);
    if (!link || !link->valid()) return;
    const auto let_go = [&](const char* why) {
        WARREN_LOG(kArea, base::log::Level::Info, "pinned link removed", {"link", pin}, {"why", why});
        (void)::bpf_link_detach(link->get());
        pins_.unpin_link(pin);
    };
    const auto state = state_of(link->get());
    if (!state || !state->alive) return let_go("its cgroup or namespace has ended");
    const LoadedProgram* program = name ? object_.program(name->program) : nullptr;
    if (program == nullptr || place_of(*program) != name->place) return let_go("this agent has no such program");
    if (::bpf_link_update(link->get(), program->fd, nullptr) != 0) {
        const base::Error error = base::os_error("replace program", pin);
        WARREN_LOG(kArea, base::log::Level::Error, "a pinned link refuses the new program", {"error", error.message()});
        return let_go("it refuses the new program");
    }
    // Trap 17: not believed but looked at.
    const auto now = state_of(link->get());
    if (!now || now->program_id != program->id) return let_go("it did not take the new program");
    ++replaced_;
    entries_.insert_or_assign(pin, Entry{.place = name->place, .target = name->target, .program = name->program, .link = std::move(*link)});
}

base::Result<void> Attachments::start() {
    for (const std::string& pin : pins_.links()) adopt(pin);
    std::vector<std::string> made;
    for (const LoadedProgram* program : programs_for(Place::Node)) {
        const bool there = entries_.contains(program->name);
        base::Fd root = TRY(base::Fd::dup(root_.get()));
        auto result = attach({.place = Place::Node, .program = program->name, .link = {}, .cgroup = std::move(root)}, *program);
        if (!there) made.push_back(program->name);
        if (result) continue;
        for (const std::string& pin : made) drop(pin);
        return std::move(result).error();
    }
    return {};
}

base::Result<void> Attachments::attach_tunnel(uint64_t cgroup_id, int cgroup_fd) {
    for (const LoadedProgram* program : programs_for(Place::Tunnel)) {
        base::Fd cgroup = TRY(base::Fd::dup(cgroup_fd));
        auto result = attach(
            {.place = Place::Tunnel, .target = cgroup_id, .program = program->name, .link = {}, .cgroup = std::move(cgroup)}, *program);
        if (result) continue;
        drop_all(Place::Tunnel, cgroup_id);
        return std::move(result).error();
    }
    return {};
}

void Attachments::detach_tunnel(uint64_t cgroup_id) { drop_all(Place::Tunnel, cgroup_id); }

base::Result<void> Attachments::attach_pod(uint64_t cookie, std::shared_ptr<const base::Netns> netns) {
    for (const LoadedProgram* program : programs_for(Place::Pod))
        TRY(attach({.place = Place::Pod, .target = cookie, .program = program->name, .link = {}, .netns = netns}, *program));
    return {};
}

void Attachments::detach_pod(uint64_t cookie) { drop_all(Place::Pod, cookie); }

bool Attachments::pod_attached(uint64_t cookie) const {
    const auto programs = programs_for(Place::Pod);
    return std::all_of(programs.begin(), programs.end(),
                       [&](const LoadedProgram* program) { return entries_.contains(pin_name(Place::Pod, cookie, program->name)); });
}

void Attachments::drop(const std::string& pin) {
    const auto found = entries_.find(pin);
    if (found == entries_.end()) return;
    (void)::bpf_link_detach(found->second.link.get());  // nothing is attached any more when it fails
    pins_.unpin_link(pin);
    entries_.erase(found);
}

void Attachments::drop_all(Place place, uint64_t target) {
    for (const LoadedProgram* program : programs_for(place)) drop(pin_name(place, target, program->name));
}

// True: something was put back.
base::Result<bool> Attachments::repair(const std::string& pin, Entry& entry) {
    const LoadedProgram* program = object_.program(entry.program);
    if (program == nullptr) return false;
    const State state = TRY(state_of(entry.link.get()));
    bool repaired = false;
    if (!state.alive) {
        base::Fd link = TRY(create_link(entry, *program));
        TRY(pins_.pin_link(pin, link.get()));
        entry.link = std::move(link);
        repaired = true;
    } else if (state.program_id != program->id) {
        if (::bpf_link_update(entry.link.get(), program->fd, nullptr) != 0) return base::os_error("replace program", pin);
        repaired = true;
    }
    if (!pins_.has_link(pin)) {
        TRY(pins_.pin_link(pin, entry.link.get()));
        repaired = true;
    }
    return repaired;
}

CheckReport Attachments::check() {
    CheckReport report;
    std::vector<std::string> gone;
    for (auto& [pin, entry] : entries_) {
        ++report.checked;
        const auto state = state_of(entry.link.get());
        const auto result =
            state && !state->alive && entry.where() < 0 ? base::Result<bool>(base::os_error_of(ENODEV, "attach", pin)) : repair(pin, entry);
        if (!result) {
            // A cgroup that was removed cannot come back; anything else is for somebody to look at.
            const int os = result.error().os;
            if (entry.place != Place::Node && (os == ENODEV || os == ENOENT))
                gone.push_back(pin);
            else
                report.failed.push_back(result.error().message());
            continue;
        }
        if (!*result) continue;
        ++report.repaired;
        ++repaired_;
        WARREN_LOG(kArea, base::log::Level::Warn, "somebody detached or replaced a program of ours: put back", {"link", pin});
    }
    for (const std::string& pin : gone) drop(pin);
    report.gone = gone.size();
    return report;
}

std::vector<HookReport> Attachments::report() const {
    std::vector<HookReport> out;
    for (const LoadedProgram* program : programs_for(Place::Node)) {
        HookReport hook{.hook = hook_name(program->attach_type), .program = program->name, .program_id = program->id, .order = {}};
        hook.order = programs_at(root_.get(), program->attach_type);
        for (HookProgram& other : hook.order) {
            other.ours = other.id == program->id;
            hook.attached = hook.attached || other.ours;
        }
        out.push_back(std::move(hook));
    }
    return out;
}

AttachmentTotals Attachments::totals() const {
    AttachmentTotals totals{.repaired = repaired_, .replaced = replaced_};
    for (const auto& [pin, entry] : entries_) {
        size_t& count = entry.place == Place::Node ? totals.node : entry.place == Place::Tunnel ? totals.tunnel : totals.pod;
        ++count;
    }
    return totals;
}

}  // namespace warren::node
