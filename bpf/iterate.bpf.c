// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("iter/tcp") int wr_iter_sample(struct bpf_iter__tcp *ctx) { (void)ctx; return 0; }
SEC("iter/tcp") int wr_iter_judge(struct bpf_iter__tcp *ctx) { (void)ctx; return 0; }
SEC("iter/tcp") int wr_iter_list(struct bpf_iter__tcp *ctx) { (void)ctx; return 0; }
