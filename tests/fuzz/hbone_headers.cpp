// SPDX-License-Identifier: Apache-2.0
// forwarded, baggage and traceparent as a peer sends them. Lines of the input are instances of the header.
#include "policy/hbone_headers.h"

#include <cstdlib>
#include <vector>

namespace policy = warren::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string_view host = policy::parse_forwarded_host(text);
    if (!host.empty() && (host.data() < text.data() || host.data() + host.size() > text.data() + text.size())) std::abort();
    // What we would send in its place is read back as the same host, or as none.
    const std::string sent = policy::format_forwarded({warren::base::IpAddr::v4(0x7f000001), 80}, host);
    const std::string_view back = policy::parse_forwarded_host(sent);
    if (!back.empty() && back != host) std::abort();

    std::vector<std::string_view> headers;
    for (std::string_view rest = text; !rest.empty();) {
        const size_t end = rest.find('\n');
        headers.push_back(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    const policy::Baggage baggage = policy::parse_baggage(headers);
    const std::string formatted = policy::format_baggage(baggage);
    const std::vector<std::string_view> one{formatted};
    if (!(policy::parse_baggage(one) == baggage)) std::abort();

    if (const auto trace = policy::TraceParent::parse(text)) {
        const auto again = policy::TraceParent::parse(trace->to_string());
        if (!again || !(*again == *trace)) std::abort();
    }
    return 0;
}
