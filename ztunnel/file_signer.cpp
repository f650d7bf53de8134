// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/file_signer.h"

namespace warren::ztunnel {

base::Result<std::unique_ptr<FileSigner>> FileSigner::create(CertificateFiles files, base::FileWatcher& watcher) {
    std::unique_ptr<FileSigner> signer(new FileSigner(std::move(files)));
    const auto changed = [raw = signer.get()] {
        const std::lock_guard lock(raw->mutex_);
        if (raw->on_change_) raw->on_change_();
    };
    for (const std::string* path : {&signer->files_.chain, &signer->files_.key, &signer->files_.roots})
        signer->watches_.push_back(TRY(watcher.watch(*path, changed)));
    return signer;
}

void FileSigner::on_change(std::function<void()> callback) {
    const std::lock_guard lock(mutex_);
    on_change_ = std::move(callback);
}

base::Result<std::shared_ptr<const Credential>> FileSigner::sign(const policy::Identity& identity, std::chrono::steady_clock::time_point) {
    // While one of the files is new and the other not yet, key and certificate do not fit: an error, and the watch calls again.
    auto credential = Credential::parse_files(files_.chain, files_.key, files_.roots);
    if (!credential) return std::move(credential).error().with("certificate files");
    if (!((*credential)->identity() == identity))
        return base::Error{base::Errc::Denied, 0, "",
                           files_.chain + " is for " +
                               ((*credential)->identity().empty() ? "no SPIFFE identity" : (*credential)->identity().uri()) +
                               ", wanted is " + identity.uri()};
    return credential;
}

}  // namespace warren::ztunnel
