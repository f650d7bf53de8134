// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/convert_files.h"

#include "agent/cluster/read_objects.h"
#include "agent/cluster/to_json.h"
#include "tools/warren/mesh_file.h"

#include <algorithm>
#include <filesystem>

namespace warren::tools {

namespace {

namespace fs = std::filesystem;

base::Result<std::vector<std::string>> files_of(const std::string& path) {
    std::error_code failed;
    if (path == "-" || !fs::is_directory(path, failed)) return std::vector<std::string>{path};
    std::vector<std::string> out;
    auto entry = fs::directory_iterator(path, failed);
    for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
        const std::string extension = entry->path().extension();
        if (extension == ".yaml" || extension == ".yml" || extension == ".json") out.push_back(entry->path());
    }
    if (failed) return base::os_error_of(failed.value(), "list", path);
    std::sort(out.begin(), out.end());
    if (out.empty()) return base::invalid(path + ": no .yaml, .yml or .json file in this folder");
    return out;
}

void add_all(const std::vector<std::string>& texts, size_t count, const char* kind, std::vector<std::string>& to) {
    for (const std::string& text : texts) to.push_back(std::string(kind) + text);
    if (count > texts.size()) to.push_back(std::string(kind) + "and " + std::to_string(count - texts.size()) + " more like these");
}

}  // namespace

base::Result<ConvertResult> convert_files(const ConvertOptions& options) {
    cluster::ObjectReader reader;
    for (const std::string& path : options.files)
        for (const std::string& file : TRY(files_of(path))) reader.add(TRY(read_text_file(file)), file == "-" ? "stdin" : file);
    cluster::Diagnostics& problems = reader.problems();
    const bool readable = problems.error_count() == 0;
    const cluster::Outputs outputs = cluster::convert(reader.objects(), options.settings, problems);

    ConvertResult out;
    out.ok = problems.error_count() == 0;
    add_all(problems.errors(), problems.error_count(), "", out.notes);
    add_all(problems.warnings(), problems.warning_count(), "warning: ", out.notes);
    std::string kinds;
    for (const auto& [kind, count] : reader.passed_over()) kinds += (kinds.empty() ? "" : ", ") + std::to_string(count) + ' ' + kind;
    if (!kinds.empty()) out.notes.push_back("passed over, for the mesh does not depend on them: " + kinds);
    if (readable) out.text = cluster::to_json(outputs, options.settings);
    return out;
}

}  // namespace warren::tools
