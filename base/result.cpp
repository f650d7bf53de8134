// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace warren::base {

std::string_view to_string(Errc code) noexcept {
    switch (code) {
        case Errc::Invalid: return "invalid";
        case Errc::NotFound: return "not found";
        case Errc::Exists: return "exists";
        case Errc::Denied: return "denied";
        case Errc::Exhausted: return "exhausted";
        case Errc::Unavailable: return "unavailable";
        case Errc::Timeout: return "timeout";
        case Errc::Protocol: return "protocol";
        case Errc::Unsupported: return "unsupported";
        case Errc::Internal: return "internal";
    }
    return "unknown";
}

std::string Error::message() const {
    std::string out = where;
    if (!detail.empty()) {
        if (!out.empty()) out += ' ';
        out += detail;
    }
    if (os != 0) {
        char text[128];
        if (!out.empty()) out += ": ";
        out += ::strerror_r(os, text, sizeof text);
        if (const char* name = ::strerrorname_np(os)) {
            out += " (";
            out += name;
            out += ')';
        }
    }
    if (out.empty()) out = to_string(code);
    return out;
}

Error Error::with(std::string_view context) && {
    std::string text(context);
    text += ": ";
    text += where;
    if (*where != '\0' && !detail.empty()) text += ' ';
    text += detail;
    where = "";
    detail = std::move(text);
    return std::move(*this);
}

Error os_error_of(int os, const char* where, std::string detail) {
    Errc code = Errc::Internal;
    switch (os) {
        case EINVAL:
        case ENAMETOOLONG: code = Errc::Invalid; break;
        case ENOENT:
        case ESRCH:
        case ENODEV: code = Errc::NotFound; break;
        case EEXIST:
        case EADDRINUSE: code = Errc::Exists; break;
        case EPERM:
        case EACCES: code = Errc::Denied; break;
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOBUFS:
        case ENOSPC:
        case E2BIG: code = Errc::Exhausted; break;
        case ETIMEDOUT: code = Errc::Timeout; break;
        case ENOTSUP:
        case ENOSYS:
        case EPROTONOSUPPORT:
        case EAFNOSUPPORT:
        case ENOPROTOOPT: code = Errc::Unsupported; break;
        case EPROTO:
        case EBADMSG: code = Errc::Protocol; break;
        default: code = Errc::Unavailable; break;
    }
    return Error{code, os, where, std::move(detail)};
}

Error os_error(const char* where, std::string detail) {
    const int os = errno;
    return os_error_of(os, where, std::move(detail));
}

}  // namespace warren::base
