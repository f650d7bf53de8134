// SPDX-License-Identifier: Apache-2.0
// One connection of an HttpServer: read a head, skip a body, answer, again. Belongs to the server's thread; buries itself. Internal to
// http_server.cpp.
#pragma once

#include "base/fd.h"
#include "base/http_server.h"
#include "base/loop.h"

#include <atomic>
#include <string>

namespace warren::base {

class HttpConnection;

// What the connections of a server share.
struct HttpShared {
    HttpServerOptions options;
    HttpServer::Handler handler;
    std::unique_ptr<Loop> loop;
    LinkList<HttpConnection> connections;  // longest without a step first
    size_t open = 0;
    std::atomic<uint64_t> requests = 0, refused_requests = 0, refused_connections = 0, evicted = 0, timeouts = 0;
};

class HttpConnection final : public IoHandler, public Buried, public Link<HttpConnection> {
  public:
    static void start(HttpShared& shared, Fd fd);
    // Waits for its client and owes it nothing.
    [[nodiscard]] bool may_go() const { return stage_ == Stage::Reading || stage_ == Stage::Lingering; }
    void end();

  private:
    // Lingering: the answer is out and the rest of what the client sends is thrown away, or a reset would take the answer with it.
    enum class Stage : uint8_t { Reading, Skipping, Writing, Lingering, Gone };
    HttpConnection(HttpShared& shared, Fd fd);

    void on_io(uint32_t events) override;
    void on_timer();
    bool read_some();
    void step();
    bool take_request();
    void answer();
    void queue(const HttpResponse& response, bool head_only);
    bool write_some();
    void after_write();
    void stay(std::chrono::milliseconds patience);

    HttpShared& shared_;
    Fd fd_;
    Timer timer_;
    std::string in_, out_;
    HttpRequest request_;
    size_t written_ = 0, skip_ = 0;
    Stage stage_ = Stage::Reading;
    bool keep_ = true, head_timed_ = true, want_out_ = false;
};

}  // namespace warren::base
