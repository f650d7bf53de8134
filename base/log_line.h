// SPDX-License-Identifier: Apache-2.0
// One log event as one line, in the two forms of data-plane contract section 9.5: tab separated text, or a JSON object whose first keys are
// level, time and scope. Pure functions and plain values, any thread. Whatever bytes a message or value holds, the line has no line feed
// but its own, and is valid UTF-8: control characters (C0, DEL and C1, which terminals obey) are escaped, invalid bytes become U+FFFD.
// Values longer than kMaxValueBytes are cut, and say how long they were.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace warren::base::log {

enum class Level : uint8_t { Off, Error, Warn, Info, Debug, Trace };  // ascending detail; Off is a threshold only
enum class Format : uint8_t { Text, Json };

inline constexpr size_t kMaxValueBytes = 8192;  // a peer's error text stays readable, 10,000 queued lines stay bounded

[[nodiscard]] std::string_view to_string(Level level) noexcept;                    // "off" "error" "warn" "info" "debug" "trace"
[[nodiscard]] std::optional<Level> parse_level(std::string_view text) noexcept;    // those words, in any case
[[nodiscard]] std::optional<Format> parse_format(std::string_view text) noexcept;  // "plain", "text" or "json"

// Text that the text format writes without quotes, for example an address. JSON has it as a string.
struct Plain {
    std::string_view text;
};

// A key and a borrowed value: lives for one statement, inside WARREN_LOG. An empty optional or a null pointer leaves the key out.
class Field {
  public:
    enum class Kind : uint8_t { Absent, Bool, Int, Uint, Double, String, Plain };

    template <std::same_as<bool> T>  // a template, or every pointer would become one
    Field(std::string_view k, T v) : key(k), kind(Kind::Bool), number{.u = v} {}
    template <std::signed_integral T>
    Field(std::string_view k, T v) : key(k), kind(Kind::Int), number{.i = v} {}
    template <std::unsigned_integral T>
        requires(!std::same_as<T, bool>)
    Field(std::string_view k, T v) : key(k), kind(Kind::Uint), number{.u = v} {}
    Field(std::string_view k, double v) : key(k), kind(Kind::Double), number{.d = v} {}
    Field(std::string_view k, std::string_view v) : key(k), text(v), kind(Kind::String) {}
    Field(std::string_view k, const std::string& v) : Field(k, std::string_view(v)) {}
    Field(std::string_view k, const char* v) : Field(k, v ? std::string_view(v) : std::string_view()) {
        if (!v) kind = Kind::Absent;
    }
    Field(std::string_view k, log::Plain v) : key(k), text(v.text), kind(Kind::Plain) {}
    template <class T>
    Field(std::string_view k, const std::optional<T>& v) : key(k) {
        if (v) *this = Field(k, *v);
    }

    std::string_view key;
    std::string_view text;  // String, Plain
    Kind kind = Kind::Absent;
    union {
        int64_t i;
        uint64_t u;
        double d;
    } number{.u = 0};
};

struct Event {
    std::chrono::system_clock::time_point time;
    Level level = Level::Info;
    std::string_view target;
    std::string_view message;
    std::span<const Field> fields;
};

// Appends the line with its line feed.
void append_line(std::string& out, Format format, const Event& event);

// text in double quotes, escaped and cut as a value of the text format: for putting foreign text into an error's detail.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace warren::base::log
