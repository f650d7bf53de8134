// SPDX-License-Identifier: Apache-2.0
// Certificates as peers and certificate services send them: DER, PEM bundles, and the names inside.
#include "ztunnel/certificate_text.h"
#include "ztunnel/credential.h"
#include "ztunnel/tls_verify.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto look = [](X509* certificate) {
        for (const auto& uri : ztunnel::uri_names(certificate))
            for (const char c : uri)
                if (c <= ' ' || c >= 0x7f) std::abort();
        if (ztunnel::describe(certificate).find('\n') != std::string::npos) std::abort();
        const auto identity = ztunnel::first_identity(certificate);
        // A name that is accepted as an expected one is one the certificate has.
        const std::vector<policy::Identity> expected{identity};
        if (!identity.empty() && !ztunnel::check_server_names(certificate, expected)) std::abort();
        if (ztunnel::check_server_names(certificate, {})) std::abort();
    };
    if (auto certificate = ztunnel::parse_certificate(text)) look(certificate->get());
    size_t damaged = 0;
    for (const auto& block : ztunnel::read_pem(text, damaged))
        if (auto certificate = ztunnel::parse_certificate(block.der)) look(certificate->get());
    (void)ztunnel::Credential::parse({std::string(text), std::string(text)}, std::string(text));
    return 0;
}
