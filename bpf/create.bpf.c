// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("cgroup/sock_create") int wr_create(struct bpf_sock *ctx) { (void)ctx; return 1; }
