// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_settings.h"

#include "base/bytes.h"
#include "base/fd.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <fcntl.h>
#include <unistd.h>

namespace warren::ztunnel {

namespace {

constexpr uint16_t kNameServerPort = 53;
constexpr size_t kMaxFile = 64 * 1024;
constexpr std::string_view kBlanks = " \t\r";

std::string_view next_word(std::string_view& line) {
    const size_t start = std::min(line.find_first_not_of(kBlanks), line.size());
    const size_t end = std::min(line.find_first_of(kBlanks, start), line.size());
    const std::string_view word = line.substr(start, end - start);
    line.remove_prefix(end);
    return word;
}

void read_line(std::string_view line, ResolvConf& conf) {
    line = line.substr(0, line.find_first_of("#;"));
    const std::string_view key = next_word(line);
    if (key == "nameserver") {
        const std::string_view word = next_word(line);
        const auto ip = base::IpAddr::parse(word);
        if (ip && conf.servers.size() < ResolvConf::kMaxServers) {
            conf.servers.push_back({*ip, kNameServerPort});
        } else {
            conf.skipped.push_back(base::quoted(word));
        }
    } else if (key == "search" || key == "domain") {
        conf.search.clear();
        for (std::string_view word = next_word(line); !word.empty(); word = next_word(line))
            if (word != "." && conf.search.size() < ResolvConf::kMaxSearch) conf.search.emplace_back(word);
    }
}

}  // namespace

base::Result<DnsListen> parse_dns_proxy_addr(std::string_view text) {
    constexpr std::string_view kLocal = "localhost:";
    if (text.starts_with(kLocal)) {
        const std::string_view digits = text.substr(kLocal.size());
        uint16_t port = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (error == std::errc{} && end == digits.data() + digits.size() && port != 0) return DnsListen{std::nullopt, port};
    } else if (const auto address = base::SockAddr::parse(text); address && address->port != 0) {
        return DnsListen{address->ip, address->port};
    }
    return base::invalid("DNS_PROXY_ADDR: " + base::quoted(text) + " is neither localhost:PORT nor IP:PORT");
}

bool dns_capture_enabled(const std::optional<std::string>& value) {
    if (!value) return true;
    constexpr std::string_view kTrue = "true";
    return std::equal(value->begin(), value->end(), kTrue.begin(), kTrue.end(),
                      [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

ResolvConf parse_resolv_conf(std::string_view text) {
    ResolvConf conf;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        read_line(text.substr(0, end), conf);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return conf;
}

base::Result<ResolvConf> read_resolv_conf(const std::string& path) {
    const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return base::os_error("open", path);
    std::string text;
    std::array<char, 4096> part;
    for (;;) {
        const ssize_t n = ::read(fd.get(), part.data(), part.size());
        if (n < 0) return base::os_error("read", path);
        if (n == 0) return parse_resolv_conf(text);
        text.append(part.data(), static_cast<size_t>(n));
        if (text.size() > kMaxFile) return base::invalid(path + ": larger than 64 KiB");
    }
}

}  // namespace warren::ztunnel
