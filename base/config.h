// SPDX-License-Identifier: Apache-2.0
// Configuration: every option is declared once, with its variable, and read from a YAML file, then the environment, then flags; the later
// source wins, but a wrong value is an error wherever it stands. Used by main() before threads start; nothing here is for a hot path.
//
//   Settings s;                                                            // initial values are the defaults
//   config::Schema schema;
//   schema.duration({.name = "drain.period", .env = {"DRAIN_PERIOD"}, .flag = "--drain-period", .help = "..."}, s.drain, 0s, 1h);
//   const config::Effective effective = TRY(schema.read({.args = args}));  // assigns all, or on error nothing
//
// Errors name the key, the value, what is allowed, and the place: "FILE:LINE", "environment variable X" or "flag --x". Unknown keys in the
// file and unknown flags are errors; unknown environment variables are not ours to judge. YAML keys nest: "a: {b: 1}" is "a.b".
// Targets are borrowed: they outlive the schema. yaml-cpp and CLI11 stay inside.
#pragma once

#include "base/config_source.h"
#include "base/result.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::base::config {

struct Decl {
    std::string name = {};              // "drain.period"
    std::vector<std::string> env = {};  // the first that is set counts; a variable set to nothing is set
    std::string flag = {};              // "--drain-period"; empty: none
    std::string help = {};
};

struct Sources {
    std::string file = {};                             // YAML path; empty: none. The flag --config replaces it.
    bool file_may_be_missing = false;                  // for a default path; a path given by --config must exist
    std::optional<std::string> file_text = {};         // instead of reading file, which then is only its name
    std::vector<std::string> args = {};                // without the program's name
    std::function<const char*(const char*)> env = {};  // getenv when empty
};

struct Setting {
    std::string name;
    std::string value;   // as the option prints it
    std::string origin;  // "default", or as in errors
    bool given = false;  // not the default
};

struct Effective {
    std::vector<Setting> settings;  // in the order of declaration
    bool help = false;              // --help was asked for: nothing was read

    [[nodiscard]] const Setting* find(std::string_view name) const;
    [[nodiscard]] std::string text() const;  // one line each: name: value  # origin
};

// What an accepted value prints as, and the assignment to make once everything was accepted.
struct Parsed {
    std::string canonical;
    std::function<void()> commit;
};

// One option with its type erased. parse gets one item, or any number when list; its error's detail may be empty.
struct Option {
    Decl decl;
    std::string type;     // for people: "duration"
    std::string allowed;  // "from 1s to 1h"
    std::string initial;  // the default as it prints
    bool list = false;
    std::function<Result<Parsed>(const std::vector<std::string>& items)> parse;
};

class Schema {
  public:
    void boolean(Decl decl, bool& target);  // exactly true or false
    template <std::integral T>
    void integer(Decl decl, T& target, T min = std::numeric_limits<T>::min(), T max = std::numeric_limits<T>::max()) {
        static_assert(sizeof(T) < 8 || std::signed_integral<T>, "the range must fit int64_t");
        whole(std::move(decl), target, min, max, [&target](int64_t v) { target = static_cast<T>(v); });
    }
    // Whole numbers with units in descending order: 5s, 1m, 500ms, 1h30m; units h m s ms us ns.
    void duration(Decl decl, std::chrono::nanoseconds& target, std::chrono::nanoseconds min, std::chrono::nanoseconds max);
    // Bytes: 4096, 64KiB, 16Mi, 1GiB.
    void size(Decl decl, uint64_t& target, uint64_t min, uint64_t max);
    void text(Decl decl, std::string& target, size_t max_bytes = 4096);
    // One of a few words. T is an enum or std::string.
    template <class T>
    void choice(Decl decl, T& target, std::vector<std::pair<std::string, T>> choices) {
        std::vector<std::string> words;
        std::string initial;
        for (const auto& [word, value] : choices) {
            words.push_back(word);
            if (value == target) initial = word;
        }
        one_of(std::move(decl), std::move(words), std::move(initial),
               [&target, choices = std::move(choices)](size_t i) { target = choices[i].second; });
    }
    // A YAML sequence, or text with commas; the flag may repeat. Empty items are refused; allowed, when not empty, bounds them.
    void list(Decl decl, std::vector<std::string>& target, size_t max_items = 100, std::vector<std::string> allowed = {});
    // "1.2.3.4:80" or "[::1]:80".
    void socket_addr(Decl decl, std::string& target);
    // Anything else.
    void custom(Option option) { options_.push_back(std::move(option)); }

    Result<Effective> read(const Sources& sources) const;

    [[nodiscard]] std::string help(const std::string& program) const;  // what --help prints
    [[nodiscard]] std::string reference() const;                       // a Markdown table

  private:
    void whole(Decl decl, int64_t initial, int64_t min, int64_t max, std::function<void(int64_t)> assign);
    void one_of(Decl decl, std::vector<std::string> words, std::string initial, std::function<void(size_t)> assign);
    [[nodiscard]] Result<void> check() const;
    [[nodiscard]] std::vector<FlagSpec> flags() const;
    Result<std::vector<RawValue>> gather(const Sources& sources, Flags flags) const;
    Result<Parsed> accept(const Option& option, const RawValue& value) const;
    [[nodiscard]] Error unknown_key(const RawValue& value) const;

    std::vector<Option> options_;
};

}  // namespace warren::base::config
