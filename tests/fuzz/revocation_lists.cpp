// SPDX-License-Identifier: Apache-2.0
// Lists as a control plane may send them: any bytes are an error or lists that can be asked, and that never take back what they say.
#include "agent/node/revocation_lists.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using warren::node::RevocationLists;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto whole = RevocationLists::parse(text);
    if (!whole) return 0;
    (void)whole->issued();
    (void)whole->serials();
    const size_t second = text.find("-----BEGIN", 1);
    const auto front = RevocationLists::parse(text.substr(0, second));
    if (front) (void)front->takes_back(*whole);
    if (whole->size() == 1 && whole->takes_back(*whole)) std::abort();
    return 0;
}
