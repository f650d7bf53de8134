// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("sk_lookup") int wr_sk_lookup(struct bpf_sk_lookup *ctx) { (void)ctx; return SK_PASS; }
