// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/lab.h"

#include "tests/catch.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace warren::tests::bpf {

namespace {

std::string cgroup2_mount() {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string device, where, type;
        words >> device >> where >> type;
        if (type == "cgroup2") return where;
    }
    return {};
}

// A link that was just set up carries nothing until the kernel's link watch has run.
bool wait_running(const base::Netns& netns, const std::string& name) {
    bool running = false;
    std::thread([&] {
        (void)base::in_netns(netns, [&]() -> base::Result<void> {
            const base::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            ifreq request{};
            std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
            for (int i = 0; i < 5000 && !running; ++i) {
                running = ::ioctl(fd.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0;
                if (!running) ::poll(nullptr, 0, 1);
            }
            return {};
        });
    }).join();
    return running;
}

void write_file(const std::string& path, const std::string& text) {
    const base::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    INFO(path << " <- " << text);
    REQUIRE(fd.valid());
    REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

int on_event(void* context, void* data, size_t size) {
    wr_flow_event event;
    if (size >= sizeof event) {
        std::memcpy(&event, data, sizeof event);
        static_cast<std::vector<wr_flow_event>*>(context)->push_back(event);
    }
    return 0;
}

int quiet(libbpf_print_level level, const char* format, va_list args) {
    return level == LIBBPF_WARN ? std::vfprintf(stderr, format, args) : 0;
}

}  // namespace

wr_addr wire(const base::IpAddr& address) {
    wr_addr out{};
    for (unsigned i = 0; i < 8; ++i) {
        out.b[i] = static_cast<uint8_t>(address.hi() >> (56 - 8 * i));
        out.b[8 + i] = static_cast<uint8_t>(address.lo() >> (56 - 8 * i));
    }
    return out;
}

base::IpAddr address_of(const wr_addr& wire) { return *base::IpAddr::from_bytes(std::span<const uint8_t>(wire.b, 16)); }

Actor::~Actor() { stop(); }

void Actor::stop() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    change_.notify_all();
    thread_.join();
}

void Actor::start(const std::string& cgroup) {
    thread_ = std::thread([this, cgroup] {
        std::unique_lock lock(mutex_);
        for (;;) {
            change_.wait(lock, [&] { return task_ != nullptr || stop_; });
            if (stop_) return;
            (*task_)();
            task_ = nullptr;
            change_.notify_all();
        }
    });
    pid_t tid = 0;
    const std::function<void()> who = [&] { tid = ::gettid(); };
    run(who);
    write_file(cgroup + "/cgroup.threads", std::to_string(tid));
}

void Actor::run(const std::function<void()>& task) {
    std::unique_lock lock(mutex_);
    task_ = &task;
    change_.notify_all();
    change_.wait(lock, [&] { return task_ == nullptr; });
}

std::string kernel_series() {
    utsname name{};
    ::uname(&name);
    unsigned major = 0, minor = 0;
    REQUIRE(std::sscanf(name.release, "%u.%u", &major, &minor) == 2);
    return std::to_string(major) + "." + std::to_string(minor);
}

bool kernel_is_from(unsigned major, unsigned minor) {
    unsigned has_major = 0, has_minor = 0;
    REQUIRE(std::sscanf(kernel_series().c_str(), "%u.%u", &has_major, &has_minor) == 2);
    return has_major > major || (has_major == major && has_minor >= minor);
}

base::Netns new_netns() {
    std::optional<base::Netns> out;
    std::thread([&] {
        if (::unshare(CLONE_NEWNET) == 0)
            if (auto made = base::Netns::current()) out.emplace(std::move(*made));
    }).join();
    REQUIRE(out.has_value());
    return std::move(*out);
}

void ip_batch(const base::Netns& netns, const std::string& lines) {
    int status = -1;
    std::thread([&] {
        const auto done = base::in_netns(netns, [&]() -> base::Result<void> {
            FILE* ip = ::popen("ip -batch -", "w");
            if (ip == nullptr) return base::os_error("popen");
            std::fputs(lines.c_str(), ip);
            status = ::pclose(ip);
            return {};
        });
        if (!done) status = -1;
    }).join();
    INFO(lines);
    REQUIRE(status == 0);
}

void Lab::in_namespace(const base::Netns& netns, const std::function<void()>& f) {
    const auto done = base::in_netns(netns, [&]() -> base::Result<void> {
        f();
        return {};
    });
    if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
}

Lab::Lab(const LabOptions& options) : config{}, node(new_netns()) {
    require_root();
    libbpf_set_print(quiet);
    const std::string mount = cgroup2_mount();
    REQUIRE(!mount.empty());
    cgroup_ = mount + "/warren-bpf-test-" + std::to_string(::getpid());
    REQUIRE(::mkdir(cgroup_.c_str(), 0755) == 0);
    write_file(cgroup_ + "/cgroup.procs", std::to_string(::getpid()));
    for (const char* name : {"app", "tunnel", "kubelet"}) {
        const std::string path = cgroup_ + "/" + name;
        REQUIRE(::mkdir(path.c_str(), 0755) == 0);
        write_file(path + "/cgroup.type", "threaded");
    }
    app.start(cgroup_ + "/app");
    tunnel.start(cgroup_ + "/tunnel");
    kubelet.start(cgroup_ + "/kubelet");
    lab_cgroup_ = base::Fd(::open(cgroup_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    tunnel_cgroup_fd_ = base::Fd(::open((cgroup_ + "/tunnel").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

    object_ = bpf_object__open_file(WARREN_BUILD_DIR "/bpf/warren.bpf.o", nullptr);
    REQUIRE(object_ != nullptr);
    const auto resize = [&](const char* name, uint32_t entries) {
        if (entries != 0) REQUIRE(bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, name), entries) == 0);
    };
    resize("wr_handover", options.handover_rows);
    resize("wr_announced", options.announced_rows);
    resize("wr_flows", options.ring_bytes);
    if (options.before_load) options.before_load(object_);
    REQUIRE(bpf_object__load(object_) == 0);
    ring_ = ring_buffer__new(map("wr_flows"), on_event, &events_, nullptr);
    REQUIRE(ring_ != nullptr);
    attach_all();

    ip_batch(node, "link set lo up\naddr add 10.77.255.1/32 dev lo\naddr add fd77::ffff/128 dev lo nodad\n");
    std::thread([&] {
        in_namespace(node, [] {
            write_file("/proc/sys/net/ipv4/ip_forward", "1");
            write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
            write_file("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
        });
    }).join();
    outside = *base::SockAddr::parse("10.77.255.1:80");
    outside6 = *base::SockAddr::parse("[fd77::ffff]:80");
    config = {.abi_version = WARREN_ABI_VERSION,
              .flags = WR_CONFIG_REDIRECT | WR_CONFIG_DIRECT | WR_CONFIG_FLOWS,
              .host_netns = *node.cookie(),
              .port_outbound = kOutbound,
              .port_plaintext = kPlaintext,
              .port_hbone = kHbone,
              .port_dns = kDns,
              .ring_wakeup_bytes = 65536,
              .pad = 0};
    configure();
    struct stat at{};
    REQUIRE(::fstat(tunnel_cgroup_fd_.get(), &at) == 0);
    tunnel_cgroup = at.st_ino;
    const uint32_t one = 1;
    put("wr_tunnels", uint64_t{at.st_ino}, one);
    REQUIRE(::stat((cgroup_ + "/kubelet").c_str(), &at) == 0);
    put("wr_kubelets", uint64_t{at.st_ino}, one);
}

Lab::~Lab() {
    app.stop();
    tunnel.stop();
    kubelet.stop();
    for (auto& [name, link] : links_) bpf_link__destroy(link);
    for (auto& [cookie, link] : lookups_) bpf_link__destroy(link);
    ring_buffer__free(ring_);
    bpf_object__close(object_);
    // Back to the root; then the folders are empty.
    const base::Fd procs(::open((cgroup_ + "/../cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    const std::string me = std::to_string(::getpid());
    (void)!::write(procs.get(), me.data(), me.size());
    for (const char* name : {"/app", "/tunnel", "/kubelet", ""}) (void)::rmdir((cgroup_ + name).c_str());
}

void Lab::attach_all() {
    for (const char* name : {"wr_connect4", "wr_connect6", "wr_peername4", "wr_peername6", "wr_sendmsg4", "wr_sendmsg6", "wr_recvmsg4",
                             "wr_recvmsg6", "wr_create", "wr_sockops", "wr_bind4", "wr_bind6", "wr_getsockopt", "wr_tunnel_ops"})
        attach(name);
}

void Lab::attach(const char* name) {
    const std::string text = name;
    const bool tunnels = text == "wr_bind4" || text == "wr_bind6" || text == "wr_getsockopt" || text == "wr_tunnel_ops";
    bpf_link* link = bpf_program__attach_cgroup(program(name), tunnels ? tunnel_cgroup_fd_.get() : lab_cgroup_.get());
    INFO(name);
    REQUIRE(link != nullptr);
    links_[text] = link;
}

void Lab::detach(const char* name) {
    bpf_link__destroy(links_.at(name));
    links_.erase(name);
}

int Lab::map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

bpf_program* Lab::program(const char* name) const { return bpf_object__find_program_by_name(object_, name); }

void Lab::put_raw(const char* name, const void* key, const void* value) {
    INFO(name);
    REQUIRE(bpf_map_update_elem(map(name), key, value, BPF_ANY) == 0);
}

void Lab::configure() { put("wr_config", uint32_t{0}, config); }

Pod& Lab::pod(uint32_t flags) {
    const auto n = static_cast<uint32_t>(pods_.size() + 1);
    const auto v4 = base::IpAddr::v4(0x0a4d0000 + n);
    const auto v6 = base::IpAddr::from_number(0xfd77'0000'0000'0000, n);
    pods_.push_back(std::make_unique<Pod>(Pod{new_netns(), 0, n, v4, v6}));
    Pod& pod = *pods_.back();
    pod.cookie = *pod.netns.cookie();
    const std::string veth = "v" + std::to_string(n);
    const std::string peer = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod.netns.fd());
    std::ostringstream lines;
    lines << "link add " << veth << " type veth peer name eth0 netns " << peer << "\naddr add 169.254.1.1/32 dev " << veth
          << "\naddr add fe80::1/64 dev " << veth << " nodad\nlink set " << veth << " up\nroute add " << v4.to_string() << "/32 dev "
          << veth << "\nroute add " << v6.to_string() << "/128 dev " << veth << "\n";
    ip_batch(node, lines.str());
    ip_batch(pod.netns, "link set lo up\naddr add " + v4.to_string() + "/32 dev eth0\naddr add " + v6.to_string() +
                            "/128 dev eth0 nodad\nlink set eth0 up\nroute add 169.254.1.1/32 dev eth0\nroute add default via 169.254.1.1\n"
                            "route add default via fe80::1 dev eth0\n");
    REQUIRE(wait_running(pod.netns, "eth0"));
    REQUIRE(wait_running(node, veth));
    if (flags != 0) enrol(pod, flags);
    return pod;
}

void Lab::enrol(const Pod& pod, uint32_t flags) {
    wr_pod row{.id = pod.id, .flags = flags, .v4 = wire(pod.v4), .v6 = wire(pod.v6)};
    put("wr_pods", pod.cookie, row);
    const wr_local local{.netns = pod.cookie, .id = pod.id, .flags = flags};
    put("wr_addrs", row.v4, local);
    put("wr_addrs", row.v6, local);
    if (lookups_.count(pod.cookie) != 0 || flags == WR_POD_OBSERVED) return;
    bpf_link* link = bpf_program__attach_netns(program("wr_sk_lookup"), pod.netns.fd());
    REQUIRE(link != nullptr);
    lookups_[pod.cookie] = link;
}

void Lab::leave(const Pod& pod) {
    const wr_addr v4 = wire(pod.v4), v6 = wire(pod.v6);
    bpf_map_delete_elem(map("wr_addrs"), &v4);
    bpf_map_delete_elem(map("wr_addrs"), &v6);
    bpf_map_delete_elem(map("wr_pods"), &pod.cookie);
    if (auto found = lookups_.find(pod.cookie); found != lookups_.end()) {
        bpf_link__destroy(found->second);
        lookups_.erase(found);
    }
}

void Lab::verdict(const Pod& from, const Pod& to, uint16_t port, uint8_t verdict, uint32_t policy, uint32_t rule) {
    put("wr_verdicts", wr_verdict_key{from.id, to.id, port, 0}, wr_verdict_row{verdict, 7, 0, policy, rule});
}

void Lab::service(const base::SockAddr& at, uint32_t id, uint32_t flags, const std::vector<wr_endpoint_row>& endpoints) {
    for (uint32_t i = 0; i < endpoints.size(); ++i) put("wr_endpoints", wr_endpoint_key{id, i}, endpoints[i]);
    put("wr_services", wr_service_key{wire(at.ip), at.port, 0}, wr_service_row{id, static_cast<uint32_t>(endpoints.size()), flags});
}

size_t Lab::rows(const char* name) const {
    std::vector<uint8_t> key(256), next(256);
    size_t n = 0;
    for (const void* at = nullptr; bpf_map_get_next_key(map(name), at, next.data()) == 0; at = key.data(), ++n) key = next;
    return n;
}

uint64_t Lab::stat(wr_stat stat) const {
    std::vector<uint64_t> slots(static_cast<size_t>(libbpf_num_possible_cpus()));
    const uint32_t key = stat;
    REQUIRE(bpf_map_lookup_elem(map("wr_stats"), &key, slots.data()) == 0);
    uint64_t sum = 0;
    for (const uint64_t s : slots) sum += s;
    return sum;
}

std::vector<wr_flow_event> Lab::events() {
    ring_buffer__consume(ring_);
    return std::exchange(events_, {});
}

bool Lab::wait_ring() {
    pollfd p{ring_buffer__epoll_fd(ring_), POLLIN, 0};
    return ::poll(&p, 1, 1000) == 1;
}

std::vector<wr_flow_event> Lab::iterate(const char* name, const Pod& pod) {
    std::vector<wr_flow_event> out;
    bpf_link* link = bpf_program__attach_iter(program(name), nullptr);
    REQUIRE(link != nullptr);
    std::thread([&] {
        in_namespace(pod.netns, [&] {
            const base::Fd fd(bpf_iter_create(bpf_link__fd(link)));
            wr_flow_event event;
            std::string bytes(65536, '\0');
            std::string all;
            for (ssize_t n; (n = ::read(fd.get(), bytes.data(), bytes.size())) > 0;) all.append(bytes.data(), static_cast<size_t>(n));
            for (size_t i = 0; i + sizeof event <= all.size(); i += sizeof event) {
                std::memcpy(&event, all.data() + i, sizeof event);
                out.push_back(event);
            }
        });
    }).join();
    bpf_link__destroy(link);
    return out;
}

}  // namespace warren::tests::bpf
