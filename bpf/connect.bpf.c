// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() of every socket below the cgroup. Failure direction: a process outside the mesh passes untouched whatever the maps say; an
 * enrolled pod's stream socket that cannot be led where it must go (no storage, no address of that family) is refused.
 */
#include "bpf/connect.h"
#include "bpf/datagram.h"
#include "bpf/flow.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

WR_INLINE void rewrite4(struct bpf_sock_addr* ctx, const struct ip* to, wr_u16 port) {
    ctx->user_ip4 = to->w[3];
    ctx->user_port = bpf_htons(port);
}

WR_INLINE void rewrite6(struct bpf_sock_addr* ctx, const struct ip* to, wr_u16 port) {
    ctx->user_ip6[0] = to->w[0];
    ctx->user_ip6[1] = to->w[1];
    ctx->user_ip6[2] = to->w[2];
    ctx->user_ip6[3] = to->w[3];
    ctx->user_port = bpf_htons(port);
}

/* The value a connect program returns to refuse, with ECONNREFUSED where the kernel lets us say so (6.1); EPERM before. */
WR_INLINE int refuse(enum wr_stat stat) {
    count(stat);
    if (LINUX_KERNEL_VERSION >= WR_KERNEL(6, 1)) bpf_set_retval(-ECONNREFUSED);
    return 0;
}

/* Storage that says exactly this, whatever an earlier connect of the same socket left. */
WR_INLINE int remember(struct bpf_sock_addr* ctx, struct wr_socket* s) {
    struct wr_socket* storage = bpf_sk_storage_get(&wr_socket, ctx->sk, s, BPF_SK_STORAGE_GET_F_CREATE);

    if (!storage) return 0;
    __builtin_memcpy(storage, s, sizeof(*s));
    return 1;
}

/* For the SYN hook to hand over; what an earlier connect of the same socket drew goes. */
WR_INLINE int remember_drawn(struct bpf_sock_addr* ctx, struct wr_drawn* drawn) {
    struct wr_drawn* storage;

    if (!drawn->port) {
        bpf_sk_storage_delete(&wr_drawn, ctx->sk);
        return 1;
    }
    storage = bpf_sk_storage_get(&wr_drawn, ctx->sk, drawn, BPF_SK_STORAGE_GET_F_CREATE);
    if (!storage) return 0;
    __builtin_memcpy(storage, drawn, sizeof(*drawn));
    return 1;
}

WR_INLINE void report_denied(struct bpf_sock_addr* ctx, const struct wr_config* config, const struct wr_pod* pod, const struct ip* asked,
                             const struct decision* d) {
    struct wr_flow_event* e = flow_reserve();
    struct ip own;

    if (!e) return;
    flow_fill(e, &d->s, WR_EVENT_DENIED);
    e->netns = bpf_get_netns_cookie(ctx);
    if (pod_own(pod, asked, &own)) ip_store(&e->source, &own);
    ip_store(&e->chosen, &d->chosen);
    e->cookie = bpf_get_socket_cookie(ctx);
    e->error = ECONNREFUSED;
    flow_submit(e, config->ring_wakeup_bytes);
}

/* The kubelet's connection to an enrolled pod: announced when its port is known, so that the pod's own namespace lets it through. */
WR_INLINE int probe(struct bpf_sock_addr* ctx, const struct wr_config* config, const struct ip* asked, wr_u16 port, wr_u64 netns) {
    struct wr_socket s = {.role = WR_ROLE_PROBE, .asked_port = port, .chosen_port = port};
    struct wr_local* to;

    if (netns != config->host_netns) return 1;
    to = local_at(asked);
    if (!to || !(to->flags & WR_POD_INBOUND) || !current_is_in(wr_kubelets)) return 1;
    ip_store(&s.asked, asked);
    s.destination = to->id;
    s.start_ns = bpf_ktime_get_ns();
    /* Without storage it is like any other process of the node: judged by the tunnel. */
    count(remember(ctx, &s) ? WR_STAT_CONNECT_PROBE : WR_STAT_STORAGE_FULL);
    return 1;
}

/* The tunnel's own sockets. They always get a storage: it is how the SYN hook knows that connect() was seen. What bind() remembered stays.
 */
WR_INLINE int exempt(struct bpf_sock_addr* ctx) {
    struct wr_socket s = {.role = WR_ROLE_TUNNEL};

    if (!bpf_sk_storage_get(&wr_socket, ctx->sk, &s, BPF_SK_STORAGE_GET_F_CREATE)) return refuse(WR_STAT_STORAGE_FULL);
    count(WR_STAT_CONNECT_EXEMPT);
    return 1;
}

WR_INLINE int on_stream(struct bpf_sock_addr* ctx, const struct ip* asked, wr_u16 port,
                        void (*rewrite)(struct bpf_sock_addr*, const struct ip*, wr_u16)) {
    const wr_u64 netns = bpf_get_netns_cookie(ctx);
    const struct wr_pod* pod = pod_of(netns);
    const struct wr_config* config = config_row();
    struct decision d = {.s = {.role = WR_ROLE_CLIENT}};
    struct wr_socket* s = &d.s;
    struct ip to;
    enum way way;

    if (!config) return 1;
    if (!pod) return probe(ctx, config, asked, port, netns);
    if (!(pod->flags & (WR_POD_OUTBOUND | WR_POD_OBSERVED))) return 1;
    if (pod->flags & WR_POD_OUTBOUND && current_is_in(wr_tunnels)) return exempt(ctx);

    ip_store(&s->asked, asked);
    s->asked_port = port;
    s->source = pod->id;
    s->start_ns = bpf_ktime_get_ns();
    if (pod->flags & WR_POD_OUTBOUND) {
        struct question q = {.ctx = ctx, .config = config, .pod = pod, .asked = *asked, .port = port};

        way = decide(&q, &d);
        if (way == WAY_TUNNEL && !(config->flags & WR_CONFIG_REDIRECT)) way = WAY_PASSTHROUGH;
    } else {
        way = config->flags & WR_CONFIG_FLOWS_ALL && !ip_is_loopback(asked) && !pod_has(pod, asked) ? WAY_PASSTHROUGH : WAY_UNTOUCHED;
    }

    switch (way) {
        case WAY_TUNNEL:
            s->path = WR_PATH_TUNNEL;
            if (!pod_own(pod, asked, &to)) return refuse(WR_STAT_CONNECT_UNSUPPORTED);
            if (!remember(ctx, s) || !remember_drawn(ctx, &d.drawn)) return refuse(WR_STAT_STORAGE_FULL);
            rewrite(ctx, &to, config->port_outbound);
            count(WR_STAT_CONNECT_TUNNEL);
            return 1;
        case WAY_DIRECT:
            s->path = WR_PATH_DIRECT;
            if (!remember(ctx, s)) return refuse(WR_STAT_STORAGE_FULL);
            rewrite(ctx, &d.chosen, s->chosen_port);
            count(WR_STAT_CONNECT_DIRECT);
            return 1;
        case WAY_RESOLVER:
            s->path = WR_PATH_DNS;
            ip_loopback(&to, asked);
            if (!remember(ctx, s)) return refuse(WR_STAT_STORAGE_FULL);
            rewrite(ctx, &to, config->port_dns);
            count(WR_STAT_DNS);
            return 1;
        case WAY_PASSTHROUGH:
            s->path = pod->flags & WR_POD_OUTBOUND ? WR_PATH_PASSTHROUGH : WR_PATH_NONE;
            count(WR_STAT_CONNECT_PASSTHROUGH);
            /* Only its record would be missing. */
            if (!(config->flags & (WR_CONFIG_FLOWS | WR_CONFIG_FLOWS_ALL))) break;
            if (!remember(ctx, s)) count(WR_STAT_STORAGE_FULL);
            return 1;
        case WAY_DENIED:
            s->path = WR_PATH_DIRECT;
            report_denied(ctx, config, pod, asked, &d);
            bpf_sk_storage_delete(&wr_socket, ctx->sk);
            return refuse(WR_STAT_CONNECT_DENIED);
        case WAY_AGENT_PORT: bpf_sk_storage_delete(&wr_socket, ctx->sk); return refuse(WR_STAT_CONNECT_AGENT_PORT);
        case WAY_UNTOUCHED: count(WR_STAT_CONNECT_SELF); break;
    }
    /* Left alone: what an earlier connect of this socket decided is over. */
    bpf_sk_storage_delete(&wr_socket, ctx->sk);
    return 1;
}

SEC("cgroup/connect4")
int wr_connect4(struct bpf_sock_addr* ctx) {
    const wr_u32 protocol = ctx->protocol;
    const wr_u16 port = bpf_ntohs(ctx->user_port);
    struct ip asked;

    ip_from_v4(&asked, WR_READ(ctx, user_ip4));
    if (protocol == IPPROTO_TCP) return on_stream(ctx, &asked, port, rewrite4);
    if (protocol == IPPROTO_UDP && question_leaves(ctx, &asked, port)) to_resolver4(ctx);
    return 1;
}

SEC("cgroup/connect6")
int wr_connect6(struct bpf_sock_addr* ctx) {
    const wr_u32 protocol = ctx->protocol;
    const wr_u16 port = bpf_ntohs(ctx->user_port);
    struct ip asked;

    /* An IPv6 stream socket refuses an IPv4 address after this hook; there is nothing to decide. */
    if (ctx->user_family != AF_INET6) return 1;
    asked.w[0] = WR_READ(ctx, user_ip6[0]);
    asked.w[1] = WR_READ(ctx, user_ip6[1]);
    asked.w[2] = WR_READ(ctx, user_ip6[2]);
    asked.w[3] = WR_READ(ctx, user_ip6[3]);
    if (protocol == IPPROTO_TCP) return on_stream(ctx, &asked, port, rewrite6);
    if (protocol == IPPROTO_UDP && question_leaves(ctx, &asked, port)) to_resolver6(ctx, &asked);
    return 1;
}
