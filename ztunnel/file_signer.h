// SPDX-License-Identifier: Apache-2.0
// FileSigner: the workload certificate of dedicated mode from files that someone else renews: chain (leaf, intermediates), key, roots.
// sign() reads them anew.
//
// sign() on any thread. The FileWatcher outlives this.
#pragma once

#include "base/file_watch.h"
#include "base/result.h"
#include "ztunnel/cert_store.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace warren::ztunnel {

struct CertificateFiles {
    std::string chain, key, roots;
};

class FileSigner final : public CertSigner {
  public:
    // Errors: those of the watch. The files need not be there yet.
    static base::Result<std::unique_ptr<FileSigner>> create(CertificateFiles files, base::FileWatcher& watcher);

    // Called on the watcher's thread when there is something new to read, for example OwnedCertStore::renew. The store borrows the signer,
    // so it comes later and goes before: set an empty one then, which waits for a call under way. Not from inside the call.
    void on_change(std::function<void()> callback);

    // Refuses a certificate of another identity: who asked would run under a name that is not its own.
    base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity& identity,
                                                         std::chrono::steady_clock::time_point deadline) override;

  private:
    explicit FileSigner(CertificateFiles files) : files_(std::move(files)) {}
    const CertificateFiles files_;
    std::mutex mutex_;  // held during the call
    std::function<void()> on_change_;
    std::vector<base::FileWatcher::Watch> watches_;  // last, so that they end first
};

}  // namespace warren::ztunnel
