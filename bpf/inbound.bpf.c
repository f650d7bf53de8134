// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What arrives at an enrolled pod's namespace and is not part of a connection yet. This program is attached to enrolled namespaces only,
 * has no way to ask which one it runs in, and knows it by the packet's local address. It decides from addresses that the kernel's own
 * lookup parsed, so no option, extension header or fragment can hide a port from it. Failure direction: closed. What is neither the pod's
 * own, announced nor the tunnel's is refused with a reset.
 */
#include "bpf/lookup.h"
#include "bpf/stats.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

struct arrival {
    struct ip local, remote;
    wr_u16 local_port, remote_port;
};

WR_INLINE void arrival_of(struct bpf_sk_lookup* ctx, struct arrival* a) {
    if (ctx->family == AF_INET6) {
        a->local.w[0] = WR_READ(ctx, local_ip6[0]);
        a->local.w[1] = WR_READ(ctx, local_ip6[1]);
        a->local.w[2] = WR_READ(ctx, local_ip6[2]);
        a->local.w[3] = WR_READ(ctx, local_ip6[3]);
        a->remote.w[0] = WR_READ(ctx, remote_ip6[0]);
        a->remote.w[1] = WR_READ(ctx, remote_ip6[1]);
        a->remote.w[2] = WR_READ(ctx, remote_ip6[2]);
        a->remote.w[3] = WR_READ(ctx, remote_ip6[3]);
    } else {
        ip_from_v4(&a->local, WR_READ(ctx, local_ip4));
        ip_from_v4(&a->remote, WR_READ(ctx, remote_ip4));
    }
    a->local_port = (wr_u16)ctx->local_port;
    a->remote_port = bpf_ntohs((__be16)ctx->remote_port);
}

/* An entry stays until the connection is accepted, so a repeated SYN and a SYN cookie's ACK find it too. */
WR_INLINE int is_announced(const struct arrival* a, const struct wr_local* to, const struct wr_config* config) {
    const struct wr_local* from = local_at(&a->remote);
    struct wr_tuple tuple = {};

    tuple.source_netns = from ? from->netns : config->host_netns;
    tuple.destination_netns = to->netns;
    ip_store(&tuple.source, &a->remote);
    ip_store(&tuple.destination, &a->local);
    tuple.source_port = a->remote_port;
    tuple.destination_port = a->local_port;
    return bpf_map_lookup_elem(&wr_announced, &tuple) != NULL;
}

/* From the pod itself, bound to an address of its own that the agent does not know. */
WR_INLINE int is_handed_over(const struct arrival* a, const struct wr_local* to) {
    struct wr_handover_key key = {.netns = to->netns, .source_port = a->remote_port, .destination_port = a->local_port};

    ip_store(&key.source, &a->remote);
    return bpf_map_lookup_elem(&wr_handover, &key) != NULL;
}

WR_INLINE int give(struct bpf_sk_lookup* ctx, const struct wr_listener_key* key) {
    struct bpf_sock* listener = bpf_map_lookup_elem(&wr_listeners, key);
    long failed;

    if (!listener) return 0;
    failed = bpf_sk_assign(ctx, listener, 0);
    bpf_sk_release(listener);
    return !failed;
}

/* A function of its own, so that its answer reaches the verifier as a branch and not as a spilled value, whose range it forgets. */
static __noinline int to_tunnel(struct bpf_sk_lookup* ctx, wr_u64 netns, wr_u16 port) {
    struct wr_listener_key key = {.netns = netns, .port = port, .family = AF_INET};

    /* An IPv4 SYN may also go to an IPv6 listener that takes both. */
    if (ctx->family == AF_INET && give(ctx, &key)) return 1;
    key.family = AF_INET6;
    return give(ctx, &key);
}

WR_INLINE int to_tunnel_or_drop(struct bpf_sk_lookup* ctx, const struct wr_local* to, wr_u16 port, enum wr_stat stat) {
    if (!to_tunnel(ctx, to->netns, port)) {
        count(WR_STAT_INBOUND_NO_LISTENER);
        return SK_DROP;
    }
    count(stat);
    return SK_PASS;
}

SEC("sk_lookup")
int wr_sk_lookup(struct bpf_sk_lookup* ctx) {
    const struct wr_config* config;
    const struct wr_local* to;
    struct arrival a;

    if (ctx->protocol != IPPROTO_TCP) return SK_PASS;
    config = config_row();
    if (!config || !(config->flags & WR_CONFIG_REDIRECT)) return SK_PASS;
    arrival_of(ctx, &a);
    /* The pod to itself, and the tunnel to the application: the kernel refuses such packets from outside as martian. The interface is
     * no test, it does not read as loopback's here.
     */
    if (ip_same(&a.local, &a.remote) || ip_is_loopback(&a.local)) return SK_PASS;
    to = local_at(&a.local);
    if (!to) {
        count(WR_STAT_INBOUND_UNKNOWN);
        return SK_DROP;
    }
    if (a.local_port == config->port_hbone) return to_tunnel_or_drop(ctx, to, config->port_hbone, WR_STAT_INBOUND_HBONE);
    if (a.local_port == config->port_outbound && is_handed_over(&a, to)) return SK_PASS;
    if (is_announced(&a, to, config)) {
        count(WR_STAT_INBOUND_DIRECT);
        return SK_PASS;
    }
    if (!(to->flags & WR_POD_INBOUND)) return SK_PASS;
    return to_tunnel_or_drop(ctx, to, config->port_plaintext, WR_STAT_INBOUND_PLAINTEXT);
}
