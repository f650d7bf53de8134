// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("sockops") int wr_sockops(struct bpf_sock_ops *ctx) { (void)ctx; return 1; }
