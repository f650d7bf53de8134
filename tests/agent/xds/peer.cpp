// SPDX-License-Identifier: Apache-2.0
// Our two ends as a program, for peers that are not ours (peers_test.py). Orders on standard input, one a line, words apart by spaces;
// what happens on standard output.
//
//   xds_peer server            prints "port N"; set NAME VERSION BODY [ALIAS]   erase NAME   publish   nack (prints the last one's reason)
//   xds_peer client ADDRESS    subscribe NAME; prints "resource NAME BODY", "removed NAME", "synced TYPE", "ended REASON"
//                              What is called bad... is rejected.
#include "agent/xds/client.h"
#include "agent/xds/server.h"
#include "base/bytes.h"

#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace warren;

std::mutex out_mutex;
void say(const std::string& line) {
    const std::lock_guard lock(out_mutex);
    std::cout << line << std::endl;
}

class Teller final : public xds::Handler {
  public:
    std::vector<xds::Rejection> apply(const xds::Update& update) override {
        std::vector<xds::Rejection> rejections;
        for (const auto& r : update.resources) {
            if (r.name.starts_with("bad"))
                rejections.push_back({std::string(r.name), "is bad"});
            else
                say("resource " + std::string(r.name) + " " + std::string(base::as_text(r.body)));
        }
        for (const auto name : update.removed) say("removed " + std::string(name));
        return rejections;
    }
    void synced(std::string_view type) override { say("synced " + std::string(type)); }
    void disconnected(xds::Termination reason, std::string_view) override { say("ended " + std::string(xds::to_string(reason))); }
};

int serve() {
    xds::ServerOptions options;
    options.listeners = {{"127.0.0.1:0", false}};
    options.debounce_quiet = std::chrono::milliseconds(1);
    auto server = xds::Server::create(std::move(options));
    if (!server) return std::cerr << server.error().message() << "\n", 1;
    say("port " + std::to_string((*server)->ports().at(0)));
    xds::Snapshot sets;
    auto& set = sets[std::string(xds::kAddressType)];
    static_cast<void>(sets[std::string(xds::kAuthorizationType)]);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb, name, version, body, alias;
        words >> verb >> name >> version >> body >> alias;
        std::vector<std::string> aliases;
        if (!alias.empty()) aliases.push_back(alias);
        if (verb == "set" && !set.set({name, version, base::as_bytes(body), aliases})) return 1;
        if (verb == "erase") set.erase(name);
        if (verb == "publish" && !(*server)->publish(sets)) return 1;
        if (verb != "nack") continue;
        for (const auto& client : (*server)->clients())
            for (const auto& type : client.types)
                if (!type.last_nack.empty()) say("nack " + type.last_nack);
        say("end");
    }
    return 0;
}

int be_client(const std::string& address, bool on_demand) {
    Teller teller;
    xds::ClientOptions options;
    options.address = address;
    options.types = {{std::string(xds::kAddressType), on_demand}, {std::string(xds::kAuthorizationType)}};
    auto client = xds::Client::create(std::move(options), teller);
    if (!client) return std::cerr << client.error().message() << "\n", 1;
    (*client)->start();
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb, name;
        words >> verb >> name;
        const std::vector<std::string> names{name};
        if (verb == "subscribe" && !(*client)->subscribe(xds::kAddressType, names)) return 1;
    }
    (*client)->stop();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> args(argv + 1, argv + argc);
    if (args.size() == 1 && args[0] == "server") return serve();
    if (args.size() >= 2 && args[0] == "client") return be_client(args[1], args.size() > 2);
    std::cerr << "xds_peer server | client ADDRESS [on-demand]\n";
    return 2;
}
