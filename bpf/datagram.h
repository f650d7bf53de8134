/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Questions to resolvers over datagrams, for connect() and sendmsg(): whether one goes to the tunnel's resolver, and sending it there. The
 * tunnel's resolver is at loopback only (data-plane contract 8.7). A socket bound to a device cannot reach loopback: its questions go where
 * they are addressed. Names are no security boundary, so this is the safe direction.
 */
#ifndef WARREN_BPF_DATAGRAM_H
#define WARREN_BPF_DATAGRAM_H

#include "bpf/lookup.h"
#include "bpf/stats.h"

#define WR_PORT_DOMAIN 53

/* Whether it must be rewritten; if so the socket remembers who was asked. */
WR_INLINE int question_leaves(struct bpf_sock_addr* ctx, const struct ip* asked, wr_u16 port) {
    struct wr_socket s = {.role = WR_ROLE_RESOLVER, .path = WR_PATH_DNS, .asked_port = port};
    const struct wr_config* config;
    const struct wr_pod* pod;
    struct wr_socket* storage;

    if (port != WR_PORT_DOMAIN) return 0;
    pod = pod_of(bpf_get_netns_cookie(ctx));
    config = config_row();
    if (!pod || !config || !(pod->flags & WR_POD_DNS) || !(config->flags & WR_CONFIG_REDIRECT)) return 0;
    if (ip_is_loopback(asked) || pod_has(pod, asked) || ctx->sk->bound_dev_if || current_is_in(wr_tunnels)) return 0;
    ip_store(&s.asked, asked);
    s.source = pod->id;
    storage = bpf_sk_storage_get(&wr_socket, ctx->sk, &s, BPF_SK_STORAGE_GET_F_CREATE);
    if (!storage) {
        count(WR_STAT_STORAGE_FULL);
        return 0;
    }
    storage->role = WR_ROLE_RESOLVER;
    storage->asked = s.asked;
    storage->asked_port = port;
    count(WR_STAT_DNS);
    return 1;
}

WR_INLINE wr_u16 resolver_port(void) {
    const struct wr_config* config = config_row();

    return config ? config->port_dns : 0;
}

WR_INLINE void to_resolver4(struct bpf_sock_addr* ctx) {
    ctx->user_ip4 = bpf_htonl(0x7f000001);
    ctx->user_port = bpf_htons(resolver_port());
}

WR_INLINE void to_resolver6(struct bpf_sock_addr* ctx, const struct ip* asked) {
    struct ip to;

    ip_loopback(&to, asked);
    ctx->user_ip6[0] = to.w[0];
    ctx->user_ip6[1] = to.w[1];
    ctx->user_ip6[2] = to.w[2];
    ctx->user_ip6[3] = to.w[3];
    ctx->user_port = bpf_htons(resolver_port());
}

/* The resolver that the application asked, if `port` is the tunnel's and this socket's questions went there. */
WR_INLINE const struct wr_socket* resolver_asked(struct bpf_sock_addr* ctx, wr_u16 port) {
    const struct wr_socket* s = bpf_sk_storage_get(&wr_socket, ctx->sk, NULL, 0);

    return s && s->role == WR_ROLE_RESOLVER && port == resolver_port() ? s : NULL;
}

#endif
