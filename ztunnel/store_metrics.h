// SPDX-License-Identifier: Apache-2.0
// The certificate store's and the host resolver's counts on the metrics page. Called on the scraping thread; copies in, samples out.
#pragma once

#include "base/metrics.h"
#include "ztunnel/cert_store_threads.h"
#include "ztunnel/host_resolver.h"

namespace warren::ztunnel {

void publish(base::metrics::Collection& to, const CertStoreStats& stats);
void publish(base::metrics::Collection& to, const HostResolver::Stats& stats);

}  // namespace warren::ztunnel
