// SPDX-License-Identifier: Apache-2.0
// Certificates, keys and lists of the certificate service as PEM, and their fields as values. Private to its .cpp files, as
// base/openssl_ptr.h is. PEM texts of keys are the caller's to wipe.
#pragma once

#include "base/clock.h"
#include "base/openssl_ptr.h"
#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

using namespace base::openssl;
using base::openssl::to_pem;  // beside the overloads below

// Every CERTIFICATE of the text in order; other blocks are skipped. One that does not parse is an error, none is an empty list.
[[nodiscard]] base::Result<std::vector<X509Ptr>> read_certificates(std::string_view pem);
// The first private key of the text, without a password.
[[nodiscard]] base::Result<KeyPtr> read_private_key(std::string_view pem);

[[nodiscard]] std::string to_pem(X509_CRL* list);
[[nodiscard]] std::string to_pem(EVP_PKEY* key);  // PKCS#8, not encrypted; wipe after use

[[nodiscard]] base::Result<base::WallTime> time_of(const ASN1_TIME* time);
[[nodiscard]] bool set_time(ASN1_TIME* field, base::WallTime time);
// Upper-case hex, as `openssl x509 -serial` prints it.
[[nodiscard]] std::string serial_hex(const ASN1_INTEGER* serial);
[[nodiscard]] bool self_signed(X509* certificate);

}  // namespace warren::cluster
