// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/authority_state.h"

#include "agent/cluster/issuer.h"
#include "agent/cluster/state_file.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>

namespace warren::cluster {

namespace {

using Json = nlohmann::json;
using Phase = RotationState::Phase;

const base::log::Area kLog("ca");

constexpr size_t kMaxState = 64UL * 1024;
constexpr int kMaxGeneration = 1'000'000;
constexpr std::string_view kFolder = "generation-";

std::string_view name_of(Phase phase) {
    switch (phase) {
        case Phase::Steady: return "steady";
        case Phase::Overlap: return "overlap";
        case Phase::Retiring: return "retiring";
    }
    return "";
}

// Folders by name; what is not ours is left alone.
std::vector<int> folders_in(const std::string& state) {
    std::vector<int> numbers;
    std::error_code error;
    for (std::filesystem::directory_iterator it(state, error), end; !error && it != end; it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (!name.starts_with(kFolder)) continue;
        const std::string digits = name.substr(kFolder.size());
        const bool number =
            !digits.empty() && digits.size() <= 6 && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
        if (number) numbers.push_back(std::stoi(digits));
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

base::Result<int> generation_of(const Json& value) {
    if (!value.is_number_integer()) return base::invalid("a generation is not a number");
    const auto number = value.get<int64_t>();
    if (number < 1 || number > kMaxGeneration) return base::invalid("generation " + std::to_string(number) + " is out of range");
    return static_cast<int>(number);
}

base::Result<Phase> phase_of(const Json& object) {
    const auto found = object.find("phase");
    if (found == object.end() || !found->is_string()) return base::invalid("phase: not there");
    for (const Phase phase : {Phase::Steady, Phase::Overlap, Phase::Retiring})
        if (found->get_ref<const std::string&>() == name_of(phase)) return phase;
    return base::invalid("phase " + base::quoted(found->get_ref<const std::string&>()) + " is not steady, overlap or retiring");
}

}  // namespace

std::string generation_folder(const std::string& state, int number) { return state + "/" + std::string(kFolder) + std::to_string(number); }

base::Result<base::Fd> lock_state(const std::string& state) { return lock_file(state + "/lock"); }

base::Result<Generations> parse_generations(const std::string& text) {
    const Json object = Json::parse(text, nullptr, false);
    if (!object.is_object()) return base::invalid("not a JSON object");
    Generations read;
    read.phase = TRY(phase_of(object));
    if (!object.contains("since") || !object["since"].is_string()) return base::invalid("since: not there");
    read.since = TRY(base::parse_rfc3339(object["since"].get_ref<const std::string&>()));
    if (!object.contains("generations") || !object["generations"].is_array()) return base::invalid("generations: not there");
    for (const Json& one : object["generations"]) read.numbers.push_back(TRY(generation_of(one)));
    if (!object.contains("signing")) return base::invalid("signing: not there");
    read.signing = TRY(generation_of(object["signing"]));
    const size_t wanted = read.phase == Phase::Steady ? 1 : 2;
    const bool ascending = std::adjacent_find(read.numbers.begin(), read.numbers.end(), std::greater_equal<>()) == read.numbers.end();
    if (read.numbers.size() != wanted || !ascending)
        return base::invalid("generations: " + std::string(name_of(read.phase)) + " has " + std::to_string(wanted) +
                             ", in ascending order");
    const int signing = read.phase == Phase::Overlap ? read.numbers.front() : read.numbers.back();
    if (read.signing != signing) return base::invalid("signing: is " + std::to_string(signing) + " in this phase");
    return read;
}

base::Result<Generations> read_generations(const std::string& state, base::WallTime now) {
    const std::string path = state + "/state.json";
    auto text = base::read_small_file(path, kMaxState);
    if (text) {
        auto read = parse_generations(*text);
        if (!read) return std::move(read).error().with(path);
        return read;
    }
    if (text.error().code != base::Errc::NotFound) return std::move(text).error();
    const std::vector<int> there = folders_in(state);
    if (there.empty()) return Generations{};
    Generations found{Phase::Steady, now, {there.front()}, there.front()};
    if (there.size() > 1) {
        found.phase = Phase::Overlap;
        found.numbers.push_back(there.back());
    }
    WARREN_LOG(kLog, base::log::Level::Warn, "state.json is lost; going on with the oldest root there is", {"folder", state},
               {"generation", found.signing});
    return found;
}

base::Result<void> write_generations(const std::string& state, const Generations& generations) {
    const Json object = {{"phase", name_of(generations.phase)},
                         {"since", base::to_rfc3339(generations.since)},
                         {"generations", generations.numbers},
                         {"signing", generations.signing}};
    return base::replace_small_file(state + "/state.json", object.dump(2) + "\n");
}

base::Result<int> create_generation(const AuthorityOptions& options, const Generations& so_far, base::WallTime now) {
    const std::vector<int> there = folders_in(options.state);
    int number = so_far.numbers.empty() ? 1 : so_far.numbers.back() + 1;
    // A folder above those in use is of a rotation that a crash cut short before it was written down: nobody saw its root.
    if (!there.empty()) number = std::max(number, there.back() + 1);
    NewIssuer wanted{generation_folder(options.state, number),
                     options.trust_domain,
                     number,
                     options.key != KeyKind::EcP256,
                     options.key == KeyKind::Rsa4096 ? 4096U : 2048U,
                     now - options.backdate,
                     now + options.root_lifetime};
    if (auto made = create_issuer(wanted); !made) {
        std::error_code ignored;
        std::filesystem::remove_all(wanted.folder + ".new", ignored);
        return std::move(made).error();
    }
    return number;
}

void remove_leftovers(const std::string& state, const Generations& in_use) {
    std::error_code error;
    for (const char* name : {"state.json", "issuers.pem"}) remove_temporaries(state, name);
    if (!std::filesystem::exists(state + "/state.json", error)) return;
    for (const int number : folders_in(state))
        if (std::find(in_use.numbers.begin(), in_use.numbers.end(), number) == in_use.numbers.end())
            std::filesystem::remove_all(generation_folder(state, number), error);
    std::vector<std::filesystem::path> begun;
    for (std::filesystem::directory_iterator it(state, error), end; !error && it != end; it.increment(error))
        if (const std::string name = it->path().filename().string(); name.starts_with(kFolder) && name.ends_with(".new"))
            begun.push_back(it->path());
    for (const auto& path : begun) std::filesystem::remove_all(path, error);
}

base::WallTime next_step(const Generations& generations, const AuthorityOptions& options) {
    switch (generations.phase) {
        case Phase::Steady: return {};
        case Phase::Overlap: return generations.since + options.overlap;
        // The longest-lived certificate of the old root may have been made a moment before the new one took over.
        case Phase::Retiring: return generations.since + options.max_lifetime;
    }
    return {};
}

Generations advanced(Generations generations, base::WallTime now) {
    if (generations.phase == Phase::Overlap) {
        generations.phase = Phase::Retiring;
        generations.signing = generations.numbers.back();
    } else if (generations.phase == Phase::Retiring) {
        generations.phase = Phase::Steady;
        generations.numbers.erase(generations.numbers.begin());
    }
    generations.since = now;
    return generations;
}

}  // namespace warren::cluster
