// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "base/bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace warren::base {

namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// Takes exactly n decimal digits off the front of text.
std::optional<unsigned> take_digits(std::string_view& text, size_t n) {
    if (text.size() < n) return std::nullopt;
    unsigned value = 0;
    for (const char c : text.substr(0, n)) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    text.remove_prefix(n);
    return value;
}

bool take_char(std::string_view& text, char c) {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
}

// A number of two digits up to most, after the given separator ('\0': none).
std::optional<unsigned> take_field(std::string_view& text, char separator, unsigned most) {
    if (separator != '\0' && !take_char(text, separator)) return std::nullopt;
    const auto value = take_digits(text, 2);
    return value && *value <= most ? value : std::nullopt;
}

std::optional<seconds> take_date_time(std::string_view& text) {
    namespace chrono = std::chrono;
    const auto year = take_digits(text, 4);
    if (!year) return std::nullopt;
    const auto month = take_field(text, '-', 12);
    const auto day = take_field(text, '-', 31);
    const auto hour = take_field(text, 'T', 23);
    const auto minute = take_field(text, ':', 59);
    const auto second = take_field(text, ':', 59);
    if (!month || !day || !hour || !minute || !second) return std::nullopt;
    const chrono::year_month_day date(chrono::year(static_cast<int>(*year)), chrono::month(*month), chrono::day(*day));
    if (!date.ok()) return std::nullopt;
    return chrono::sys_days(date).time_since_epoch() + chrono::hours(*hour) + chrono::minutes(*minute) + seconds(*second);
}

std::optional<nanoseconds> take_fraction(std::string_view& text) {
    if (!take_char(text, '.')) return nanoseconds(0);
    const size_t n = std::min(text.find_first_not_of("0123456789"), text.size());
    if (n == 0 || n > 9) return std::nullopt;
    unsigned value = take_digits(text, n).value_or(0);
    for (size_t i = n; i < 9; ++i) value *= 10;
    return nanoseconds(value);
}

std::optional<seconds> take_offset(std::string_view& text) {
    if (take_char(text, 'Z')) return seconds(0);
    const bool west = text.starts_with('-');
    if (!west && !text.starts_with('+')) return std::nullopt;
    text.remove_prefix(1);
    const auto hour = take_field(text, '\0', 23);
    const auto minute = take_field(text, ':', 59);
    if (!hour || !minute) return std::nullopt;
    const seconds east = std::chrono::hours(*hour) + std::chrono::minutes(*minute);
    return west ? -east : east;
}

}  // namespace

FakeClock::FakeClock(WallTime wall)
    : mono_ns_(nanoseconds(seconds(1000)).count()), wall_ns_(nanoseconds(wall.time_since_epoch()).count()) {}

void FakeClock::advance(Duration by) {
    wall_ns_ += by.count();
    mono_ns_ += by.count();
}

void FakeClock::set_wall(WallTime value) { wall_ns_ = nanoseconds(value.time_since_epoch()).count(); }

std::string to_rfc3339(WallTime time, unsigned digits) {
    namespace chrono = std::chrono;
    const auto second = chrono::floor<seconds>(time);  // floor, so that times before 1970 have a fraction that counts forward
    const auto day = chrono::floor<chrono::days>(second);
    const chrono::year_month_day date(day);
    const chrono::hh_mm_ss clock(second - day);
    std::string out =
        fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                    static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(), clock.seconds().count());
    if (digits > 0) out.append(fmt::format(".{:09}", nanoseconds(time - second).count()), 0, 1 + std::min(digits, 9u));
    return out += 'Z';
}

Result<WallTime> parse_rfc3339(std::string_view text) {
    std::string_view rest = text;
    const auto local = take_date_time(rest);
    const auto fraction = local ? take_fraction(rest) : std::nullopt;
    const auto offset = fraction ? take_offset(rest) : std::nullopt;
    if (!offset || !rest.empty()) return invalid("time " + quoted(text) + " is not RFC 3339; write it like 2024-01-31T23:59:59Z");

    // One second short of what 64 bits of nanoseconds hold, so that the fraction always fits.
    static constexpr seconds kMost = std::chrono::floor<seconds>(nanoseconds::max()) - seconds(1);
    const seconds utc = *local - *offset;
    if (utc > kMost || utc < -kMost) return invalid("time " + quoted(text) + " is out of range; give a year from 1678 to 2261");
    return WallTime(std::chrono::duration_cast<WallTime::duration>(nanoseconds(utc) + *fraction));
}

}  // namespace warren::base
