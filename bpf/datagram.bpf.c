// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Questions to resolvers on datagram sockets that do not connect, and the answers of all of them. The application sees its resolver's
 * address on the answer, which musl's resolver checks. One address a socket: a socket that asks several resolvers sees the last one, which
 * is one of those it asked. Failure direction: what cannot be rewritten goes where it is addressed.
 */
#include "bpf/datagram.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

SEC("cgroup/sendmsg4")
int wr_sendmsg4(struct bpf_sock_addr* ctx) {
    struct ip asked;

    ip_from_v4(&asked, WR_READ(ctx, user_ip4));
    if (question_leaves(ctx, &asked, bpf_ntohs(ctx->user_port))) to_resolver4(ctx);
    return 1;
}

SEC("cgroup/sendmsg6")
int wr_sendmsg6(struct bpf_sock_addr* ctx) {
    struct ip asked;

    asked.w[0] = WR_READ(ctx, user_ip6[0]);
    asked.w[1] = WR_READ(ctx, user_ip6[1]);
    asked.w[2] = WR_READ(ctx, user_ip6[2]);
    asked.w[3] = WR_READ(ctx, user_ip6[3]);
    if (question_leaves(ctx, &asked, bpf_ntohs(ctx->user_port))) to_resolver6(ctx, &asked);
    return 1;
}

SEC("cgroup/recvmsg4")
int wr_recvmsg4(struct bpf_sock_addr* ctx) {
    const struct wr_socket* s = resolver_asked(ctx, bpf_ntohs(ctx->user_port));
    struct ip asked;

    if (!s || ctx->user_ip4 != bpf_htonl(0x7f000001)) return 1;
    ip_load(&asked, &s->asked);
    ctx->user_ip4 = asked.w[3];
    ctx->user_port = bpf_htons(s->asked_port);
    return 1;
}

SEC("cgroup/recvmsg6")
int wr_recvmsg6(struct bpf_sock_addr* ctx) {
    const struct wr_socket* s = resolver_asked(ctx, bpf_ntohs(ctx->user_port));
    struct ip from, asked;

    if (!s) return 1;
    from.w[0] = WR_READ(ctx, user_ip6[0]);
    from.w[1] = WR_READ(ctx, user_ip6[1]);
    from.w[2] = WR_READ(ctx, user_ip6[2]);
    from.w[3] = WR_READ(ctx, user_ip6[3]);
    if (!ip_is_loopback(&from)) return 1;
    ip_load(&asked, &s->asked);
    ctx->user_ip6[0] = asked.w[0];
    ctx->user_ip6[1] = asked.w[1];
    ctx->user_ip6[2] = asked.w[2];
    ctx->user_ip6[3] = asked.w[3];
    ctx->user_port = bpf_htons(s->asked_port);
    return 1;
}
