// SPDX-License-Identifier: Apache-2.0
#include "base/small_file.h"
#include "tests/catch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

namespace fs = std::filesystem;
using namespace warren::base;

namespace {

struct Folder {
    Folder() {
        std::array<char, 32> made{"/tmp/warren-small-XXXXXX"};
        REQUIRE(::mkdtemp(made.data()) != nullptr);
        path = made.data();
    }
    ~Folder() { fs::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] size_t entries() const {
        return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
    }
    std::string path;
};

unsigned mode_of(const std::string& path) {
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    return info.st_mode & 07777;
}

}  // namespace

TEST_CASE("small_file: what was replaced is read, with its mode and nothing beside it") {
    const Folder folder;
    const std::string path = folder.path + "/kept";
    REQUIRE(replace_small_file(path, "first").has_value());
    CHECK(mode_of(path) == 0600);
    REQUIRE(replace_small_file(path, std::string(100'000, 'x'), 0644).has_value());
    CHECK(mode_of(path) == 0644);
    CHECK(read_small_file(path, 100'000).value() == std::string(100'000, 'x'));
    CHECK(folder.entries() == 1);
}

TEST_CASE("small_file: a file over the limit is refused, not cut") {
    const Folder folder;
    const std::string path = folder.path + "/long";
    REQUIRE(replace_small_file(path, "12345").has_value());
    CHECK(read_small_file(path, 5).value() == "12345");
    const auto read = read_small_file(path, 4);
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == Errc::Exhausted);
}

TEST_CASE("small_file: a replacement that fails leaves what was there and nothing else") {
    const Folder folder;
    const std::string path = folder.path + "/taken";
    fs::create_directories(path + "/inside");
    const auto replaced = replace_small_file(path, "new");
    REQUIRE_FALSE(replaced.has_value());
    CHECK_THAT(replaced.error().message(), Catch::Contains(path));
    CHECK(fs::is_directory(path + "/inside"));
    CHECK(folder.entries() == 1);
    CHECK_FALSE(replace_small_file(folder.path + "/none/file", "new").has_value());
}
