// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/join.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"

#include <algorithm>

namespace warren::xds {

namespace {

const base::log::Area kLog("join");

constexpr size_t kMaxFile = 1024UL * 1024;
constexpr std::string_view kCertificate = "-----BEGIN CERTIFICATE-----", kRoots = "# roots\n";
constexpr std::string_view kBegin = "-----BEGIN ", kKeyEnd = "PRIVATE KEY-----";

// The first private key among the blocks of a PEM text; empty when there is none.
std::string_view private_key_of(std::string_view pem) {
    for (size_t at = pem.find(kBegin); at != std::string_view::npos; at = pem.find(kBegin, at + kBegin.size())) {
        const std::string_view head = pem.substr(at, pem.find('\n', at) - at);
        const size_t end = head.find(kKeyEnd) == std::string_view::npos ? std::string_view::npos : pem.find("-----END ", at);
        const size_t last = end == std::string_view::npos ? end : pem.find(kKeyEnd, end);
        if (last != std::string_view::npos) return pem.substr(at, last + kKeyEnd.size() - at);
    }
    return {};
}

}  // namespace

base::Result<void> save_node_credential(const NodeCredential& credential, const std::string& path) {
    std::string text = credential.key_pem + credential.chain_pem + std::string(kRoots) + credential.roots_pem;
    auto written = base::replace_small_file(path, text);
    base::wipe(text);
    return written;
}

base::Result<NodeCredential> load_node_credential(const std::string& path, const std::string& uri) {
    std::string text = TRY(base::read_small_file(path, kMaxFile));
    const size_t certificate = text.find(kCertificate), roots = text.find(kRoots);
    NodeCredential loaded;
    const bool shaped = certificate != std::string::npos && roots != std::string::npos && certificate < roots;
    if (shaped) {
        loaded.key_pem = text.substr(0, certificate);
        loaded.chain_pem = text.substr(certificate, roots - certificate);
        loaded.roots_pem = text.substr(roots + kRoots.size());
    }
    base::wipe(text);
    if (!shaped) return base::invalid(path + " does not hold a key, a chain and roots");
    if (auto good = check_node_credential(loaded, uri); !good) return std::move(good).error().with(path);
    return loaded;
}

base::Result<NodeProof> load_node_proof(const std::string& certificate_path, const std::string& key_path, const base::Clock& clock) {
    NodeCredential loaded;
    std::string text = TRY(base::read_small_file(key_path, kMaxFile));
    loaded.key_pem = private_key_of(text);
    base::wipe(text);
    text = TRY(base::read_small_file(certificate_path, kMaxFile));
    const size_t certificate = std::min(text.find(kCertificate), text.size()), roots = text.find(kRoots, certificate);
    loaded.chain_pem = text.substr(certificate, roots - certificate);
    if (roots != std::string::npos) loaded.roots_pem = text.substr(roots + kRoots.size());
    base::wipe(text);
    if (auto good = read_node_credential(loaded); !good) return std::move(good).error().with(certificate_path);
    if (clock.wall() >= loaded.not_after)
        return base::Error{base::Errc::Denied, 0, "", certificate_path + " has expired at " + base::to_rfc3339(loaded.not_after, 0)};
    NodeProof proof;
    proof.certificate = {std::move(loaded.chain_pem), loaded.key_pem};
    proof.more_roots = std::move(loaded.roots_pem);
    return proof;
}

NodeProofSource proof_from_files(std::string certificate_path, std::string key_path, bool optional, const base::Clock& clock) {
    return [certificate = std::move(certificate_path), key = std::move(key_path), optional, &clock]() -> base::Result<NodeProof> {
        auto proof = load_node_proof(certificate, key, clock);
        if (proof) return proof;
        if (!optional) return std::move(proof).error().with("the node's certificate, which the node agent writes once it has joined");
        WARREN_LOG(kLog, base::log::Level::Warn, "the node's certificate is not usable; the token is shown alone",
                   {"error", proof.error().message()});
        return NodeProof{};
    };
}

}  // namespace warren::xds
