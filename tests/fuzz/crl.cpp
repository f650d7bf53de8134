// SPDX-License-Identifier: Apache-2.0
// The revocation file: any bytes are an error or lists that can be asked.
#include "ztunnel/crl.h"

#include "tests/ztunnel/test_ca.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren;
    static const tests::TestCa ca("a");
    static const std::string leaf = tests::pem_to_der(ca.leaf(tests::LeafSpec{.uris = {}, .dns = {}, .eku = "", .serial = 42}).cert_pem);
    const auto list = ztunnel::RevocationList::parse({reinterpret_cast<const char*>(data), size});
    if (list) (void)(*list)->mentions(leaf);
    return 0;
}
