// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "bpf/maps.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";
SEC("cgroup/bind4") int wr_bind4(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/bind6") int wr_bind6(struct bpf_sock_addr *ctx) { (void)ctx; return 1; }
SEC("cgroup/getsockopt") int wr_getsockopt(struct bpf_sockopt *ctx) { (void)ctx; return 1; }
SEC("sockops") int wr_tunnel_ops(struct bpf_sock_ops *ctx) { (void)ctx; return 1; }
