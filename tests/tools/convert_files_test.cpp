// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/convert_files.h"

#include "tests/catch.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

using warren::tools::convert_files;
using Json = nlohmann::json;

namespace {

const std::string kGolden = WARREN_SOURCE_DIR "/tests/golden/conversion/";

// A folder of its own that goes away with it.
struct Folder {
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("warren-convert-" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
};

}  // namespace

TEST_CASE("convert: several files give one answer, as recorded") {
    const auto result = convert_files({.files = {kGolden + "_nodes.yaml", kGolden + "svc-basic.in.yaml"}, .settings = {}});
    REQUIRE(result);
    CHECK(result->ok);
    CHECK(result->notes.empty());
    std::ifstream want(kGolden + "svc-basic.want.json");
    CHECK(Json::parse(result->text) == Json::parse(want));
}

TEST_CASE("convert: of a folder the manifests are read, and other kinds named") {
    const Folder folder;
    folder.write("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nstatus: {podIP: 10.0.0.1}\n");
    folder.write("b.json", R"({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}})");
    folder.write("notes.txt", ": no manifest");
    const auto result = convert_files({.files = {folder.path}, .settings = {}});
    REQUIRE(result);
    CHECK(result->ok);
    CHECK(Json::parse(result->text)["workloads"].size() == 1);
    CHECK(result->notes == std::vector<std::string>{"passed over, for the mesh does not depend on them: 1 Deployment.apps"});
}

// As a controller serves it meanwhile.
TEST_CASE("convert: what a value that is no port makes of its policy is shown, and is an error") {
    const Folder folder;
    folder.write("a.yaml",
                 "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: n}\n"
                 "spec: {rules: [{to: [{operation: {ports: [x]}}]}]}\n");
    const auto result = convert_files({.files = {folder.path}, .settings = {}});
    REQUIRE(result);
    CHECK_FALSE(result->ok);
    CHECK(result->notes.size() == 1);
    CHECK(Json::parse(result->text)["authorizations"]["n/p"]["rules"] == Json::parse(R"([{"clauses":[{"matches":[{}]}]}])"));
}

TEST_CASE("convert: of objects that cannot be read there is no answer, only what to do") {
    const Folder folder;
    folder.write("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: P}\n---\napiVersion: v1\nkind: Pod\n");
    const auto result = convert_files({.files = {folder.path}, .settings = {}});
    REQUIRE(result);
    CHECK_FALSE(result->ok);
    CHECK(result->text.empty());
    CHECK(result->notes.size() == 2);
    CHECK(result->notes[0].starts_with((folder.path / "a.yaml").string() + ":3: metadata.name: "));
    CHECK_FALSE(convert_files({.files = {(folder.path / "none.yaml").string()}, .settings = {}}));
    std::filesystem::remove(folder.path / "a.yaml");
    CHECK_FALSE(convert_files({.files = {folder.path}, .settings = {}}));  // nothing to read is a mistake
}
