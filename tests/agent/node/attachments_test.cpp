// SPDX-License-Identifier: Apache-2.0
#include "agent/node/attachments.h"

#include "agent/node/cgroups.h"
#include "tests/agent/node/foreign_program.h"
#include "tests/agent/node/kernel_lab.h"
#include "tests/catch.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <filesystem>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

namespace {

uint32_t program_in(const base::Fd& link) {
    bpf_link_info info{};
    uint32_t size = sizeof info;
    REQUIRE(::bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0);
    return info.prog_id;
}

uint32_t link_id(const base::Fd& link) {
    bpf_link_info info{};
    uint32_t size = sizeof info;
    REQUIRE(::bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0);
    return info.id;
}

// Without the programs of agents of other tests, which hang further up at the same time.
std::vector<HookProgram> order_here(const HookReport& hook) {
    std::vector<HookProgram> order = hook.order;
    std::erase_if(order, [](const HookProgram& p) { return !p.ours && p.name.starts_with("wr_"); });
    return order;
}

}  // namespace

TEST_CASE("attachments: every program hangs where it belongs") {
    KernelLab lab;
    const AgentLife agent(lab);
    for (const HookReport& hook : agent.attachments->report()) {
        INFO(hook.hook << " " << hook.program);
        CHECK(hook.attached);
        CHECK(order_here(hook).size() == 1);
    }
    CHECK(agent.attachments->totals().node >= 9);
    CHECK(agent.attachments->totals().tunnel == 0);
    for (const char* tunnel : {"wr_bind4", "wr_getsockopt", "wr_tunnel_ops"}) CHECK_FALSE(agent.pins.has_link(tunnel));
}

TEST_CASE("attachments: trap 17, after a restart each hook's program is the new one and no hook was ever empty") {
    KernelLab lab;
    const auto netns = make_netns();
    const uint64_t cookie = must(netns->cookie());
    const Cgroup tunnel = must(open_cgroup(lab.make_cgroup("tunnel")));
    std::map<std::string, std::pair<uint32_t, uint32_t>> before;  // pin -> link, program
    {
        AgentLife first(lab);
        must(first.attachments->attach_pod(cookie, netns));
        must(first.attachments->attach_tunnel(tunnel.id, tunnel.fd.get()));
        for (const std::string& pin : first.pins.links()) {
            const base::Fd link = must(first.pins.get_link(pin));
            before[pin] = {link_id(link), program_in(link)};
        }
        REQUIRE(before.size() > 10);
    }
    const AgentLife second(lab);
    CHECK(second.pins.links().size() == before.size());
    CHECK(second.attachments->totals().replaced == before.size());
    for (const std::string& pin : second.pins.links()) {
        INFO(pin);
        const base::Fd link = must(second.pins.get_link(pin));
        const std::string name = pin.substr(pin.rfind("wr_"));
        const LoadedProgram* program = second.object->program(name);
        REQUIRE(program != nullptr);
        CHECK(program_in(link) == program->id);
        CHECK(program_in(link) != before[pin].second);
        CHECK(link_id(link) == before[pin].first);  // the very link: nothing was detached
    }
    CHECK(second.attachments->pods() == std::vector<uint64_t>{cookie});
    CHECK(second.attachments->tunnels() == std::vector<uint64_t>{tunnel.id});
}

TEST_CASE("attachments: trap 26, what a foreign agent detaches is put back and counted") {
    KernelLab lab;
    const auto netns = make_netns();
    const uint64_t cookie = must(netns->cookie());
    AgentLife agent(lab);
    must(agent.attachments->attach_pod(cookie, netns));
    CHECK(agent.attachments->check().repaired == 0);

    const std::string pod_pin = "pod-" + std::to_string(cookie) + "-wr_sk_lookup";
    for (const std::string& pin : {std::string("wr_connect4"), pod_pin}) {
        const base::Fd link = must(agent.pins.get_link(pin));
        REQUIRE(::bpf_link_detach(link.get()) == 0);
    }
    const base::Fd sockops = must(agent.pins.get_link("wr_sockops"));
    REQUIRE(::unlink(agent.pins.link_path("wr_connect6").c_str()) == 0);

    const CheckReport report = agent.attachments->check();
    CHECK(report.repaired == 3);
    CHECK(report.failed.empty());
    CHECK(agent.attachments->totals().repaired == 3);
    CHECK(agent.attachments->check().repaired == 0);
    for (const HookReport& hook : agent.attachments->report()) CHECK(hook.attached);
    CHECK(program_in(must(agent.pins.get_link(pod_pin))) == agent.object->program("wr_sk_lookup")->id);
    CHECK(agent.pins.has_link("wr_connect6"));
}

TEST_CASE("attachments: a program that somebody put into our link is replaced by ours") {
    KernelLab lab;
    AgentLife agent(lab);
    const base::Fd foreign = foreign_connect4(80, 81);
    const base::Fd link = must(agent.pins.get_link("wr_connect4"));
    REQUIRE(::bpf_link_update(link.get(), foreign.get(), nullptr) == 0);
    CHECK(agent.attachments->check().repaired == 1);
    CHECK(program_in(link) == agent.object->program("wr_connect4")->id);
}

TEST_CASE("attachments: other products' programs on the same hook are listed in order and left alone") {
    KernelLab lab;
    const Cgroup root = must(open_cgroup(lab.cgroup_root()));
    const base::Fd early = foreign_connect4(80, 81), late = foreign_connect4(82, 83);
    const base::Fd early_link(::bpf_link_create(early.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    REQUIRE(early_link);
    {
        const AgentLife agent(lab);
        const base::Fd late_link(::bpf_link_create(late.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
        REQUIRE(late_link);
        for (const HookReport& hook : agent.attachments->report()) {
            if (hook.program != "wr_connect4") continue;
            const auto order = order_here(hook);
            REQUIRE(order.size() == 3);
            CHECK(order[0].name == "foreign_conn4");
            CHECK_FALSE(order[0].ours);
            CHECK(order[1].ours);
            CHECK(order[1].name == "wr_connect4");
            CHECK_FALSE(order[2].ours);
        }
    }
    must(Pins::uninstall(lab.bpffs(), "lab"));
    bpf_link_info info{};
    uint32_t size = sizeof info;
    REQUIRE(::bpf_obj_get_info_by_fd(early_link.get(), &info, &size) == 0);
    CHECK(info.cgroup.cgroup_id == root.id);
}

TEST_CASE("attachments: a hook that another program holds alone is refused with the fix, and nothing stays half attached") {
    KernelLab lab;
    const Cgroup root = must(open_cgroup(lab.cgroup_root()));
    const base::Fd foreign = foreign_connect4(80, 81);
    REQUIRE(::bpf_prog_attach(foreign.get(), root.fd.get(), BPF_CGROUP_INET4_CONNECT, 0) == 0);
    const Pins pins = lab.pins();
    const auto object = must(KernelObject::load(embedded_object(), {}, pins));
    const auto attachments = must(Attachments::create(*object, pins, lab.cgroup_root()));
    const auto started = attachments->start();
    REQUIRE_FALSE(started);
    CHECK(started.error().message().find("holds this hook alone") != std::string::npos);
    CHECK(pins.links().empty());
    for (const HookReport& hook : attachments->report()) CHECK_FALSE(hook.attached);
}

TEST_CASE("attachments: links of a cgroup that was removed are let go") {
    KernelLab lab;
    AgentLife agent(lab);
    const std::string path = lab.make_cgroup("short");
    {
        const Cgroup tunnel = must(open_cgroup(path));
        must(agent.attachments->attach_tunnel(tunnel.id, tunnel.fd.get()));
    }
    const size_t tunnel_links = agent.attachments->totals().tunnel;
    REQUIRE(tunnel_links >= 4);
    REQUIRE(::rmdir(path.c_str()) == 0);
    CHECK(wait_for([&] { return agent.attachments->check().gone > 0 || agent.attachments->totals().tunnel == 0; }));
    CHECK(agent.attachments->totals().tunnel == 0);
    CHECK(agent.attachments->tunnels().empty());
}

TEST_CASE("attachments: uninstall leaves nothing, while an agent still runs or after it") {
    KernelLab lab;
    const auto netns = make_netns();
    const bool running = GENERATE(true, false);
    auto agent = std::make_unique<AgentLife>(lab);
    const uint64_t cookie = must(netns->cookie());
    must(agent->attachments->attach_pod(cookie, netns));
    must(agent->maps.pods.update(cookie, wr_pod{.id = 1, .flags = WR_POD_OUTBOUND, .v4 = {}, .v6 = {}}));
    if (!running) agent.reset();
    must(Pins::uninstall(lab.bpffs(), "lab"));
    CHECK_FALSE(std::filesystem::exists(lab.bpffs() + "/warren"));
    if (running) {
        for (const HookReport& hook : agent->attachments->report()) CHECK_FALSE(hook.attached);
        CHECK(must(agent->maps.pods.count()) == 0);
    }
    must(Pins::uninstall(lab.bpffs(), "lab"));  // again: nothing there is no error
}

TEST_CASE("attachments: trap 20, uninstall and restart touch no other instance") {
    KernelLab lab;
    const AgentLife agent(lab);
    const Pins other = must(Pins::open(lab.bpffs(), "other"));
    const base::Fd map(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 4, 1, nullptr));
    must(other.pin_map("wr_pods", map.get()));
    must(Pins::uninstall(lab.bpffs(), "lab"));
    CHECK(other.has_map("wr_pods"));
    must(Pins::uninstall(lab.bpffs(), "other"));
}
