// SPDX-License-Identifier: Apache-2.0
// A directory that goes with its test, and the ways in which files are replaced in the world.
#pragma once

#include "tests/catch.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace warren::tests {

class TempDir {
  public:
    TempDir() {
        char name[] = "/tmp/warren-test-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path_ = name;
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    // In place.
    std::string write(const std::string& name, const std::string& content) const {
        std::ofstream out(file(name), std::ios::binary | std::ios::trunc);
        out << content;
        out.close();
        REQUIRE(out.good());
        return file(name);
    }
    // As editors and careful programs do: a new file takes the name.
    std::string replace(const std::string& name, const std::string& content) const {
        write("." + name + ".new", content);
        std::filesystem::rename(file("." + name + ".new"), file(name));
        return file(name);
    }
    // As the kubelet projects a volume: NAME -> ..data/NAME, ..data -> a directory per version, swapped by a rename.
    std::string project(const std::string& name, const std::string& content) {
        const std::string version = "..version_" + std::to_string(++version_);
        std::filesystem::create_directory(file(version));
        write(version + "/" + name, content);
        std::filesystem::create_symlink(version, file("..data_tmp"));
        std::filesystem::rename(file("..data_tmp"), file("..data"));
        if (!std::filesystem::exists(std::filesystem::symlink_status(file(name))))
            std::filesystem::create_symlink("..data/" + name, file(name));
        if (version_ > 1) std::filesystem::remove_all(file("..version_" + std::to_string(version_ - 1)));
        return file(name);
    }

  private:
    std::string path_;
    int version_ = 0;
};

}  // namespace warren::tests
