// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/load_client.h"

#include "tools/bench/load_protocol.h"
#include "tools/bench/load_socket.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace warren::bench {

namespace {

constexpr int kAnswerMs = 10'000;
constexpr int kMostFailures = 3;  // of a thread's opening: whoever has no room for one has none for the rest, and each may take ten seconds

// One byte there and back over a connection of kind Echo.
bool ask(int fd) {
    char byte = 'q';
    pollfd wait{fd, POLLIN, 0};
    return ::send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && ::poll(&wait, 1, kAnswerMs) == 1 && ::recv(fd, &byte, 1, 0) == 1;
}

}  // namespace

base::Result<base::Fd> open_asked(const LoadOptions& options, uint32_t i) {
    base::Fd fd = TRY(connect_to(TRY(load_target(options, i))));
    const char kind = static_cast<char>(LoadKind::Echo);
    if (::send(fd.get(), &kind, 1, MSG_NOSIGNAL) != 1 || !ask(fd.get()))
        return base::Error{base::Errc::Unavailable, 0, "first request", "no answer"};
    return fd;
}

base::Result<base::SockAddr> load_target(const LoadOptions& options, uint32_t i) {
    base::SockAddr to = TRY(base::SockAddr::parse(options.to));
    to.port = static_cast<uint16_t>(to.port + i % options.ports);
    return to;
}

uint32_t load_share(const LoadOptions& options, uint32_t t) { return (options.connections + options.threads - 1 - t) / options.threads; }

// Until the time is over or nobody listens any more: whoever measures closes standard input when done.
base::Result<std::string> load_idle(const LoadOptions& options) {
    const auto began = LoadClock::now();
    std::vector<std::vector<base::Fd>> open(options.threads);
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < options.threads; ++t) {
        threads.emplace_back([&, t] {
            int failures = 0;
            for (uint32_t i = t; i < options.connections && failures < kMostFailures; i += options.threads) {
                auto fd = open_asked(options, i);
                if (!fd) ++failures;
                if (fd) open[t].push_back(std::move(*fd));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    size_t opened = 0, alive = 0;
    for (const auto& part : open) opened += part.size();
    const double seconds = std::chrono::duration<double>(LoadClock::now() - began).count();
    const nlohmann::ordered_json first = {{"mode", "idle"},
                                          {"ops", opened},
                                          {"failed", options.connections - opened},
                                          {"seconds", seconds},
                                          {"per_second", static_cast<double>(opened) / seconds}};
    std::puts(first.dump().c_str());
    (void)std::fflush(stdout);
    pollfd told{STDIN_FILENO, POLLIN, 0};
    (void)::poll(&told, 1, static_cast<int>(std::min(options.seconds, 86'400.0) * 1e3));
    for (const auto& part : open)
        for (const base::Fd& fd : part) alive += ask(fd.get()) ? 1 : 0;
    return nlohmann::ordered_json{{"mode", "idle"}, {"alive", alive}, {"lost", opened - alive}}.dump() + '\n';
}

base::Result<std::string> run_load(const LoadOptions& asked) {
    raise_descriptor_limit();
    LoadOptions options = asked;
    options.threads = std::clamp(options.threads, 1u, options.connections);
    TRY(load_target(options, 0));
    switch (options.mode) {
        case LoadMode::Bulk: return load_bulk(options);
        case LoadMode::Idle: return load_idle(options);
        case LoadMode::Request:
        case LoadMode::Connect: break;
    }
    return load_exchanges(options);
}

}  // namespace warren::bench
