// SPDX-License-Identifier: Apache-2.0
// A node to test the kernel programs on: the object loaded, a cgroup of its own with an application's, the tunnel's and the kubelet's
// below, a network namespace that plays the node, pods' namespaces routed through it, maps filled by hand. Everything is named by process
// and goes with the Lab. One Lab at a time in a process. Failures of the machinery abort the test by REQUIRE.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/netns.h"
#include "bpf/abi.h"

#include <bpf/libbpf.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace warren::tests::bpf {

constexpr uint16_t kOutbound = 15001, kPlaintext = 15006, kHbone = 15008, kDns = 15053;

wr_addr wire(const base::IpAddr& address);
base::IpAddr address_of(const wr_addr& wire);

// A thread that lives in one cgroup and does what it is told there: sockets belong to the cgroup of the thread that makes them, and the
// programs ask for the cgroup of the thread that connects.
class Actor {
  public:
    Actor() = default;
    ~Actor();
    Actor(const Actor&) = delete;
    Actor& operator=(const Actor&) = delete;
    void start(const std::string& cgroup);
    void stop();
    void run(const std::function<void()>& task);

  private:
    std::mutex mutex_;
    std::condition_variable change_;
    const std::function<void()>* task_ = nullptr;
    bool stop_ = false;
    std::thread thread_;
};

struct Pod {
    base::Netns netns;
    uint64_t cookie;
    uint32_t id;
    base::IpAddr v4, v6;
};

struct LabOptions {
    uint32_t handover_rows = 0;  // 0: the object's own
    uint32_t announced_rows = 0;
    uint32_t ring_bytes = 0;
    std::function<void(bpf_object*)> before_load;
};

constexpr uint32_t kEnrolled = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DNS | WR_POD_DIRECT;

class Lab {
  public:
    explicit Lab(const LabOptions& options = {});
    ~Lab();
    Lab(const Lab&) = delete;
    Lab& operator=(const Lab&) = delete;

    // A pod with an IPv4 and an IPv6 address, enrolled with these flags (0: not in the mesh).
    Pod& pod(uint32_t flags = kEnrolled);
    void enrol(const Pod& pod, uint32_t flags);
    void leave(const Pod& pod);

    wr_config config;  // write, then configure()
    void configure();
    void verdict(const Pod& from, const Pod& to, uint16_t port, uint8_t verdict, uint32_t policy = 0, uint32_t rule = 0);
    void service(const base::SockAddr& at, uint32_t id, uint32_t flags, const std::vector<wr_endpoint_row>& endpoints);

    [[nodiscard]] int map(const char* name) const;
    [[nodiscard]] bpf_program* program(const char* name) const;
    [[nodiscard]] bpf_program* next_program(bpf_program* after) const { return bpf_object__next_program(object_, after); }
    void detach(const char* program);
    void attach(const char* program);
    template <class Key, class Value>
    void put(const char* name, const Key& key, const Value& value) {
        put_raw(name, &key, &value);
    }
    [[nodiscard]] size_t rows(const char* name) const;
    [[nodiscard]] uint64_t stat(wr_stat stat) const;
    // Everything in the ring now.
    std::vector<wr_flow_event> events();
    // Whether the ring's reader is woken now; it is not read.
    bool wait_ring();
    // Runs an iterator in the pod's namespace: the records it wrote.
    std::vector<wr_flow_event> iterate(const char* program, const Pod& pod);

    // Runs in the actor, in that namespace.
    template <class F>
    auto in(Actor& actor, const base::Netns& netns, F f) -> decltype(f()) {
        std::optional<decltype(f())> out;
        actor.run([&] { in_namespace(netns, [&] { out.emplace(f()); }); });
        return std::move(*out);
    }

    Actor app, tunnel, kubelet;
    base::Netns node;
    base::SockAddr outside, outside6;  // of the node's namespace, in no map
    uint64_t tunnel_cgroup = 0;

  private:
    static void in_namespace(const base::Netns& netns, const std::function<void()>& f);
    void put_raw(const char* name, const void* key, const void* value);
    void attach_all();

    std::string cgroup_;
    base::Fd lab_cgroup_, tunnel_cgroup_fd_;
    bpf_object* object_ = nullptr;
    ring_buffer* ring_ = nullptr;
    std::vector<wr_flow_event> events_;
    std::map<std::string, bpf_link*> links_;
    std::map<uint64_t, bpf_link*> lookups_;
    std::vector<std::unique_ptr<Pod>> pods_;
};

// "6.12" of 6.12.117-amd64, and whether the running kernel is that or later.
std::string kernel_series();
bool kernel_is_from(unsigned major, unsigned minor);
base::Netns new_netns();
void ip_batch(const base::Netns& netns, const std::string& lines);

}  // namespace warren::tests::bpf
