// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/watched_roots.h"

#include "ztunnel/certificate_text.h"

#include <filesystem>
#include <utility>

namespace warren::ztunnel {

base::Result<std::unique_ptr<WatchedRoots>> WatchedRoots::from_setting(const std::string& setting, base::FileWatcher* watcher) {
    std::unique_ptr<WatchedRoots> roots(new WatchedRoots(TRY(xds::RootSource::from_setting("CA_ROOT_CA", setting))));
    std::error_code ignored;
    if (watcher != nullptr && std::filesystem::exists(setting, ignored))
        roots->watch_ = TRY(watcher->watch(setting, [raw = roots.get()] { raw->make_dirty(); }));
    return roots;
}

base::Result<std::string> WatchedRoots::load() const {
    const std::string pem = TRY(source_.load());
    // One damaged certificate in a bundle of many must not cut the node off.
    size_t damaged = 0;
    std::string usable;
    for (const PemBlock& block : read_pem(pem, damaged))
        if (auto certificate = parse_certificate(block.der)) usable += to_pem(certificate->get());
    if (usable.empty()) return base::invalid("CA_ROOT_CA: there is no readable certificate in it");
    return usable;
}

}  // namespace warren::ztunnel
