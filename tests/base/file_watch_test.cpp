// SPDX-License-Identifier: Apache-2.0
#include "base/file_watch.h"

#include "base/small_file.h"
#include "tests/ztunnel/temp_dir.h"

#include <condition_variable>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using base::FileWatcher;

namespace {

// Content of the file at each change, as the callback read it.
class Reader {
  public:
    explicit Reader(std::string path) : path_(std::move(path)) {}
    void operator()() {
        const std::lock_guard lock(mutex_);
        auto content = base::read_small_file(path_, 1000);
        last_ = content ? *content : "(none)";
        ++calls_;
        changed_.notify_all();
    }
    bool sees(const std::string& content) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return last_ == content; });
    }
    int calls() {
        const std::lock_guard lock(mutex_);
        return calls_;
    }

  private:
    const std::string path_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::string last_;
    int calls_ = 0;
};

std::unique_ptr<FileWatcher> make_watcher(FileWatcher::Options options = {.settle = 10ms, .look = 60s, .max_files = 64}) {
    auto watcher = FileWatcher::create(options);
    REQUIRE(watcher);
    return std::move(*watcher);
}

}  // namespace

TEST_CASE("file watch: a file written in place, replaced, removed and made again") {
    const TempDir dir;
    const std::string path = dir.write("ca.crl", "one");
    Reader reader(path);
    const auto watcher = make_watcher();
    auto watch = watcher->watch(path, [&] { reader(); });
    REQUIRE(watch);
    dir.write("ca.crl", "two");
    CHECK(reader.sees("two"));
    dir.replace("ca.crl", "three");
    CHECK(reader.sees("three"));
    std::filesystem::remove(path);
    CHECK(reader.sees("(none)"));
    dir.write("ca.crl", "four");
    CHECK(reader.sees("four"));
    CHECK(watcher->changes() == static_cast<uint64_t>(reader.calls()));
}

TEST_CASE("file watch: a file that comes later") {
    const TempDir dir;
    Reader reader(dir.file("late"));
    const auto watcher = make_watcher();
    auto watch = watcher->watch(dir.file("late"), [&] { reader(); });
    REQUIRE(watch);
    dir.write("late", "here");
    CHECK(reader.sees("here"));
}

TEST_CASE("file watch: a projected volume that swaps its links") {
    TempDir dir;
    const std::string path = dir.project("root-cert.pem", "one");
    Reader reader(path);
    const auto watcher = make_watcher();
    auto watch = watcher->watch(path, [&] { reader(); });
    REQUIRE(watch);
    dir.project("root-cert.pem", "two");
    CHECK(reader.sees("two"));
    dir.project("root-cert.pem", "three");
    CHECK(reader.sees("three"));
}

TEST_CASE("file watch: a burst of writes is told once it is over") {
    const TempDir dir;
    const std::string path = dir.write("token", "0");
    Reader reader(path);
    const auto watcher = make_watcher({.settle = 200ms, .look = 60s, .max_files = 4});
    auto watch = watcher->watch(path, [&] { reader(); });
    REQUIRE(watch);
    for (int i = 1; i <= 100; ++i) dir.write("token", std::to_string(i));
    CHECK(reader.sees("100"));
    CHECK(reader.calls() <= 2);  // one, unless the machine stopped for 200 ms in between
}

TEST_CASE("file watch: neighbours of the file are none of its business") {
    const TempDir dir;
    Reader mine(dir.write("mine", "a")), other(dir.write("other", "a"));
    const auto watcher = make_watcher();
    auto first = watcher->watch(dir.file("mine"), [&] { mine(); });
    auto second = watcher->watch(dir.file("other"), [&] { other(); });
    REQUIRE(first);
    REQUIRE(second);
    dir.write("other", "b");
    CHECK(other.sees("b"));
    dir.write("mine", "c");
    CHECK(mine.sees("c"));
    CHECK(mine.calls() >= 1);
    const int before = mine.calls();
    dir.write("other", "d");
    CHECK(other.sees("d"));
    CHECK(mine.calls() == before);
    first->end();  // the directory is shared: the other goes on
    dir.write("other", "e");
    CHECK(other.sees("e"));
}

TEST_CASE("file watch: what inotify cannot see is found by looking") {
    const TempDir dir, elsewhere;
    elsewhere.write("target", "one");
    std::filesystem::create_symlink(elsewhere.file("target"), dir.file("link"));
    Reader linked(dir.file("link")), deep(dir.file("sub/file"));
    const auto watcher = make_watcher({.settle = 10ms, .look = 20ms, .max_files = 4});
    auto first = watcher->watch(dir.file("link"), [&] { linked(); });
    auto second = watcher->watch(dir.file("sub/file"), [&] { deep(); });
    REQUIRE(first);
    REQUIRE(second);
    elsewhere.write("target", "another");
    CHECK(linked.sees("another"));
    std::filesystem::create_directory(dir.file("sub"));
    dir.write("sub/file", "deep");
    CHECK(deep.sees("deep"));
    std::filesystem::remove_all(dir.file("sub"));
    CHECK(deep.sees("(none)"));
    std::filesystem::create_directory(dir.file("sub"));
    dir.write("sub/file", "again");
    CHECK(deep.sees("again"));
}

TEST_CASE("file watch: its end waits for the callback that runs, and may come from inside it") {
    const TempDir dir;
    dir.write("f", "a");
    const auto watcher = make_watcher();
    std::mutex mutex;
    std::condition_variable changed;
    bool entered = false, leave = false, left = false;
    auto watch = watcher->watch(dir.file("f"), [&] {
        std::unique_lock lock(mutex);
        entered = true;
        changed.notify_all();
        changed.wait_for(lock, 20s, [&] { return leave; });
        left = true;
    });
    REQUIRE(watch);
    dir.write("f", "b");
    {
        std::unique_lock lock(mutex);
        REQUIRE(changed.wait_for(lock, 20s, [&] { return entered; }));
    }
    std::thread releases([&] {
        const std::lock_guard lock(mutex);
        leave = true;
        changed.notify_all();
    });
    watch->end();
    {
        const std::lock_guard lock(mutex);
        CHECK(left);
    }
    releases.join();

    FileWatcher::Watch self;
    bool ended = false;
    auto made = watcher->watch(dir.file("f"), [&] {
        const std::lock_guard lock(mutex);
        self.end();
        ended = true;
        changed.notify_all();
    });
    REQUIRE(made);
    {
        const std::lock_guard lock(mutex);
        self = std::move(*made);
    }
    dir.write("f", "c");
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 20s, [&] { return ended; }));
}

TEST_CASE("file watch: bounds and bad paths") {
    const TempDir dir;
    const auto watcher = make_watcher({.settle = 10ms, .look = 60s, .max_files = 1});
    auto first = watcher->watch(dir.file("a"), [] {});
    REQUIRE(first);
    const auto second = watcher->watch(dir.file("b"), [] {});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == base::Errc::Exhausted);
    first->end();
    CHECK(watcher->watch(dir.file("b"), [] {}));
    CHECK_FALSE(watcher->watch("", [] {}));
    CHECK_FALSE(watcher->watch(dir.path() + "/", [] {}));
}

TEST_CASE("small file: whole or not at all") {
    const TempDir dir;
    dir.write("f", "12345");
    CHECK(*base::read_small_file(dir.file("f"), 5) == "12345");
    const auto large = base::read_small_file(dir.file("f"), 4);
    REQUIRE_FALSE(large);
    CHECK(large.error().code == base::Errc::Exhausted);
    const auto missing = base::read_small_file(dir.file("g"), 5);
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == base::Errc::NotFound);
    CHECK(missing.error().message().find(dir.file("g")) != std::string::npos);
    CHECK_FALSE(base::read_small_file(dir.path(), 5));
    const std::string long_text(100'000, 'x');
    dir.write("f", long_text);
    CHECK(*base::read_small_file(dir.file("f"), 100'000) == long_text);
    CHECK_FALSE(base::read_small_file(dir.file("f"), 99'999));
    CHECK(base::read_small_file("/proc/self/status", 1'000'000)->starts_with("Name:"));  // has no size
    const auto grown = base::read_small_file("/proc/kallsyms", 64UL << 20);
    REQUIRE(grown);
    CHECK(grown->size() > 4096);
    CHECK(grown->find('\0') == std::string::npos);
}
