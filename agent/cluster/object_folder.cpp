// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/object_folder.h"

#include "agent/cluster/read_objects.h"
#include "base/bytes.h"
#include "base/small_file.h"
#include "policy/document.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace warren::cluster {

namespace fs = std::filesystem;

namespace {

std::string owner_key(ObjectKind kind, const ObjectMeta& meta) { return static_cast<char>('a' + static_cast<int>(kind)) + meta.key(); }

bool is_object_file(const std::string& name) { return name[0] != '.' && (name.ends_with(".yaml") || name.ends_with(".yml")); }

}  // namespace

base::Result<std::map<std::string, FileMark>> ObjectFolder::list() const {
    std::map<std::string, FileMark> out;
    std::error_code failed;
    uint64_t bytes = 0;
    auto entry = fs::directory_iterator(path_, failed);
    for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
        const std::string name = entry->path().filename().string();
        std::error_code ignored;
        if (!is_object_file(name) || fs::is_directory(entry->path(), ignored)) continue;
        const FileMark mark = mark_of(entry->path().string());
        if (mark == FileMark{}) continue;  // gone meanwhile, or a link to nothing
        bytes += mark.size;
        out.emplace(name, mark);
        if (out.size() > kMaxFiles || bytes > kMaxBytes)
            return base::Error{base::Errc::Exhausted, 0, "",
                               path_ + ": more than 10000 files or 1 GiB of them; nothing new is read until there is less"};
    }
    if (failed) return base::os_error_of(failed.value(), "list", path_);
    if (out.empty())
        return base::Error{base::Errc::NotFound, 0, "",
                           path_ + ": no .yaml or .yml file in this folder; put one there (an empty one, if the mesh is to be empty)"};
    return out;
}

void ObjectFolder::refuse(File& file, std::vector<std::string> errors, size_t count) {
    file.errors = std::move(errors);
    file.error_count = count;
    ++refusals_;
}

void ObjectFolder::read(const std::string& name, File& file, Candidates& to, bool& unsettled) {
    const std::string path = path_ + "/" + name;
    ++reads_;
    file.conflict = false;
    auto text = base::read_small_file(path, policy::Document::kMaxBytes);
    if (!text) return refuse(file, {text.error().message()}, 1);
    if (mark_of(path) != file.mark) {  // what was read may be half of it
        file.mark = {};
        unsettled = true;
        return;
    }
    ObjectReader reader;
    reader.add(*text, path);
    const Diagnostics& problems = reader.problems();
    if (problems.error_count() != 0) return refuse(file, problems.errors(), problems.error_count());
    to.emplace(name, Candidate{std::move(reader.objects())});
}

// Is there an object in two files, as they would be? Then the candidate that has it and came last, or comes last by name, is refused.
bool ObjectFolder::find_conflict(Candidates& candidates) {
    std::unordered_map<std::string, std::pair<std::string, std::string>> claimed;  // file, where
    for (auto& [name, candidate] : candidates) {
        if (!candidate.accepted) continue;
        std::string conflict;
        each_kind([&](ObjectKind kind, auto list) {
            for (const auto& object : candidate.objects.*list) {
                if (!conflict.empty()) return;
                std::string key = owner_key(kind, object.meta);
                std::string other;
                if (const auto owner = owners_.find(key); owner != owners_.end() && owner->second != name) {
                    const auto replaced = candidates.find(owner->second);
                    if (replaced == candidates.end() || !replaced->second.accepted) other = path_ + "/" + owner->second;
                }
                const auto [first, fresh] = claimed.try_emplace(std::move(key), name, object.meta.where);
                if (!fresh) other = first->second.second;
                if (!other.empty())
                    conflict = object.meta.where + ": a second " + std::string(to_string(kind)) + " " + object.meta.key() +
                               ", the first is at " + other + "; keep one";
            }
        });
        if (conflict.empty()) continue;
        candidate.accepted = false;
        File& file = files_[name];
        file.conflict = true;
        refuse(file, {std::move(conflict)}, 1);
        return true;
    }
    return false;
}

// A candidate that is refused keeps its former objects, which may be in the way of another: until nothing is.
void ObjectFolder::resolve_conflicts(Candidates& candidates) {
    while (find_conflict(candidates)) {
    }
}

void ObjectFolder::forget(const std::set<std::string>& names) {
    if (names.empty()) return;
    for (auto at = owners_.begin(); at != owners_.end();) {
        if (names.contains(at->second)) {
            const auto kind = static_cast<ObjectKind>(at->first[0] - 'a');
            store_.remove(kind, at->first.substr(1));
            changed_.insert_or_assign({kind, at->first.substr(1)}, true);
            at = owners_.erase(at);
        } else {
            ++at;
        }
    }
}

bool ObjectFolder::apply(Candidates& candidates) {
    resolve_conflicts(candidates);
    std::set<std::string> accepted;
    for (const auto& [name, candidate] : candidates)
        if (candidate.accepted) accepted.insert(name);
    forget(accepted);
    for (const std::string& name : accepted) {
        File& file = files_[name];
        file.in_force = true;
        file.errors.clear();
        file.error_count = 0;
        file.objects = 0;
        file.read_at = clock_.wall();
        Objects& objects = candidates[name].objects;
        each_kind([&](ObjectKind kind, auto list) {
            for (auto& object : objects.*list) {
                owners_.emplace(owner_key(kind, object.meta), name);
                changed_.insert_or_assign({kind, object.meta.key()}, false);
                Objects one;
                (one.*list).push_back(std::move(object));
                store_.upsert(kind, one);
                ++file.objects;
            }
        });
    }
    return !accepted.empty();
}

std::vector<Change> ObjectFolder::take_changes() {
    std::vector<Change> out;
    for (const auto& [what, gone] : std::exchange(changed_, {}))
        out.push_back({what.first, what.second, gone, gone ? 0 : store_.position(what.first, what.second)});
    return out;
}

base::Result<ObjectFolder::Scan> ObjectFolder::scan(const Touched& touched) {
    const auto present = TRY(list());
    const base::MonoTime now = clock_.now();
    const int64_t wall_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(clock_.wall().time_since_epoch()).count();
    const int64_t quiet_ns = std::chrono::nanoseconds(kQuiet).count();
    Scan out;
    Candidates candidates;
    for (const auto& [name, mark] : present) {
        File& file = files_[name];
        file.missing_since = {};
        const bool told = touched.all || touched.names.contains(name);
        if (file.mark == mark && !told) continue;
        if (!told && !first_ && mark.modified_ns <= wall_ns && mark.modified_ns > wall_ns - quiet_ns) {
            out.unsettled = true;
            continue;
        }
        file.mark = mark;
        read(name, file, candidates, out.unsettled);
    }
    std::set<std::string> gone;
    for (auto& [name, file] : files_) {
        if (present.contains(name)) continue;
        if (file.missing_since == base::MonoTime{}) file.missing_since = now;
        if (now - file.missing_since >= kGone)
            gone.insert(name);
        else
            out.unsettled = true;
    }
    forget(gone);
    for (const std::string& name : gone) files_.erase(name);
    out.changed = apply(candidates) || !gone.empty();
    // What was refused for another file's sake may fit now.
    for (bool again = out.changed; again;) {
        Candidates refused;
        for (auto& [name, file] : files_)
            if (file.conflict && present.contains(name)) read(name, file, refused, out.unsettled);
        again = apply(refused);
    }
    first_ = false;
    out.changes = take_changes();
    return out;
}

bool ObjectFolder::complete() const {
    return !files_.empty() && std::all_of(files_.begin(), files_.end(), [](const auto& f) { return f.second.in_force; });
}

}  // namespace warren::cluster
