/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a connecting stream socket of an enrolled pod goes: a pure decision over the maps, written into the socket's future storage. Acting
 * on it is connect.bpf.c's.
 */
#ifndef WARREN_BPF_CONNECT_H
#define WARREN_BPF_CONNECT_H

#include "bpf/lookup.h"
#include "bpf/stats.h"

enum way {
    WAY_UNTOUCHED,
    WAY_AGENT_PORT,
    WAY_DENIED,
    WAY_TUNNEL,
    WAY_DIRECT,
    WAY_RESOLVER,
    WAY_PASSTHROUGH,
};

/* What comes of it: the socket's storage, and what only the hook itself needs. */
struct decision {
    struct wr_socket s;
    struct ip chosen; /* direct, or refused: the pod */
    struct wr_drawn drawn;
};

struct question {
    struct bpf_sock_addr* ctx;
    const struct wr_config* config;
    const struct wr_pod* pod;
    struct ip asked;
    wr_u16 port;
};

WR_INLINE int is_tunnel_port(const struct wr_config* config, wr_u16 port) {
    return port == config->port_outbound || port == config->port_plaintext || port == config->port_hbone || port == config->port_dns;
}

/* Policy's answer for one pod of this node. */
WR_INLINE enum way way_to_local(const struct question* q, const struct wr_local* to, const struct ip* address, wr_u16 port,
                                struct decision* d) {
    struct wr_socket* s = &d->s;
    const struct wr_verdict_row* row;

    /* The tunnel of that pod listens there, and what it may be asked by whom is the tunnel's to say. */
    if (is_tunnel_port(q->config, port)) return WAY_TUNNEL;
    row = verdict_of(q->pod->id, to->id, port);
    if (!row) {
        count(WR_STAT_VERDICT_MISS);
        return WAY_TUNNEL;
    }
    s->verdict = row->verdict;
    s->reason = row->reason;
    s->policy = row->policy;
    s->rule = row->rule;
    s->destination = to->id;
    s->chosen_port = port;
    d->chosen = *address;
    if (row->verdict == WR_VERDICT_ALLOW) return WAY_DIRECT;
    return row->verdict == WR_VERDICT_DENY ? WAY_DENIED : WAY_TUNNEL;
}

/* A 32-bit draw scaled to [0, n): off by at most n / 2^32. */
WR_INLINE wr_u32 draw_below(wr_u32 n) { return (wr_u32)(((wr_u64)bpf_get_prandom_u32() * n) >> 32); }

WR_INLINE struct wr_endpoint_row* draw_endpoint(const struct wr_service_row* service) {
    struct wr_endpoint_key key = {.service = service->id, .index = draw_below(service->count)};
    struct wr_endpoint_row* row = bpf_map_lookup_elem(&wr_endpoints, &key);

    if (!row || service->flags & WR_SERVICE_UNIFORM || bpf_get_prandom_u32() < row->threshold) return row;
    key.index = row->alias;
    return bpf_map_lookup_elem(&wr_endpoints, &key);
}

/* A service address: one draw, then the endpoint's verdict. Behind a stock tunnel, which would draw again, only where every outcome of the
 * draw stays on this node; else the few local endpoints would get more than their share.
 */
WR_INLINE enum way way_to_service(const struct question* q, const struct wr_service_row* service, struct decision* d) {
    struct wr_endpoint_row* endpoint;
    struct wr_local* to;
    struct ip address;
    enum way way = WAY_TUNNEL;

    if (service->flags & WR_SERVICE_TUNNEL || !service->count) return WAY_TUNNEL;
    if (!(service->flags & (WR_SERVICE_HINT | WR_SERVICE_ALL_LOCAL))) return WAY_TUNNEL;
    endpoint = draw_endpoint(service);
    if (!endpoint) return WAY_TUNNEL;
    ip_load(&address, &endpoint->address);
    to = local_at(&address);
    /* In kind: a socket that asked for an IPv6 service keeps IPv6. */
    if (to && to->flags & WR_POD_INBOUND && ip_is_v4(&address) == ip_is_v4(&q->asked))
        way = way_to_local(q, to, &address, endpoint->port, d);
    if (way == WAY_TUNNEL && service->flags & WR_SERVICE_HINT) {
        ip_store(&d->drawn.address, &address);
        d->drawn.port = endpoint->port;
        d->drawn.service = service->id;
    }
    return way;
}

WR_INLINE enum way decide(const struct question* q, struct decision* d) {
    const wr_u32 flags = q->config->flags;
    struct wr_service_key key = {.port = q->port};
    struct wr_service_row* service;
    struct wr_local* to;

    if (ip_is_loopback(&q->asked) || pod_has(q->pod, &q->asked)) return is_tunnel_port(q->config, q->port) ? WAY_AGENT_PORT : WAY_UNTOUCHED;
    if (flags & WR_CONFIG_REDIRECT && q->port == 53 && q->pod->flags & WR_POD_DNS && !q->ctx->sk->bound_dev_if) return WAY_RESOLVER;
    if (flags & WR_CONFIG_DIRECT && q->pod->flags & WR_POD_DIRECT) {
        to = local_at(&q->asked);
        if (to && to->flags & WR_POD_INBOUND) return way_to_local(q, to, &q->asked, q->port, d);
        ip_store(&key.address, &q->asked);
        service = bpf_map_lookup_elem(&wr_services, &key);
        if (service) return way_to_service(q, service, d);
    }
    if (flags & WR_CONFIG_RANGES && !in_ranges(&q->asked)) return WAY_PASSTHROUGH;
    return WAY_TUNNEL;
}

#endif
