// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or an Error, named like std::expected so that it can be swapped for it under C++23.
//
// Errors are values: built off the hot path, enriched while they travel up, logged once at the edge that gives up.
// Progress is not an error: non-blocking calls return Io. No thread affinity; plain values.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace warren::base {

enum class Errc : uint8_t {
    Invalid,  // input that does not parse or does not make sense; the fix is with whoever sent it
    NotFound,
    Exists,
    Denied,       // policy or permission
    Exhausted,    // a limit of ours or of the machine was reached
    Unavailable,  // a peer or a part of the system is away; trying again may help
    Timeout,
    Protocol,     // a peer broke the protocol
    Unsupported,  // the kernel, a library or the configuration lacks it
    Internal,     // our bug
};

[[nodiscard]] std::string_view to_string(Errc code) noexcept;

struct [[nodiscard]] Error {
    Errc code = Errc::Internal;
    int os = 0;              // errno where the kernel said no, else 0
    const char* where = "";  // static text: the operation that failed, for example "bind"
    std::string detail;      // for people: names the field or address, the value, and the fix

    // "bind [::]:15008: address already in use (EADDRINUSE)". One line, no trailing period.
    [[nodiscard]] std::string message() const;

    // Puts where it happened in front: error.with("policy prod/web") -> "policy prod/web: ...".
    [[nodiscard]] Error with(std::string_view context) &&;
};

// Reads errno, so it must be the very next call after the one that failed.
[[nodiscard]] Error os_error(const char* where, std::string detail = {});
[[nodiscard]] Error os_error_of(int os, const char* where, std::string detail = {});
[[nodiscard]] inline Error invalid(std::string detail) { return Error{Errc::Invalid, 0, "", std::move(detail)}; }

template <class T>
class [[nodiscard]] Result {
  public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T& value() & { return assert(has_value()), *std::get_if<0>(&state_); }
    const T& value() const& { return assert(has_value()), *std::get_if<0>(&state_); }
    T&& value() && { return assert(has_value()), std::move(*std::get_if<0>(&state_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    template <class U>
    T value_or(U&& other) const& {
        return has_value() ? **this : static_cast<T>(std::forward<U>(other));
    }

    Error& error() & { return assert(!has_value()), *std::get_if<1>(&state_); }
    const Error& error() const& { return assert(!has_value()), *std::get_if<1>(&state_); }
    Error&& error() && { return assert(!has_value()), std::move(*std::get_if<1>(&state_)); }

  private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    using value_type = void;

    Result() = default;
    Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    void value() const { assert(has_value()); }

    Error& error() & { return assert(!has_value()), *error_; }
    const Error& error() const& { return assert(!has_value()), *error_; }
    Error&& error() && { return assert(!has_value()), std::move(*error_); }

  private:
    std::optional<Error> error_;
};

// What one non-blocking read or write did.
struct Io {
    enum class State : uint8_t { Ready, WouldBlock, Eof, Failed };
    size_t n = 0;
    State state = State::Ready;
    int os = 0;  // errno when Failed
};

}  // namespace warren::base

// TRY(expression): its value, or returns its error from the calling function. A GNU statement expression: both compilers
// of the project have it, and the standard has nothing as short. The counter keeps nested uses apart.
#define TRY(...) WARREN_TRY_EXPAND(__COUNTER__, __VA_ARGS__)
#define WARREN_TRY_EXPAND(n, ...) WARREN_TRY_JOIN(n, __VA_ARGS__)
#define WARREN_TRY_JOIN(n, ...) WARREN_TRY_NAMED(warren_try_##n, __VA_ARGS__)
#define WARREN_TRY_NAMED(name, ...)                    \
    __extension__({                                    \
        auto name = (__VA_ARGS__);                     \
        if (!name) return std::move(name).error();     \
        ::warren::base::detail::take(std::move(name)); \
    })

namespace warren::base::detail {
template <class T>
T take(Result<T>&& r) {
    return std::move(r).value();
}
inline void take(Result<void>&&) {}
}  // namespace warren::base::detail
