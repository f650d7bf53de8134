// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("cgroup/sendmsg4") int wr_sendmsg4(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/sendmsg6") int wr_sendmsg6(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/recvmsg4") int wr_recvmsg4(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/recvmsg6") int wr_recvmsg6(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
