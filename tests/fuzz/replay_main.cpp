// SPDX-License-Identifier: Apache-2.0
// Replays a corpus through a fuzz target without libFuzzer, so that every compiler and sanitizer sees it: PROGRAM FILE-OR-FOLDER...
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    size_t runs = 0;
    auto one = [&](const fs::path& path) {
        std::ifstream in(path, std::ios::binary);
        std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
        ++runs;
    };
    for (int i = 1; i < argc; ++i) {
        if (fs::is_directory(argv[i])) {
            for (const auto& entry : fs::recursive_directory_iterator(argv[i]))
                if (entry.is_regular_file()) one(entry.path());
        } else {
            one(argv[i]);
        }
    }
    std::printf("%zu inputs\n", runs);
    return runs == 0 ? 1 : 0;  // an empty corpus proves nothing
}
