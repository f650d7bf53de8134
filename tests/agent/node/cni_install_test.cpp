// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cni_conflist.h"
#include "agent/node/cni_installer.h"
#include "tests/catch.h"
#include "tests/ztunnel/temp_dir.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include <nlohmann/json.hpp>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;
using Json = nlohmann::json;

namespace {

constexpr const char* kList = R"({
  "cniVersion": "1.0.0",
  "name": "pods",   "odd\u0020key": [1, 2, {"plugins": []}],
  "plugins": [
    {"type": "bridge", "ipam": {"plugins": "]}\"", "ranges": [[{"subnet": "10.0.0.0/24"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
)";
constexpr const char* kOurs = R"({"type":"warren-cni","socket":"/run/w/cni.sock"})";

bool wait_for(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

struct Host {
    TempDir dir;
    CniInstallSettings settings;

    Host() {
        settings.conf_dir = dir.file("net.d");
        settings.bin_dir = dir.file("bin");
        settings.binary = dir.file("warren-cni");
        settings.socket = "/run/w/cni.sock";
        settings.state = "/var/lib/w/state.json";
        std::filesystem::create_directory(settings.conf_dir);
        std::filesystem::create_directory(settings.bin_dir);
        write(settings.binary, "a program");
    }
    [[nodiscard]] std::string conf(const std::string& name) const { return settings.conf_dir + "/" + name; }
    [[nodiscard]] std::string plugin() const { return settings.bin_dir + "/warren-cni"; }
    [[nodiscard]] std::vector<std::string> files() const {
        std::vector<std::string> out;
        for (const auto& entry : std::filesystem::directory_iterator(settings.conf_dir)) out.push_back(entry.path().filename());
        std::sort(out.begin(), out.end());
        return out;
    }
};

}  // namespace

TEST_CASE("cni list: what goes in comes out again, byte for byte") {
    for (const std::string& text : {std::string(kList), Json::parse(kList).dump(), Json::parse(kList).dump(1, '\t')}) {
        const auto with = conflist_with(text, kOurs);
        REQUIRE(with);
        const Json plugins = Json::parse(*with)["plugins"];
        REQUIRE(plugins.size() == 3);
        CHECK(plugins[2] == Json::parse(kOurs));
        CHECK(conflist_has(*with, "warren-cni"));
        CHECK(*conflist_with(*with, kOurs) == *with);
        CHECK(*conflist_without(*with, "warren-cni") == text);
        CHECK(*conflist_without(text, "warren-cni") == text);
    }
}

TEST_CASE("cni list: an outdated element is replaced, one behind which another stands is left alone") {
    const auto old = conflist_with(kList, R"({"type":"warren-cni","socket":"/old"})");
    const auto fresh = conflist_with(*old, kOurs);
    CHECK(Json::parse(*fresh)["plugins"].size() == 3);
    CHECK(*conflist_without(*fresh, "warren-cni") == kList);
    const auto third = conflist_with(*fresh, R"({"type":"istio-cni"})");
    CHECK(*conflist_with(*third, kOurs) == *third);
    CHECK(Json::parse(*conflist_without(*third, "warren-cni"))["plugins"].size() == 3);
    // First of all there is no interface yet: it is moved.
    const std::string first = std::string(R"({"plugins":[)") + kOurs + R"(,{"type":"bridge"}]})";
    CHECK(Json::parse(*conflist_with(first, kOurs))["plugins"][1]["type"] == "warren-cni");
}

TEST_CASE("cni list: what a runtime could not use is refused") {
    for (const char* bad : {"", "{", "[]", R"({"plugins":[]})", R"({"plugins":{}})", R"({"plugins":[{}]})", R"({"plugins":[1]})",
                            R"({"plug\u0069ns":[{"type":"a"}]})", R"({"plugins":[{"type":"a"}],"plugins":[{"type":"b"}]})"})
        CHECK_FALSE(conflist_with(bad, kOurs));
    CHECK_FALSE(conflist_without(std::string(R"({"plugins":[)") + kOurs + "]}", "warren-cni"));
}

TEST_CASE("cni installer: binary and list are put there, kept there, and taken away without a trace") {
    Host host;
    write(host.conf("10-pods.conflist"), kList);
    ::chmod(host.conf("10-pods.conflist").c_str(), 0640);
    write(host.conf("00-broken.conflist"), "{");
    write(host.conf("99-later.conflist"), kList);
    {
        const auto installer = CniInstaller::start(host.settings);
        REQUIRE(installer);
        REQUIRE(wait_for([&] { return (*installer)->status().installed; }));
        CHECK(conflist_has(read(host.conf("10-pods.conflist")), "warren-cni"));
        CHECK(read(host.conf("99-later.conflist")) == kList);
        struct stat s{};
        REQUIRE(::stat(host.conf("10-pods.conflist").c_str(), &s) == 0);
        CHECK((s.st_mode & 07777) == 0640);
        REQUIRE(::stat(host.plugin().c_str(), &s) == 0);
        CHECK((s.st_mode & 07777) == 0755);

        // Another component writes its own, somebody deletes the binary.
        write(host.conf("10-pods.conflist"), kList);
        REQUIRE(wait_for([&] { return conflist_has(read(host.conf("10-pods.conflist")), "warren-cni"); }));
        std::filesystem::remove(host.plugin());
        REQUIRE(wait_for([&] { return read(host.plugin()) == "a program"; }));
    }
    // The agent's end leaves it; its removal does not.
    CHECK(conflist_has(read(host.conf("10-pods.conflist")), "warren-cni"));
    REQUIRE(uninstall_cni(host.settings));
    CHECK(read(host.conf("10-pods.conflist")) == kList);
    CHECK(host.files() == std::vector<std::string>{"00-broken.conflist", "10-pods.conflist", "99-later.conflist"});
    CHECK(std::filesystem::is_empty(host.settings.bin_dir));
    CHECK(uninstall_cni(host.settings));
}

TEST_CASE("cni installer: a single configuration becomes a list, and a single one again") {
    Host host;
    const std::string single = R"({"cniVersion":"0.4.0","name":"n","type":"bridge","ipam":{"type":"host-local"}})";
    write(host.conf("10-pods.conf"), single);
    const auto done = install_cni(host.settings);
    REQUIRE(done);
    CHECK(done->conf == host.conf("10-pods.conflist"));
    const Json list = Json::parse(read(done->conf));
    CHECK(list["cniVersion"] == "0.4.0");
    CHECK(list["plugins"].size() == 2);
    CHECK(host.files() == std::vector<std::string>{"10-pods.conf.warren-saved", "10-pods.conflist"});
    CHECK_FALSE(install_cni(host.settings)->changed);
    REQUIRE(uninstall_cni(host.settings));
    CHECK(host.files() == std::vector<std::string>{"10-pods.conf"});
    CHECK(read(host.conf("10-pods.conf")) == single);
}

TEST_CASE("cni installer: no configuration yet is waited for, and the list never names a plugin that is not there") {
    Host host;
    CHECK(install_cni(host.settings).error().code == base::Errc::NotFound);
    const auto installer = CniInstaller::start(host.settings);
    REQUIRE(wait_for([&] { return (*installer)->status().failures > 0; }));
    CHECK_FALSE((*installer)->status().error.empty());
    write(host.conf("10-pods.conflist"), kList);
    REQUIRE(wait_for([&] { return (*installer)->status().installed; }));

    Host other;
    write(other.conf("10-pods.conflist"), kList);
    std::filesystem::remove(other.settings.binary);
    CHECK_FALSE(install_cni(other.settings));
    CHECK(read(other.conf("10-pods.conflist")) == kList);
}

TEST_CASE("cni installer: the plugin stays while no one can say whether a list names it") {
    Host host;
    write(host.conf("10-pods.conflist"), kList);
    REQUIRE(install_cni(host.settings));
    auto unreadable = host.settings;
    unreadable.conf_dir = host.conf("10-pods.conflist");
    const auto done = uninstall_cni(unreadable);
    REQUIRE_FALSE(done);
    CHECK_THAT(done.error().message(), Catch::Contains("10-pods.conflist"));
    CHECK_FALSE(std::filesystem::is_empty(host.settings.bin_dir));
    REQUIRE(uninstall_cni(host.settings));
    CHECK(std::filesystem::is_empty(host.settings.bin_dir));
}
