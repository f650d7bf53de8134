// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* socket() of MPTCP in an enrolled pod is refused, so that the runtime falls back to TCP: kernels differ in whether connect() of an MPTCP
 * socket runs the connect hook (6.18 does, and captures it). Failure direction: everything else passes; one that was made before the pod
 * joined is captured, or stopped at its SYN where no hook ran (sockops.bpf.c).
 */
#include "bpf/lookup.h"
#include "bpf/stats.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

SEC("cgroup/sock_create")
int wr_create(struct bpf_sock* ctx) {
    const struct wr_config* config;
    const struct wr_pod* pod;

    if (ctx->protocol != IPPROTO_MPTCP) return 1;
    pod = pod_of(bpf_get_netns_cookie(ctx));
    config = config_row();
    if (!pod || !config || !(pod->flags & WR_POD_OUTBOUND) || !(config->flags & WR_CONFIG_REDIRECT)) return 1;
    count(WR_STAT_CONNECT_UNSUPPORTED);
    if (LINUX_KERNEL_VERSION >= WR_KERNEL(6, 1)) bpf_set_retval(-EPROTONOSUPPORT);
    return 0;
}
