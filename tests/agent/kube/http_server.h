// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 server on a loopback port whose answers are scripts: each connection on a thread of its own, closed after one request unless
// the script keeps writing. What was asked is kept. For the test's thread but for the scripts.
#pragma once

#include "base/fd.h"
#include "tests/catch.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace warren::kube {

class HttpServer {
  public:
    struct Request {
        std::string method, target, head, body;
        size_t number = 0;  // from 0
    };
    class Connection {
      public:
        Connection(int fd, const std::atomic<bool>& stop) : fd_(fd), stop_(stop) {}
        bool write(std::string_view bytes) {
            while (!bytes.empty()) {
                const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
                if (n <= 0) return false;
                bytes.remove_prefix(static_cast<size_t>(n));
            }
            return true;
        }
        bool answer(int status, std::string_view body, std::string_view headers = "") {
            return write("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
                         "\r\nConnection: close\r\n" + std::string(headers) + "\r\n" + std::string(body));
        }
        bool stream() { return write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"); }
        // False: the client has gone, or the server stops.
        bool pause() {
            pollfd p{fd_, POLLIN, 0};
            return ::poll(&p, 1, 10) == 0 && !stop_.load();
        }
        // Until the client goes, or the server stops.
        void hold() {
            while (!stop_.load()) {
                pollfd p{fd_, POLLIN, 0};
                if (::poll(&p, 1, 20) > 0) return;
            }
        }

      private:
        int fd_;
        const std::atomic<bool>& stop_;
    };
    using Script = std::function<void(const Request&, Connection&)>;

    explicit HttpServer(Script script) : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(listener_.get(), 64) == 0);
        REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~HttpServer() {
        stop_.store(true);
        acceptor_.join();
        for (std::thread& one : connections_) one.join();
    }
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::vector<Request> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    void accept_all() {
        while (!stop_.load()) {
            pollfd p{listener_.get(), POLLIN, 0};
            if (::poll(&p, 1, 20) <= 0) continue;
            base::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (fd) connections_.emplace_back([this, fd = std::move(fd)] { serve(fd.get()); });
        }
    }
    void serve(int fd) {
        std::string in;
        size_t end = std::string::npos, length = 0;
        while ((end = in.find("\r\n\r\n")) == std::string::npos || in.size() < end + 4 + length) {
            if (end != std::string::npos && length == 0) {
                const size_t at = in.find("Content-Length: ");
                length = at < end ? std::stoul(in.substr(at + 16)) : 0;
                if (in.size() >= end + 4 + length) break;
            }
            char piece[4096];
            pollfd p{fd, POLLIN, 0};
            if (stop_.load()) return;
            if (::poll(&p, 1, 20) <= 0) continue;
            const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
            if (n <= 0) return;
            in.append(piece, static_cast<size_t>(n));
        }
        Request request;
        request.head = in.substr(0, end);
        request.body = in.substr(end + 4);
        request.method = in.substr(0, in.find(' '));
        const size_t from = request.method.size() + 1;
        request.target = in.substr(from, in.find(' ', from) - from);
        {
            const std::lock_guard lock(mutex_);
            request.number = requests_.size();
            requests_.push_back(request);
        }
        Connection connection(fd, stop_);
        script_(request, connection);
    }

    const Script script_;
    base::Fd listener_;
    uint16_t port_ = 0;
    std::atomic<bool> stop_ = false;
    mutable std::mutex mutex_;
    std::vector<Request> requests_;
    std::vector<std::thread> connections_;
    std::thread acceptor_;
};

// True when the condition held within ten seconds.
inline bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
}

}  // namespace warren::kube
