// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cgroups.h"

#include "agent/node/kubelet_cgroup.h"
#include "agent/node/tunnel_cgroup.h"
#include "tests/agent/node/kernel_lab.h"
#include "tests/catch.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;

TEST_CASE("cgroups: a process's cgroup is found, by name and by id, with its members") {
    KernelLab lab;
    const std::string path = lab.make_cgroup("one two");
    const std::string root = must(find_cgroup2());
    uint64_t id = 0;
    {
        IdleProcess process({.cgroup = path});
        const Cgroup cgroup = must(cgroup_of(process.pid(), root));
        CHECK(cgroup.path == path);
        CHECK(members_of(cgroup) == std::vector<pid_t>{process.pid()});
        id = cgroup.id;
        CHECK(must(cgroup_by_id(id, root)).path == path);
        // A mount that does not begin where the kernel's names do, as in a container: found by looking.
        CHECK(must(cgroup_of(process.pid(), lab.cgroup_root())).id == id);
    }
    CHECK(wait_for([&] { return members_of(must(open_cgroup(path))).empty(); }));
    REQUIRE(::rmdir(path.c_str()) == 0);
    const auto gone = cgroup_by_id(id, root);
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == base::Errc::NotFound);
    CHECK_FALSE(open_cgroup("/tmp"));
    CHECK_FALSE(cgroup_of(1 << 22, root));
}

TEST_CASE("tunnel cgroup: exempt while it is connected or alive, with its hooks, and not longer") {
    KernelLab lab;
    AgentLife agent(lab);
    TunnelCgroups tunnels(lab.cgroup_root(), agent.maps, *agent.attachments);
    const std::string path = lab.make_cgroup("tunnel");
    IdleProcess old_tunnel({.cgroup = path}), new_tunnel({.cgroup = path});
    const uint64_t id = must(tunnels.connected(old_tunnel.pid()));
    CHECK(must(tunnels.connected(new_tunnel.pid())) == id);
    CHECK(must(agent.maps.tunnels.lookup(id)));
    CHECK(agent.attachments->tunnels() == std::vector<uint64_t>{id});
    CHECK(agent.attachments->totals().tunnel >= 4);

    tunnels.disconnected(id);
    old_tunnel.end();
    CHECK(must(agent.maps.tunnels.lookup(id)));
    tunnels.disconnected(id);  // draining: its process still dials
    CHECK(must(agent.maps.tunnels.lookup(id)));
    REQUIRE(tunnels.report().size() == 1);
    CHECK(tunnels.report()[0].processes == std::vector<pid_t>{new_tunnel.pid()});
    CHECK_FALSE(tunnels.report()[0].shared);
    new_tunnel.end();
    CHECK(wait_for([&] {
        tunnels.tick();
        return !must(agent.maps.tunnels.lookup(id));
    }));
    CHECK(agent.attachments->totals().tunnel == 0);
    CHECK(tunnels.report().empty());
}

TEST_CASE("tunnel cgroup: the root cgroup is refused with the fix; strangers in a tunnel's are reported") {
    KernelLab lab;
    AgentLife agent(lab);
    TunnelCgroups tunnels(lab.cgroup_root(), agent.maps, *agent.attachments);
    IdleProcess at_root({.cgroup = lab.cgroup_root()});
    const auto refused = tunnels.connected(at_root.pid());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("start the tunnel in a cgroup of its own") != std::string::npos);
    CHECK(must(agent.maps.tunnels.count()) == 0);
    CHECK(agent.attachments->tunnels().empty());

    const std::string path = lab.make_cgroup("shared");
    IdleProcess tunnel({.cgroup = path}), stranger({.cgroup = path, .program = "/bin/cat"});
    must(tunnels.connected(tunnel.pid()));
    REQUIRE(tunnels.report().size() == 1);
    CHECK(tunnels.report()[0].shared);
}

TEST_CASE("tunnel cgroup: a new agent keeps a living tunnel's cgroup and lets an ended one go") {
    KernelLab lab;
    const std::string alive_path = lab.make_cgroup("alive"), dead_path = lab.make_cgroup("dead"), removed_path = lab.make_cgroup("removed");
    IdleProcess alive({.cgroup = alive_path});
    uint64_t alive_id = 0;
    {
        AgentLife first(lab);
        TunnelCgroups tunnels(lab.cgroup_root(), first.maps, *first.attachments);
        IdleProcess dead({.cgroup = dead_path}), removed({.cgroup = removed_path});
        alive_id = must(tunnels.connected(alive.pid()));
        must(tunnels.connected(dead.pid()));
        must(tunnels.connected(removed.pid()));
    }
    REQUIRE(wait_for([&] { return ::rmdir(removed_path.c_str()) == 0; }));
    AgentLife second(lab);
    TunnelCgroups tunnels(lab.cgroup_root(), second.maps, *second.attachments);
    must(tunnels.adopt());
    CHECK(must(second.maps.tunnels.count()) == 1);
    CHECK(must(second.maps.tunnels.lookup(alive_id)));
    CHECK(second.attachments->tunnels() == std::vector<uint64_t>{alive_id});
    CHECK(must(tunnels.connected(alive.pid())) == alive_id);
}

TEST_CASE("tunnel cgroup: the kernel names the peer") {
    require_root();
    auto pair = must(base::make_socket_pair(SOCK_SEQPACKET));
    CHECK(must(peer_pid(pair.first.get())) == ::getpid());
}

TEST_CASE("kubelet cgroup: trap 27, found by its executable in the node's namespace, outside of pods, and let go with it") {
    KernelLab lab;
    AgentLife agent(lab);
    const NodeNetns node = must(NodeNetns::of_this_node("/proc/self/ns/net"));
    const std::string program = lab.directory() + "/kubelet-" + std::to_string(::getpid());
    std::filesystem::copy_file("/bin/cat", program);
    const std::string name = program.substr(program.rfind('/') + 1);
    const std::string path = lab.make_cgroup("kubelet.service"), pods = lab.make_cgroup("kubepods"), other = lab.make_cgroup("other");
    KubeletCgroup kubelets({.programs = {name}}, lab.cgroup_root(), agent.maps, node);
    // A pod may run a program of that name: inside a pod's cgroup, or in a namespace of its own, it is none.
    IdleProcess in_pod({.cgroup = pods, .program = program}), in_netns({.cgroup = other, .own_netns = true, .program = program});
    const auto none = kubelets.refresh();
    REQUIRE_FALSE(none);
    CHECK(none.error().code == base::Errc::NotFound);
    CHECK(must(agent.maps.kubelets.count()) == 0);
    {
        IdleProcess kubelet({.cgroup = path, .program = program});
        must(kubelets.refresh());
        REQUIRE(kubelets.report().size() == 1);
        CHECK(kubelets.report()[0].cgroup == path);
        CHECK(kubelets.report()[0].shared_with.empty());
        CHECK(must(agent.maps.kubelets.lookup(kubelets.report()[0].id)));
        IdleProcess shim({.cgroup = path, .program = "/bin/cat"});  // as in k3s
        must(kubelets.refresh());
        CHECK(kubelets.report()[0].shared_with == std::vector<std::string>{"cat"});
    }
    CHECK(wait_for([&] { return !kubelets.refresh(); }));
    CHECK(must(agent.maps.kubelets.count()) == 0);
}

TEST_CASE("kubelet cgroup: a configured one is taken, the root never") {
    KernelLab lab;
    AgentLife agent(lab);
    const NodeNetns node = must(NodeNetns::of_this_node("/proc/self/ns/net"));
    const std::string path = lab.make_cgroup("named");
    KubeletCgroup by_name({.cgroup = "named"}, lab.cgroup_root(), agent.maps, node);
    must(by_name.refresh());
    CHECK(by_name.report()[0].program == "configured");
    CHECK(by_name.report()[0].cgroup == path);
    CHECK(must(agent.maps.kubelets.count()) == 1);
    KubeletCgroup root({.cgroup = lab.cgroup_root()}, lab.cgroup_root(), agent.maps, node);
    const auto refused = root.refresh();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("root cgroup") != std::string::npos);
    CHECK(must(agent.maps.kubelets.count()) == 0);
}

TEST_CASE("cgroups: of a container's own cgroup2 and the host's, the host's is taken") {
    const std::string path = std::filesystem::temp_directory_path() / ("warren-mountinfo-" + std::to_string(::getpid()));
    const auto found = [&path](const char* text) {
        std::ofstream(path) << text;
        return must(find_cgroup2(path));
    };
    // As in a pod of a host with cgroup2 alone: a namespace of its own, whose root is the pod's cgroup.
    CHECK(found("1 0 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
                "2 0 0:26 /../../../.. /host/sys/fs/cgroup ro master:9 - cgroup2 cgroup2 rw\n") == "/host/sys/fs/cgroup");
    // As in a pod of a hybrid host: no namespace, and the tree is below.
    CHECK(found("1 0 0:30 / /host/sys/fs/cgroup ro - tmpfs cgroup rw\n"
                "2 0 0:26 / /host/sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n") == "/host/sys/fs/cgroup/unified");
    CHECK(found("1 0 0:26 /pods/a /sys/fs/cgroup ro - cgroup2 cgroup rw\n2 0 0:26 / /host ro - cgroup2 c rw\n") == "/host");
    std::filesystem::remove(path);
}
