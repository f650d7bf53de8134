// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/ca_service.h"

#include "base/bytes.h"
#include "proto/ca.pb.h"

#include <limits>

namespace warren::cluster {

namespace {
constexpr int kMaxFields = 16;
constexpr size_t kMaxIdentity = 2048;
constexpr int64_t kMaxSeconds = std::numeric_limits<int32_t>::max();  // beyond every limit, and far from overflow
}  // namespace

base::Result<ParsedRequest> parse_request(std::string_view message) {
    istio::v1::auth::IstioCertificateRequest request;
    if (message.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
        !request.ParseFromArray(message.data(), static_cast<int>(message.size())))
        return base::invalid("the request is no IstioCertificateRequest");
    ParsedRequest parsed;
    parsed.csr = std::move(*request.mutable_csr());
    parsed.lifetime = std::chrono::seconds(std::min(request.validity_duration(), kMaxSeconds));
    const auto& fields = request.metadata().fields();
    if (fields.size() > kMaxFields) return base::invalid("metadata of " + std::to_string(fields.size()) + " fields; at most 16");
    if (const auto found = fields.find("ImpersonatedIdentity"); found != fields.end()) {
        if (found->second.kind_case() != google::protobuf::Value::kStringValue)
            return base::invalid("metadata.ImpersonatedIdentity is not a text");
        parsed.impersonated = found->second.string_value();
        if (parsed.impersonated.empty() || parsed.impersonated.size() > kMaxIdentity)
            return base::invalid("metadata.ImpersonatedIdentity is empty or longer than 2048 bytes");
    }
    // Silently using our own issuer instead would give a certificate of another trust than the one asked for.
    if (const auto found = fields.find("CertSigner"); found != fields.end() && !found->second.string_value().empty())
        return base::invalid("metadata.CertSigner " + base::quoted(found->second.string_value()) + ": there are no external signers");
    return parsed;
}

}  // namespace warren::cluster
