// SPDX-License-Identifier: Apache-2.0
// A run of the command line in this process, with what it wrote; and a web server on loopback that answers as daemons would.
#pragma once

#include "base/http_server.h"
#include "tests/catch.h"
#include "tools/warren/cli.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace warren::tools {

inline const std::string kCliGolden = WARREN_SOURCE_DIR "/tests/golden/cli/";

inline std::string read_all(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct CliRun {
    int code = 0;
    std::string out, err;
};

inline CliRun cli(std::vector<std::string> arguments) {
    std::ostringstream out, err;
    Context context(out, err);
    const int code = run_cli(std::move(arguments), context);
    return {code, out.str(), err.str()};
}

// Text as recorded in tests/golden/cli; UPDATE_GOLDEN=1 records it.
inline void check_golden(const std::string& name, const std::string& text) {
    const std::string path = kCliGolden + name;
    if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
    CHECK(read_all(path) == text);
}

// A folder of its own that goes away with it.
struct Folder {
    std::filesystem::path path;
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "warren-cli-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() {
        std::error_code failed;
        std::filesystem::remove_all(path, failed);
    }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream(path / name) << text;
        return path / name;
    }
};

// Answers "METHOD /path?query" by path, and keeps what was asked.
class FakeDaemon {
  public:
    explicit FakeDaemon(std::map<std::string, std::string> pages) : pages_(std::move(pages)) {
        base::HttpServerOptions options;
        options.name = "fake";
        options.addresses = base::loopback_addresses(0, false);
        auto server = base::HttpServer::start(options, [this](const base::HttpRequest& r) {
            const std::lock_guard lock(mutex_);
            asked_.push_back(r.method + ' ' + r.path + (r.query.empty() ? "" : "?" + r.query));
            base::HttpResponse reply;
            const auto page = pages_.find(r.path);
            reply.status = page == pages_.end() ? 404 : 200;
            reply.body = page == pages_.end() ? "not found\n" : page->second;
            return reply;
        });
        REQUIRE(server);
        server_ = *std::move(server);
    }
    std::string address() const { return server_->addresses().front().to_string(); }
    std::vector<std::string> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

  private:
    const std::map<std::string, std::string> pages_;
    mutable std::mutex mutex_;
    std::vector<std::string> asked_;
    std::unique_ptr<base::HttpServer> server_;  // last: its thread uses the others
};

}  // namespace warren::tools
