// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/join.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/small_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>

namespace warren::xds {

namespace {

constexpr size_t kMaxFile = 1024UL * 1024;
constexpr std::string_view kCertificate = "-----BEGIN CERTIFICATE-----", kRoots = "# roots\n";

base::Result<void> write_and_sync(int fd, std::string_view content, const std::string& path) {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::os_error("write", path);
        content.remove_prefix(static_cast<size_t>(n));
    }
    if (::fsync(fd) != 0) return base::os_error("fsync", path);
    return {};
}

}  // namespace

base::Result<void> save_node_credential(const NodeCredential& credential, const std::string& path) {
    std::string beside = path + ".XXXXXX";
    const base::Fd file(::mkostemp(beside.data(), O_CLOEXEC));  // 0600
    if (!file) return base::os_error("create", beside);
    auto written = write_and_sync(file.get(), credential.key_pem, beside);
    if (written) written = write_and_sync(file.get(), credential.chain_pem, beside);
    if (written) written = write_and_sync(file.get(), std::string(kRoots) + credential.roots_pem, beside);
    if (written && ::rename(beside.c_str(), path.c_str()) != 0) written = base::os_error("rename", path);
    if (!written) ::unlink(beside.c_str());
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

}  // namespace warren::xds
