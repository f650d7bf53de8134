// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("cgroup/connect4") int wr_connect4(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/connect6") int wr_connect6(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
