// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* getpeername(), and the address accept() returns: a client sees what it asked for, a server the true client. Failure direction: the
 * packet's own addresses.
 */
#include "bpf/datagram.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

/* Whose address to show instead, or NULL. */
WR_INLINE const struct wr_socket* shown(struct bpf_sock_addr* ctx) {
    const struct wr_socket* s = bpf_sk_storage_get(&wr_socket, ctx->sk, NULL, 0);

    if (!s) return NULL;
    if (s->role == WR_ROLE_CLIENT || s->role == WR_ROLE_SERVER) return s;
    if (s->role == WR_ROLE_RESOLVER && bpf_ntohs(ctx->user_port) == resolver_port()) return s;
    return NULL;
}

SEC("cgroup/getpeername4")
int wr_peername4(struct bpf_sock_addr* ctx) {
    const struct wr_socket* s = shown(ctx);
    struct ip asked;

    if (!s) return 1;
    ip_load(&asked, &s->asked);
    ctx->user_ip4 = asked.w[3];
    if (s->asked_port) ctx->user_port = bpf_htons(s->asked_port);
    return 1;
}

SEC("cgroup/getpeername6")
int wr_peername6(struct bpf_sock_addr* ctx) {
    const struct wr_socket* s = shown(ctx);
    struct ip asked;

    if (!s) return 1;
    ip_load(&asked, &s->asked);
    ctx->user_ip6[0] = asked.w[0];
    ctx->user_ip6[1] = asked.w[1];
    ctx->user_ip6[2] = asked.w[2];
    ctx->user_ip6[3] = asked.w[3];
    if (s->asked_port) ctx->user_port = bpf_htons(s->asked_port);
    return 1;
}
