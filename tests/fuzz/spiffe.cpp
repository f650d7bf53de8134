// SPDX-License-Identifier: Apache-2.0
// Identity::parse on foreign text: what parses has the five parts of data-plane contract 0 and comes back the same from its own text.
#include "policy/identity.h"

#include <algorithm>
#include <cstdlib>

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using warren::policy::Identity;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto parsed = Identity::parse(text);
    if (!parsed) {
        require(!parsed.error().message().empty());
        return 0;
    }
    require(parsed->uri() == text);
    require(parsed->principal().view() == text.substr(9));
    require(std::count(text.begin() + 9, text.end(), '/') == 4);
    require(parsed->trust_domain().find('/') == std::string_view::npos);
    require(parsed->ns().find('/') == std::string_view::npos);
    require(parsed->service_account().find('/') == std::string_view::npos);
    const Identity built(parsed->trust_domain(), parsed->ns(), parsed->service_account());
    require(built == *parsed && built.ns_hash() == parsed->ns_hash() && built.account_hash() == parsed->account_hash());
    const auto again = Identity::parse(built.uri());
    require(again && *again == built && again->ns() == parsed->ns() && again->service_account() == parsed->service_account());
    return 0;
}
