// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kernel_object.h"

#include "agent/node/features.h"
#include "agent/node/map_rows.h"
#include "tests/agent/node/kernel_lab.h"
#include "tests/catch.h"

#include <bpf/bpf.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>
#include <set>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

namespace {

const MapReport& report_of(const KernelObject& object, const std::string& name) {
    for (const MapReport& report : object.maps())
        if (report.name == name) return report;
    FAIL(name);
    std::abort();
}

// Every row of every map that the agent configures, as bytes.
std::map<std::string, std::set<std::pair<std::string, std::string>>> effective(const KernelObject& object) {
    std::map<std::string, std::set<std::pair<std::string, std::string>>> out;
    for (const char* name :
         {"wr_config", "wr_pods", "wr_addrs", "wr_tunnels", "wr_kubelets", "wr_ranges", "wr_verdicts", "wr_services", "wr_endpoints"}) {
        bpf_map_info info{};
        uint32_t size = sizeof info;
        const int fd = must(object.map_fd(name));
        REQUIRE(::bpf_obj_get_info_by_fd(fd, &info, &size) == 0);
        const RawMap map = must(RawMap::bind(name, fd, info.key_size, info.value_size));
        std::vector<std::byte> keys, values;
        const size_t rows = must(map.read(keys, &values));
        for (size_t i = 0; i < rows; ++i)
            out[name].emplace(std::string(reinterpret_cast<const char*>(keys.data()) + i * info.key_size, info.key_size),
                              std::string(reinterpret_cast<const char*>(values.data()) + i * info.value_size, info.value_size));
    }
    return out;
}

base::IpAddr ip(const char* text) { return must(base::IpAddr::parse(text)); }
base::Cidr cidr(const char* text) { return must(base::Cidr::parse(text)); }

void fill(const Maps& maps) {
    must(maps.configure({.abi_version = 0,
                         .flags = WR_CONFIG_REDIRECT | WR_CONFIG_DIRECT,
                         .host_netns = 7,
                         .port_outbound = 15001,
                         .port_plaintext = 15006,
                         .port_hbone = 15008,
                         .port_dns = 15053,
                         .ring_wakeup_bytes = 65536,
                         .pad = 0}));
    must(maps.pods.update(4711, wr_pod{.id = 3, .flags = WR_POD_OUTBOUND, .v4 = to_row(ip("10.0.0.3")), .v6 = to_row(ip("fd00::3"))}));
    must(maps.addrs.update(to_row(ip("10.0.0.3")), wr_local{.netns = 4711, .id = 3, .flags = WR_POD_OUTBOUND}));
    must(maps.tunnels.update(99, 1));
    must(maps.kubelets.update(98, 1));
    const std::vector<base::Cidr> ranges = {cidr("10.0.0.0/8"), cidr("fd00::/8")};
    must(maps.set_ranges(ranges));
    must(maps.verdicts.update({.source = 3, .destination = 4, .port = 80, .pad = 0},
                              {.verdict = WR_VERDICT_ALLOW, .reason = 1, .pad = 0, .policy = 2, .rule = 3}));
    must(maps.services.update({.address = to_row(ip("10.96.0.1")), .port = 443, .pad = 0},
                              {.id = 1, .count = 1, .flags = WR_SERVICE_UNIFORM}));
    must(maps.endpoints.update({.service = 1, .index = 0},
                               {.address = to_row(ip("10.0.0.3")), .threshold = ~0u, .alias = 0, .port = 80, .pad = 0}));
}

}  // namespace

TEST_CASE("kernel object: loads, and every map has the rows of abi.h") {
    KernelLab lab;
    const AgentLife agent(lab);
    CHECK(agent.object->programs().size() >= 15);
    CHECK(report_of(*agent.object, "wr_pods").how == MapReport::How::Made);
    for (const MapReport& report : agent.object->maps()) {
        INFO(report.name);
        CHECK(agent.pins.has_map(report.name));
        CHECK(report.id != 0);
    }
    const StatCounts stats = must(agent.maps.stats());
    CHECK(stats[WR_STAT_CONNECT_TUNNEL] == 0);
    CHECK_FALSE(must(agent.maps.handover_occupancy()).alarm());
}

TEST_CASE("kernel object: trap 18, a restart loses nothing of the effective configuration") {
    KernelLab lab;
    std::map<std::string, std::set<std::pair<std::string, std::string>>> before;
    std::map<std::string, uint32_t> ids;
    {
        const AgentLife first(lab);
        fill(first.maps);
        before = effective(*first.object);
        for (const MapReport& report : first.object->maps()) ids[report.name] = report.id;
    }
    REQUIRE(before.size() == 9);
    const AgentLife second(lab);
    CHECK(effective(*second.object) == before);
    for (const MapReport& report : second.object->maps()) {
        INFO(report.name);
        CHECK(report.how == MapReport::How::Adopted);
        CHECK(report.id == ids[report.name]);  // the very map: also what the kernel writes
    }
}

TEST_CASE("kernel object: a map of another size moves with its rows when only the agent writes it, else keeps its size") {
    KernelLab lab;
    std::map<std::string, std::set<std::pair<std::string, std::string>>> before;
    {
        const AgentLife first(lab, {.map_entries = {{"wr_pods", 512}, {"wr_handover", 1024}, {"wr_verdicts", 1000}, {"wr_ranges", 128}}});
        fill(first.maps);
        before = effective(*first.object);
    }
    const AgentLife second(lab, {.map_entries = {{"wr_pods", 1024}, {"wr_handover", 4096}, {"wr_verdicts", 2000}, {"wr_ranges", 256}}});
    CHECK(effective(*second.object) == before);
    const MapReport& pods = report_of(*second.object, "wr_pods");
    CHECK(pods.how == MapReport::How::Migrated);
    CHECK(second.maps.pods.raw().capacity() == 1024);
    CHECK(second.maps.ranges.raw().capacity() == 256);
    const MapReport& handover = report_of(*second.object, "wr_handover");
    CHECK(handover.how == MapReport::How::Adopted);
    CHECK(handover.entries == 1024);
    CHECK(handover.wanted == 4096);
    CHECK(second.maps.handover.raw().capacity() == 1024);
    // The pin is the new map's: the next agent finds it.
    const AgentLife third(lab, {.map_entries = {{"wr_pods", 1024}, {"wr_verdicts", 2000}, {"wr_ranges", 256}}});
    CHECK(effective(*third.object) == before);
    CHECK(report_of(*third.object, "wr_pods").how == MapReport::How::Adopted);
}

TEST_CASE("kernel object: a map with other rows is refused by name, with the way out, and nothing changes") {
    KernelLab lab;
    const Pins pins = lab.pins();
    struct Case {
        const char* map;
        bpf_map_type type;
        uint32_t key, value;
        const char* says;
    };
    const Case wrong = GENERATE(Case{"wr_pods", BPF_MAP_TYPE_HASH, 8, 48, "value's size is 48, this agent was built for 40"},
                                Case{"wr_verdicts", BPF_MAP_TYPE_HASH, 16, 12, "key's size is 16"},
                                Case{"wr_handover", BPF_MAP_TYPE_LRU_HASH, 32, 56, "kind is lru_hash"});
    const base::Fd map(::bpf_map_create(wrong.type, wrong.map, wrong.key, wrong.value, 16, nullptr));
    REQUIRE(map);
    must(pins.pin_map(wrong.map, map.get()));
    const auto object = KernelObject::load(embedded_object(), {}, pins);
    REQUIRE_FALSE(object);
    const std::string message = object.error().message();
    INFO(message);
    CHECK(message.find(wrong.says) != std::string::npos);
    CHECK(message.find(pins.map_path(wrong.map)) != std::string::npos);
    CHECK(message.find("uninstall --instance lab") != std::string::npos);
    CHECK(pins.maps() == std::vector<std::string>{wrong.map});
}

TEST_CASE("kernel object: rows of another version are refused") {
    KernelLab lab;
    {
        const AgentLife first(lab);
        wr_config row{};
        row.abi_version = WARREN_ABI_VERSION + 1;
        must(first.maps.config.update(0, row));
    }
    const Pins pins = lab.pins();
    const auto object = KernelObject::load(embedded_object(), {}, pins);
    REQUIRE_FALSE(object);
    const std::string wanted = "wr_config: its rows are of version " + std::to_string(WARREN_ABI_VERSION + 1) +
                               ", this agent reads version " + std::to_string(WARREN_ABI_VERSION);
    CHECK_THAT(object.error().message(), Catch::Contains(wanted));
}

TEST_CASE("kernel object: bytes that are no object are refused") {
    KernelLab lab;
    const Pins pins = lab.pins();
    const std::vector<uint8_t> nonsense(4096, 0x5a);
    const auto object = KernelObject::load(nonsense, {}, pins);
    REQUIRE_FALSE(object);
    CHECK(object.error().message().find("warren.bpf.o") != std::string::npos);
    CHECK(pins.maps().empty());
}

TEST_CASE("kernel object: what the kernel says about a refused object is kept in a file") {
    KernelLab lab;
    const Pins pins = lab.pins();
    const std::string log = lab.directory() + "/verifier.log";
    const auto object = KernelObject::load(embedded_object(), {.map_entries = {{"wr_listeners", ~0u}}, .verifier_log = log}, pins);
    REQUIRE_FALSE(object);
    CHECK(object.error().message().find(log) != std::string::npos);
    std::ifstream in(log);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    CHECK(text.find("wr_listeners") != std::string::npos);
    CHECK(pins.maps().empty());
    const auto unknown = KernelObject::load(embedded_object(), {.map_entries = {{"wr_nonsense", 1}}}, pins);
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().message().find("wr_nonsense") != std::string::npos);
}

TEST_CASE("kernel object: missing capabilities are named before the kernel says EPERM") {
    KernelLab lab;
    const Pins pins = lab.pins();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        const std::array<__user_cap_data_struct, 2> none{};
        if (::syscall(SYS_capset, &header, none.data()) != 0) ::_exit(2);
        const auto object = KernelObject::load(embedded_object(), {}, pins);
        const bool named = !object && object.error().message().find("lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN") != std::string::npos;
        ::_exit(named ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("kernel object: a pin that somebody removes is put back") {
    KernelLab lab;
    const AgentLife agent(lab);
    REQUIRE(::unlink(agent.pins.map_path("wr_pods").c_str()) == 0);
    CHECK(must(agent.object->repair_pins(agent.pins)) == 1);
    CHECK(agent.pins.has_map("wr_pods"));
    CHECK(must(agent.object->repair_pins(agent.pins)) == 0);
}

TEST_CASE("maps: batches, ranges and rows come back as written; a full map says so") {
    KernelLab lab;
    const AgentLife agent(lab, {.map_entries = {{"wr_verdicts", 8192}}});
    std::vector<wr_verdict_key> keys;
    std::vector<wr_verdict_row> rows;
    for (uint32_t i = 0; i < 6000; ++i) {
        keys.push_back({.source = i, .destination = i + 1, .port = 80, .pad = 0});
        rows.push_back({.verdict = WR_VERDICT_DENY, .reason = 0, .pad = 0, .policy = i, .rule = 0});
    }
    must(agent.maps.verdicts.update(keys, rows));
    CHECK(must(agent.maps.verdicts.count()) == 6000);
    CHECK(must(agent.maps.verdicts.lookup(keys[4242]))->policy == 4242);
    must(agent.maps.verdicts.erase(std::span<const wr_verdict_key>(keys).first(5999)));
    must(agent.maps.verdicts.erase(std::span<const wr_verdict_key>(keys)));  // most of them are not there any more
    CHECK(must(agent.maps.verdicts.count()) == 0);

    const std::vector<base::Cidr> first = {cidr("10.0.0.0/8"), cidr("10.1.0.0/16"), cidr("fd00::/8")};
    must(agent.maps.set_ranges(first));
    CHECK(must(agent.maps.ranges.count()) == 3);
    const std::vector<base::Cidr> second = {cidr("10.1.0.0/16")};
    must(agent.maps.set_ranges(second));
    const auto left = must(agent.maps.ranges.rows());
    REQUIRE(left.size() == 1);
    CHECK(left[0].first.prefix_bits == 112);

    std::vector<wr_verdict_key> too_many;
    std::vector<wr_verdict_row> their_rows(9000);
    for (uint32_t i = 0; i < 9000; ++i) too_many.push_back({.source = i, .destination = 1, .port = 0, .pad = 0});
    const auto full = agent.maps.verdicts.update(too_many, their_rows);
    REQUIRE_FALSE(full);
    CHECK(full.error().code == base::Errc::Exhausted);
    CHECK(full.error().message().find("wr_verdicts is full (8192 rows)") != std::string::npos);
}

TEST_CASE("maps: an alarm when connections in flight fill half of the hand-over map") {
    KernelLab lab;
    const AgentLife agent(lab, {.map_entries = {{"wr_handover", 64}, {"wr_announced", 64}}});
    for (uint16_t i = 0; i < 31; ++i)
        must(agent.maps.handover.update({.netns = 1, .source = {}, .source_port = i, .destination_port = 0, .pad = 0}, wr_handover{}));
    CHECK_FALSE(must(agent.maps.handover_occupancy()).alarm());
    must(agent.maps.handover.update({.netns = 1, .source = {}, .source_port = 31, .destination_port = 0, .pad = 0}, wr_handover{}));
    CHECK(must(agent.maps.handover_occupancy()).used == 32);
    CHECK(must(agent.maps.handover_occupancy()).alarm());
    CHECK_FALSE(must(agent.maps.announced_occupancy()).alarm());
}

TEST_CASE("features: this kernel has what redirection needs, and each absence says why") {
    KernelLab lab;
    const Features features = probe_features({.bpffs = lab.bpffs(), .cgroup2_root = {}});
    must(features.sufficient());
    CHECK_FALSE(features.kernel.empty());
    CHECK(features.has("set_retval"));
    for (const Feature& f : features.all) CHECK((f.available == f.used || !f.why_not.empty()));

    const Features without = probe_features({.bpffs = lab.directory(), .cgroup2_root = {}});
    REQUIRE_FALSE(without.sufficient());
    CHECK(without.sufficient().error().message().find("bpffs") != std::string::npos);
}

TEST_CASE("features: on a kernel before 6.5 the judging program is left out and the listing one stays") {
    Features old;
    old.all = {{.name = "tcp_iterator", .available = true}, {.name = "sock_destroy", .available = false, .why_not = "needs Linux 6.5"}};
    const auto out = old.programs_to_leave_out();
    CHECK(out.size() == 1);
    CHECK(out.contains("wr_iter_judge"));
    KernelLab lab;
    const AgentLife agent(lab, {.leave_out = out});
    CHECK(agent.object->program("wr_iter_judge") == nullptr);
    CHECK(agent.object->program("wr_iter_list") != nullptr);
}
