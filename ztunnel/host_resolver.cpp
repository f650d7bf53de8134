// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/host_resolver.h"

#include "base/bytes.h"
#include "policy/random.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <map>
#include <thread>
#include <unordered_map>

#include <ares.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/random.h>

namespace warren::ztunnel {

namespace {

constexpr auto kMaxTtl = std::chrono::seconds(3600);
constexpr int kTries = 2;
constexpr size_t kMaxAddresses = 64;  // of one name

// ares_library_init() is not for several threads at once; a function's static is.
int init_library() {
    static const int status = ares_library_init(ARES_LIB_INIT_ALL);
    return status;
}

base::Error ares_error(int status, const std::string& name) {
    const auto code = status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME ? base::Errc::NotFound
                      : status == ARES_ETIMEOUT                                                     ? base::Errc::Timeout
                                                                                                    : base::Errc::Unavailable;
    return {code, 0, "resolve", base::quoted(name) + ": " + ares_strerror(status)};
}

// RFC 1035 2.3.4, and nothing that no host is called.
bool is_name(std::string_view name) {
    if (name.empty() || name.size() > 253) return false;
    for (size_t label = 0; label <= name.size();) {
        const size_t end = std::min(name.find('.', label), name.size());
        if (end == label || end - label > 63) return false;
        label = end + 1;
    }
    return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string normal(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::string out(name);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

}  // namespace

// Everything but the counters belongs to the resolver's thread.
class HostResolver::Engine {
  public:
    explicit Engine(Options options);
    ~Engine();
    base::Result<void> start();
    void ask(std::string_view hostname, Prefer prefer, base::Loop& loop, Done done);
    [[nodiscard]] Stats stats() const;

  private:
    struct Asker {
        base::Loop* loop;
        Prefer prefer;
        std::shared_ptr<Done> done;
    };
    struct Lookup {
        Lookup(Engine& engine, std::string host)
            : owner(engine), name(std::move(host)), patience(base::Timer::of<&Lookup::impatient>(*this)) {}
        void impatient() {
            owner.answer(*this, base::Error{base::Errc::Timeout, 0, "resolve", base::quoted(name) + ": no answer in time"});
        }
        Engine& owner;
        std::string name;
        std::vector<Asker> askers;
        base::Timer patience;
    };
    struct Socket final : base::IoHandler {
        Socket(Engine& engine, int socket) : owner(engine), fd(socket) {}
        void on_io(uint32_t events) override { owner.process(fd, events); }
        Engine& owner;
        int fd;
    };
    struct Cached {
        std::string name;
        std::vector<base::IpAddr> addresses;
        base::MonoTime until;
    };

    void begin(const std::string& name, Asker asker);
    void answer(Lookup& lookup, const base::Result<std::vector<base::IpAddr>>& result);
    void tell(const Asker& asker, base::Result<base::IpAddr> result);
    [[nodiscard]] base::IpAddr choose(const std::vector<base::IpAddr>& addresses, Prefer prefer);
    const std::vector<base::IpAddr>* cached(const std::string& name);
    void keep(const std::string& name, std::vector<base::IpAddr> addresses, std::chrono::seconds ttl);
    void found(Lookup& lookup, const ares_addrinfo& info);
    void socket_changed(int fd, bool read, bool write);
    void process(int fd, uint32_t events);
    void on_tick();
    void arm_tick();
    static void on_socket(void* self, ares_socket_t fd, int read, int write);
    static void on_result(void* lookup, int status, int timeouts, ares_addrinfo* info);

    Options options_;
    std::unique_ptr<base::Loop> loop_;
    ares_channel channel_ = nullptr;
    policy::Random random_;
    base::Timer tick_;
    std::map<int, std::unique_ptr<Socket>> sockets_;
    std::map<std::string, std::unique_ptr<Lookup>> lookups_;
    std::list<Cached> cache_;  // the last used first
    std::unordered_map<std::string_view, std::list<Cached>::iterator> by_name_;
    size_t waiting_ = 0;
    std::atomic<uint64_t> hits_ = 0, refused_ = 0, lost_ = 0;
    std::atomic<size_t> cached_ = 0;
    std::thread thread_;
};

HostResolver::Engine::Engine(Options options)
    : options_(std::move(options)),
      random_([] {
          uint64_t seed = 0;
          (void)::getrandom(&seed, sizeof seed, 0);
          return seed;
      }()),
      tick_(base::Timer::of<&Engine::on_tick>(*this)) {}

base::Result<void> HostResolver::Engine::start() {
    if (const int status = init_library(); status != ARES_SUCCESS) return ares_error(status, "c-ares");
    loop_ = TRY(base::Loop::create());
    ares_options o{};
    o.timeout = static_cast<int>(options_.try_timeout.count());
    o.tries = kTries;
    o.sock_state_cb = &Engine::on_socket;
    o.sock_state_cb_data = this;
    o.flags = options_.servers.empty() ? 0 : ARES_FLAG_NOSEARCH;
    const int status = ares_init_options(&channel_, &o, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) return ares_error(status, "resolver");
    if (!options_.servers.empty()) {
        std::string list;
        for (const auto& server : options_.servers) list += (list.empty() ? "" : ",") + server.to_string();
        if (const int set = ares_set_servers_ports_csv(channel_, list.c_str()); set != ARES_SUCCESS) return ares_error(set, list);
    }
    thread_ = std::thread([this] { (void)loop_->run(); });
    return {};
}

HostResolver::Engine::~Engine() {
    if (loop_) loop_->stop();
    if (thread_.joinable()) thread_.join();
    // Without askers: the results that destroying the channel brings are told to nobody.
    for (auto& [name, lookup] : lookups_) lookup->askers.clear();
    if (channel_ != nullptr) ares_destroy(channel_);
}

void HostResolver::Engine::ask(std::string_view hostname, Prefer prefer, base::Loop& loop, Done done) {
    const Asker asker{&loop, prefer, std::make_shared<Done>(std::move(done))};
    if (loop_->post([this, name = normal(hostname), asker] { begin(name, asker); })) return;
    refused_.fetch_add(1, std::memory_order_relaxed);
    tell(asker, base::Error{base::Errc::Exhausted, 0, "resolve", base::quoted(hostname) + ": the resolver's mailbox is full"});
}

void HostResolver::Engine::begin(const std::string& name, Asker asker) {
    // c-ares 1.18 sends queries for both: addresses when any family will do, and the empty name.
    if (const auto ip = base::IpAddr::parse(name)) return tell(asker, *ip);
    if (!is_name(name)) return tell(asker, ares_error(ARES_EBADNAME, name));
    if (const auto* addresses = cached(name)) {
        hits_.fetch_add(1, std::memory_order_relaxed);
        return tell(asker, choose(*addresses, asker.prefer));
    }
    const auto under_way = lookups_.find(name);
    const bool fresh = under_way == lookups_.end();
    if (waiting_ >= options_.waiters || (fresh && lookups_.size() >= options_.names_under_way)) {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return tell(asker, base::Error{base::Errc::Exhausted, 0, "resolve", base::quoted(name) + ": too many names are being resolved"});
    }
    Lookup& lookup = fresh ? *lookups_.emplace(name, std::make_unique<Lookup>(*this, name)).first->second : *under_way->second;
    lookup.askers.push_back(std::move(asker));
    ++waiting_;
    if (!lookup.patience.armed()) loop_->arm(lookup.patience, options_.patience);
    if (!fresh) return;
    ares_addrinfo_hints hints{};
    hints.ai_family = options_.ipv6 ? AF_UNSPEC : AF_INET;
    hints.ai_socktype = SOCK_STREAM;  // or every address comes once per kind
    hints.ai_flags = ARES_AI_NOSORT;
    // May call back at once, and then the lookup is gone.
    ares_getaddrinfo(channel_, lookup.name.c_str(), nullptr, &hints, &Engine::on_result, &lookup);
    arm_tick();
}

void HostResolver::Engine::on_result(void* lookup, int status, int, ares_addrinfo* info) {
    auto& self = *static_cast<Lookup*>(lookup);
    Engine& engine = self.owner;
    if (status == ARES_SUCCESS && info != nullptr) {
        engine.found(self, *info);
    } else {
        engine.answer(self, ares_error(status, self.name));
    }
    if (info != nullptr) ares_freeaddrinfo(info);
    const std::string name = self.name;
    engine.lookups_.erase(name);
}

void HostResolver::Engine::found(Lookup& lookup, const ares_addrinfo& info) {
    std::vector<base::IpAddr> addresses;
    int least = static_cast<int>(kMaxTtl.count());
    for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
        const auto address = base::SockAddr::from_sockaddr(node->ai_addr, static_cast<size_t>(node->ai_addrlen));
        if (!address || addresses.size() >= kMaxAddresses) continue;
        addresses.push_back(address->ip);
        least = std::min(least, node->ai_ttl);
    }
    for (const ares_addrinfo_cname* alias = info.cnames; alias != nullptr; alias = alias->next) least = std::min(least, alias->ttl);
    if (addresses.empty()) return answer(lookup, ares_error(ARES_ENODATA, lookup.name));
    answer(lookup, addresses);
    keep(lookup.name, std::move(addresses), std::chrono::seconds(std::max(least, 0)));
}

void HostResolver::Engine::answer(Lookup& lookup, const base::Result<std::vector<base::IpAddr>>& result) {
    loop_->disarm(lookup.patience);
    const std::vector<Asker> askers = std::move(lookup.askers);
    lookup.askers.clear();
    waiting_ -= askers.size();
    for (const Asker& asker : askers) {
        if (result) {
            tell(asker, choose(*result, asker.prefer));
        } else {
            tell(asker, result.error());
        }
    }
}

void HostResolver::Engine::tell(const Asker& asker, base::Result<base::IpAddr> result) {
    auto parcel = std::make_unique<base::Result<base::IpAddr>>(std::move(result));
    if (!asker.loop->post([done = asker.done, parcel = std::move(parcel)] { (*done)(std::move(*parcel)); }))
        lost_.fetch_add(1, std::memory_order_relaxed);
}

base::IpAddr HostResolver::Engine::choose(const std::vector<base::IpAddr>& addresses, Prefer prefer) {
    std::vector<base::IpAddr> wanted;
    for (const base::IpAddr ip : addresses)
        if (ip.is_v4() == (prefer == Prefer::V4)) wanted.push_back(ip);
    const auto& from = wanted.empty() ? addresses : wanted;
    return from[random_.below(from.size())];
}

const std::vector<base::IpAddr>* HostResolver::Engine::cached(const std::string& name) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return nullptr;
    const auto entry = it->second;
    if (entry->until <= loop_->now()) {
        by_name_.erase(it);
        cache_.erase(entry);
        cached_.store(cache_.size(), std::memory_order_relaxed);
        return nullptr;
    }
    cache_.splice(cache_.begin(), cache_, entry);
    return &entry->addresses;
}

void HostResolver::Engine::keep(const std::string& name, std::vector<base::IpAddr> addresses, std::chrono::seconds ttl) {
    if (ttl.count() == 0 || options_.cache_entries == 0) return;
    if (const auto it = by_name_.find(name); it != by_name_.end()) {
        const auto entry = it->second;
        by_name_.erase(it);
        cache_.erase(entry);
    }
    if (cache_.size() >= options_.cache_entries) {
        by_name_.erase(cache_.back().name);
        cache_.pop_back();
    }
    cache_.push_front({name, std::move(addresses), loop_->now() + ttl});
    by_name_.emplace(cache_.front().name, cache_.begin());
    cached_.store(cache_.size(), std::memory_order_relaxed);
}

void HostResolver::Engine::on_socket(void* self, ares_socket_t fd, int read, int write) {
    static_cast<Engine*>(self)->socket_changed(fd, read != 0, write != 0);
}

void HostResolver::Engine::socket_changed(int fd, bool read, bool write) {
    const auto it = sockets_.find(fd);
    if (!read && !write) {
        // From inside this socket's own event at times, which does nothing more with it.
        if (it != sockets_.end()) loop_->remove(*it->second), sockets_.erase(it);
        return;
    }
    const uint32_t events = (read ? uint32_t{EPOLLIN} : 0u) | (write ? uint32_t{EPOLLOUT} : 0u);
    // A socket that cannot be watched times out.
    if (it != sockets_.end()) {
        (void)loop_->modify(*it->second, events);
    } else {
        auto socket = std::make_unique<Socket>(*this, fd);
        if (loop_->add(fd, *socket, events)) sockets_.emplace(fd, std::move(socket));
    }
}

void HostResolver::Engine::process(int fd, uint32_t events) {
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    ares_process_fd(channel_, broken || (events & EPOLLIN) != 0 ? fd : ARES_SOCKET_BAD, (events & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
    arm_tick();
}

void HostResolver::Engine::on_tick() {
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_tick();
}

void HostResolver::Engine::arm_tick() {
    timeval until{};
    if (ares_timeout(channel_, nullptr, &until) == nullptr) return loop_->disarm(tick_);
    loop_->arm(tick_, std::chrono::milliseconds(until.tv_sec * 1000 + until.tv_usec / 1000 + 1));
}

HostResolver::Stats HostResolver::Engine::stats() const {
    return {hits_.load(std::memory_order_relaxed), refused_.load(std::memory_order_relaxed), lost_.load(std::memory_order_relaxed),
            cached_.load(std::memory_order_relaxed)};
}

HostResolver::HostResolver(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
HostResolver::~HostResolver() = default;

base::Result<std::unique_ptr<HostResolver>> HostResolver::start(Options options) {
    auto engine = std::make_unique<Engine>(std::move(options));
    TRY(engine->start());
    return std::unique_ptr<HostResolver>(new HostResolver(std::move(engine)));
}

void HostResolver::resolve(std::string_view hostname, Prefer prefer, base::Loop& loop, Done done) {
    engine_->ask(hostname, prefer, loop, std::move(done));
}

HostResolver::Stats HostResolver::stats() const { return engine_->stats(); }

}  // namespace warren::ztunnel
