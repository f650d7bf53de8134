// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"
#include "base/ip.h"
#include "base/log_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace warren::base::config {
namespace {

using std::chrono::nanoseconds;

struct Unit {
    std::string_view text;
    uint64_t factor;
};
constexpr std::array<Unit, 6> kTimes{
    {{"h", 3'600'000'000'000u}, {"m", 60'000'000'000u}, {"s", 1'000'000'000u}, {"ms", 1'000'000u}, {"us", 1'000u}, {"ns", 1u}}};
constexpr std::array<Unit, 6> kSizes{
    {{"GiB", 1u << 30}, {"Gi", 1u << 30}, {"MiB", 1u << 20}, {"Mi", 1u << 20}, {"KiB", 1u << 10}, {"Ki", 1u << 10}}};

// Digits only, all of them, and no overflow.
template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

size_t digits(std::string_view text) {
    size_t n = 0;
    while (n < text.size() && text[n] >= '0' && text[n] <= '9') ++n;
    return n;
}

std::optional<nanoseconds> parse_duration(std::string_view text) {
    uint64_t total = 0;
    size_t next_unit = 0;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const size_t n = digits(text);
        const auto count = number<uint64_t>(text.substr(0, n));
        text.remove_prefix(n);
        size_t letters = 0;
        while (letters < text.size() && (text[letters] < '0' || text[letters] > '9')) ++letters;
        const auto unit = std::find_if(kTimes.begin() + static_cast<ptrdiff_t>(next_unit), kTimes.end(),
                                       [&](const Unit& u) { return u.text == text.substr(0, letters); });
        uint64_t part = 0;
        if (!count || unit == kTimes.end() || __builtin_mul_overflow(*count, unit->factor, &part) ||
            __builtin_add_overflow(total, part, &total) || total > static_cast<uint64_t>(nanoseconds::max().count()))
            return std::nullopt;
        text.remove_prefix(letters);
        next_unit = static_cast<size_t>(unit - kTimes.begin()) + 1;
    }
    return nanoseconds(static_cast<int64_t>(total));
}

std::string print_duration(nanoseconds value) {
    auto left = static_cast<uint64_t>(std::max<int64_t>(value.count(), 0));
    if (left == 0) return "0s";
    std::string out;
    for (const Unit& u : kTimes) {
        if (left >= u.factor) out += fmt::format("{}{}", left / u.factor, u.text);
        left %= u.factor;
    }
    return out;
}

std::optional<uint64_t> parse_size(std::string_view text) {
    const size_t n = digits(text);
    const auto count = number<uint64_t>(text.substr(0, n));
    if (!count) return std::nullopt;
    if (n == text.size()) return count;
    const auto unit = std::find_if(kSizes.begin(), kSizes.end(), [&](const Unit& u) { return u.text == text.substr(n); });
    uint64_t bytes = 0;
    if (unit == kSizes.end() || __builtin_mul_overflow(*count, unit->factor, &bytes)) return std::nullopt;
    return bytes;
}

std::string print_size(uint64_t bytes) {
    for (const std::string_view unit : {"GiB", "MiB", "KiB"}) {
        const uint64_t factor = std::find_if(kSizes.begin(), kSizes.end(), [&](const Unit& u) { return u.text == unit; })->factor;
        if (bytes >= factor && bytes % factor == 0) return fmt::format("{}{}", bytes / factor, unit);
    }
    return fmt::format("{}", bytes);
}

}  // namespace

void Schema::boolean(Decl decl, bool& target) {
    custom({std::move(decl), "boolean", "true, false", target ? "true" : "false", false,
            [&target](const std::vector<std::string>& items) -> Result<Parsed> {
                const bool yes = items[0] == "true";
                if (!yes && items[0] != "false") return invalid("");
                return Parsed{items[0], [&target, yes] { target = yes; }};
            }});
}

void Schema::whole(Decl decl, int64_t initial, int64_t min, int64_t max, std::function<void(int64_t)> assign) {
    custom({std::move(decl), "integer", fmt::format("a whole number from {} to {}", min, max), fmt::format("{}", initial), false,
            [=](const std::vector<std::string>& items) -> Result<Parsed> {
                const auto value = number<int64_t>(items[0]);
                if (!value || *value < min || *value > max) return invalid("");
                return Parsed{fmt::format("{}", *value), [assign, value] { assign(*value); }};
            }});
}

void Schema::duration(Decl decl, nanoseconds& target, nanoseconds min, nanoseconds max) {
    custom({std::move(decl), "duration",
            fmt::format("a duration from {} to {}, as in 5s, 500ms, 1h30m", print_duration(min), print_duration(max)),
            print_duration(target), false, [&target, min, max](const std::vector<std::string>& items) -> Result<Parsed> {
                const auto value = parse_duration(items[0]);
                if (!value || *value < min || *value > max) return invalid("");
                return Parsed{print_duration(*value), [&target, value] { target = *value; }};
            }});
}

void Schema::size(Decl decl, uint64_t& target, uint64_t min, uint64_t max) {
    custom({std::move(decl), "size", fmt::format("bytes from {} to {}, as in 4096, 64KiB, 16Mi", print_size(min), print_size(max)),
            print_size(target), false, [&target, min, max](const std::vector<std::string>& items) -> Result<Parsed> {
                const auto value = parse_size(items[0]);
                if (!value || *value < min || *value > max) return invalid("");
                return Parsed{print_size(*value), [&target, value] { target = *value; }};
            }});
}

void Schema::text(Decl decl, std::string& target, size_t max_bytes) {
    custom({std::move(decl), "text", fmt::format("text of at most {} bytes", max_bytes), target, false,
            [&target, max_bytes](const std::vector<std::string>& items) -> Result<Parsed> {
                if (items[0].size() > max_bytes) return invalid("");
                return Parsed{items[0], [&target, value = items[0]] { target = value; }};
            }});
}

void Schema::one_of(Decl decl, std::vector<std::string> words, std::string initial, std::function<void(size_t)> assign) {
    custom({std::move(decl), "choice", fmt::format("{}", fmt::join(words, ", ")), std::move(initial), false,
            [words, assign = std::move(assign)](const std::vector<std::string>& items) -> Result<Parsed> {
                const auto at = std::find(words.begin(), words.end(), items[0]);
                if (at == words.end()) return invalid("");
                return Parsed{*at, [assign, i = static_cast<size_t>(at - words.begin())] { assign(i); }};
            }});
}

void Schema::list(Decl decl, std::vector<std::string>& target, size_t max_items, std::vector<std::string> allowed) {
    const std::string what = allowed.empty() ? "text" : fmt::format("{}", fmt::join(allowed, ", "));
    custom({std::move(decl), "list", fmt::format("at most {} items of: {}", max_items, what), fmt::format("{}", fmt::join(target, ",")),
            true, [&target, max_items, allowed = std::move(allowed)](const std::vector<std::string>& items) -> Result<Parsed> {
                if (items.size() > max_items) return invalid(fmt::format("{} items", items.size()));
                for (const std::string& item : items) {
                    if (item.empty()) return invalid("an item is empty");
                    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), item) == allowed.end())
                        return invalid(fmt::format("item {}", log::quoted(item)));
                }
                return Parsed{fmt::format("{}", fmt::join(items, ",")), [&target, items] { target = items; }};
            }});
}

void Schema::socket_addr(Decl decl, std::string& target) {
    custom({std::move(decl), "address", "an address with a port, as in 127.0.0.1:15000 or [::1]:15000", target, false,
            [&target](const std::vector<std::string>& items) -> Result<Parsed> {
                if (!SockAddr::parse(items[0])) return invalid("");
                return Parsed{items[0], [&target, value = items[0]] { target = value; }};
            }});
}

}  // namespace warren::base::config
