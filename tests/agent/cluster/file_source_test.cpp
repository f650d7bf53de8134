// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/file_source.h"

#include "agent/cluster/object_folder.h"
#include "tests/catch.h"

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

using namespace warren;
using namespace warren::cluster;
using namespace std::chrono_literals;

namespace {

class Folder {
  public:
    Folder() { REQUIRE(::mkdtemp(path_) != nullptr); }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string path(const std::string& name = "") const { return name.empty() ? path_ : std::string(path_) + "/" + name; }
    void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
    // As a careful editor does.
    void replace(const std::string& name, const std::string& text) const {
        write(".beside", text);
        std::filesystem::rename(path(".beside"), path(name));
    }

  private:
    char path_[40] = "/tmp/warren-file-source-XXXXXX";
};

std::string workload(const std::string& name, const std::string& address) {
    return "workloads:\n- {name: " + name + ", namespace: shop, serviceAccount: web, node: n1, addresses: [" + address + "]}\n";
}

std::set<std::string> pods(const Objects& objects) {
    std::set<std::string> out;
    for (const Pod& pod : objects.pods) out.insert(pod.meta.key() + " " + (pod.ips.empty() ? "" : pod.ips[0].to_string()));
    return out;
}
std::set<std::string> pods(const ObjectFolder& folder) { return pods(folder.store().objects()); }

// scan() with every file told of, as after a change.
bool look(ObjectFolder& folder) {
    const auto scan = folder.scan({{}, true});
    return scan && scan->changed;
}

class Handler final : public SourceHandler {
  public:
    void changed(const Objects& objects, const std::vector<Change>&) override {
        const std::lock_guard lock(mutex_);
        pods_ = pods(objects);
        ++calls_;
        changed_.notify_all();
    }
    bool wait(const std::set<std::string>& wanted) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 10s, [&] { return calls_ > 0 && pods_ == wanted; });
    }
    int calls() {
        const std::lock_guard lock(mutex_);
        return calls_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::set<std::string> pods_;
    int calls_ = 0;
};

template <class F>
bool eventually(F done) {
    for (const auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;) {
        if (done()) return true;
        std::this_thread::yield();
    }
    return false;
}

}  // namespace

TEST_CASE("mesh folder: every yaml file of it, and no other") {
    const Folder at;
    const base::RealClock clock;
    at.write("a.yaml", workload("a", "10.0.0.1"));
    at.write("b.yml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nstatus: {podIP: 10.0.0.2}\n---\n" + workload("c", "10.0.0.3"));
    at.write("notes.txt", "not: [yaml");
    at.write(".hidden.yaml", "not: [yaml");
    std::filesystem::create_directory(at.path("folder.yaml"));
    ObjectFolder folder(at.path(), clock);
    CHECK(look(folder));
    CHECK(folder.complete());
    CHECK(pods(folder) == std::set<std::string>{"shop/a 10.0.0.1", "default/b 10.0.0.2", "shop/c 10.0.0.3"});
    CHECK(folder.files().size() == 2);
    REQUIRE(folder.scan({}));
    CHECK_FALSE(folder.scan({})->changed);
    CHECK(folder.reads() == 2);
}

TEST_CASE("mesh folder: a file that does not read keeps its last state and says what to do") {
    const Folder at;
    const base::RealClock clock;
    at.write("a.yaml", workload("a", "10.0.0.1"));
    at.write("b.yaml", workload("b", "10.0.0.2"));
    ObjectFolder folder(at.path(), clock);
    REQUIRE(look(folder));
    at.write("a.yaml", "workloads:\n- {name: a2, addresses: [10.0.0.9]}\n- {name: a3, addresses: [10.0.0]}\n");
    at.write("b.yaml", workload("b2", "10.0.0.3"));
    CHECK(look(folder));
    CHECK(pods(folder) == std::set<std::string>{"shop/a 10.0.0.1", "shop/b2 10.0.0.3"});
    const auto& errors = folder.files().at("a.yaml").errors;
    REQUIRE(errors.size() == 1);
    CHECK(errors[0] ==
          at.path("a.yaml") + ":3: workloads[1].addresses[0]: address '10.0.0' is not an address; write it like 10.0.0.1 or fd00::1");
    CHECK(folder.complete());
    at.write("a.yaml", workload("a4", "10.0.0.4"));
    CHECK(look(folder));
    CHECK(folder.files().at("a.yaml").error_count == 0);
    CHECK(pods(folder) == std::set<std::string>{"shop/a4 10.0.0.4", "shop/b2 10.0.0.3"});
}

TEST_CASE("mesh folder: an object is in one file, and may move to another") {
    const Folder at;
    const base::RealClock clock;
    at.write("b.yaml", workload("x", "10.0.0.1"));
    ObjectFolder folder(at.path(), clock);
    REQUIRE(look(folder));
    at.write("a.yaml", workload("x", "10.0.0.2") + workload("y", "10.0.0.3").substr(sizeof("workloads:")));
    CHECK_FALSE(look(folder));
    CHECK(pods(folder) == std::set<std::string>{"shop/x 10.0.0.1"});
    REQUIRE(folder.files().at("a.yaml").errors.size() == 1);
    CHECK(folder.files().at("a.yaml").errors[0].find("a second Pod shop/x, the first is at " + at.path("b.yaml") + "; keep one") !=
          std::string::npos);
    // Taken out of the one, it is the other's, without a look at the latter being asked for.
    at.write("b.yaml", workload("z", "10.0.0.4"));
    const auto scan = folder.scan({{"b.yaml"}, false});
    REQUIRE(scan);
    CHECK(scan->changed);
    CHECK(pods(folder) == std::set<std::string>{"shop/x 10.0.0.2", "shop/y 10.0.0.3", "shop/z 10.0.0.4"});
    // Both at once.
    at.write("a.yaml", workload("z", "10.0.0.5"));
    at.write("b.yaml", workload("x", "10.0.0.6"));
    CHECK(look(folder));
    CHECK(pods(folder) == std::set<std::string>{"shop/z 10.0.0.5", "shop/x 10.0.0.6"});
}

TEST_CASE("mesh folder: gone or empty it changes nothing, a file that is gone for good goes") {
    const Folder at;
    base::FakeClock clock;
    const std::string inside = at.path("mesh");
    ObjectFolder folder(inside, clock);
    CHECK_FALSE(folder.scan({}));
    std::filesystem::create_directory(inside);
    CHECK(folder.scan({}).error().message().find("no .yaml or .yml file in this folder") != std::string::npos);
    CHECK_FALSE(folder.complete());
    at.write("mesh/a.yaml", workload("a", "10.0.0.1"));
    at.write("mesh/b.yaml", "");
    REQUIRE(look(folder));
    CHECK(folder.complete());
    std::filesystem::rename(inside, at.path("away"));
    CHECK_FALSE(folder.scan({{}, true}));
    CHECK(pods(folder).size() == 1);
    std::filesystem::rename(at.path("away"), inside);
    std::filesystem::remove(at.path("mesh/a.yaml"));
    auto scan = folder.scan({});
    REQUIRE(scan);
    CHECK((scan->unsettled && !scan->changed));  // perhaps it is being replaced
    CHECK(pods(folder).size() == 1);
    clock.advance(ObjectFolder::kGone);
    scan = folder.scan({});
    REQUIRE(scan);
    CHECK((!scan->unsettled && scan->changed));
    CHECK(pods(folder).empty());
}

TEST_CASE("mesh folder: a file that somebody still writes is not read") {
    const Folder at;
    const base::RealClock real;
    base::FakeClock clock;
    at.write("a.yaml", "");
    ObjectFolder folder(at.path(), clock);
    REQUIRE(look(folder));
    clock.set_wall(real.wall() + 1s);
    at.write("b.yaml", workload("b", "10.0.0.1"));
    clock.set_wall(real.wall() + 100ms);
    auto scan = folder.scan({});
    REQUIRE(scan);
    CHECK((scan->unsettled && !scan->changed));
    clock.set_wall(real.wall() + ObjectFolder::kQuiet + 100ms);
    scan = folder.scan({});
    REQUIRE(scan);
    CHECK((!scan->unsettled && scan->changed));
}

TEST_CASE("file source: tells its handler of every change, first when all is whole") {
    const Folder at;
    const base::RealClock clock;
    at.write("a.yaml", workload("a", "10.0.0.1"));
    at.write("b.yaml", "workloads: 5\n");
    Handler handler;
    FileSourceOptions options;
    options.folder = at.path();
    const auto source = FileSource::create(options, clock);
    REQUIRE(source);
    (*source)->start(handler);
    CHECK(eventually([&] { return (*source)->status().error_count == 1; }));
    CHECK_FALSE((*source)->status().synced);
    CHECK(handler.calls() == 0);
    SECTION("mended by a rename, then changed in place, removed and a second made") {
        at.replace("b.yaml", workload("b", "10.0.0.2"));
        CHECK(handler.wait({"shop/a 10.0.0.1", "shop/b 10.0.0.2"}));
        at.write("a.yaml", workload("a", "10.0.0.9"));
        CHECK(handler.wait({"shop/a 10.0.0.9", "shop/b 10.0.0.2"}));
        std::filesystem::remove(at.path("b.yaml"));
        CHECK(handler.wait({"shop/a 10.0.0.9"}));
        at.write("c.yaml", workload("c", "10.0.0.3"));
        CHECK(handler.wait({"shop/a 10.0.0.9", "shop/c 10.0.0.3"}));
        CHECK((*source)->status().synced);
    }
    SECTION("by links that Kubernetes swaps") {
        std::filesystem::remove(at.path("b.yaml"));
        CHECK(handler.wait({"shop/a 10.0.0.1"}));
        for (const char* version : {"..1", "..2"}) {
            std::filesystem::create_directory(at.path(version));
            at.write(std::string(version) + "/m.yaml", workload("m", std::string("10.0.1.") + version[2]));
            std::filesystem::create_directory_symlink(version, at.path("..new"));
            std::filesystem::rename(at.path("..new"), at.path("..data"));
            if (version[2] == '1') std::filesystem::create_symlink("..data/m.yaml", at.path("m.yaml"));
            CHECK(handler.wait({"shop/a 10.0.0.1", std::string("shop/m 10.0.1.") + version[2]}));
        }
    }
    SECTION("and a folder that goes and comes back") {
        at.replace("b.yaml", "");
        CHECK(handler.wait({"shop/a 10.0.0.1"}));
        const std::string away = at.path() + ".away";
        std::filesystem::rename(at.path(), away);
        CHECK(eventually([&] { return (*source)->status().error_count == 1; }));
        CHECK(handler.wait({"shop/a 10.0.0.1"}));
        std::filesystem::rename(away, at.path());
        at.write("b.yaml", workload("b", "10.0.0.2"));
        CHECK(handler.wait({"shop/a 10.0.0.1", "shop/b 10.0.0.2"}));
    }
    (*source)->stop();
}
