// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The life of a TCP socket, told by the kernel. The hand-over rows and announcements that connect() decided are written here, after the
 * source port is chosen and before the SYN leaves; taken at the receiver's end; removed at the sender's close if nobody took them. Failure
 * direction: an enrolled socket whose decision was not seen, or whose announcement found no room, sends no SYN that leaves its namespace;
 * a hand-over that found no room leaves the tunnel without a destination, which it refuses.
 *
 * Runs for every socket of the node: the operation is compared first, then the socket's storage (a pointer), then one hash.
 */
#include "bpf/flow.h"
#include "bpf/lookup.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

struct ends {
    struct ip local, remote;
    wr_u16 local_port, remote_port;
};

WR_INLINE void ends_of(struct bpf_sock_ops* ctx, struct ends* e) {
    if (ctx->family == AF_INET6) {
        e->local.w[0] = WR_READ(ctx, local_ip6[0]);
        e->local.w[1] = WR_READ(ctx, local_ip6[1]);
        e->local.w[2] = WR_READ(ctx, local_ip6[2]);
        e->local.w[3] = WR_READ(ctx, local_ip6[3]);
        e->remote.w[0] = WR_READ(ctx, remote_ip6[0]);
        e->remote.w[1] = WR_READ(ctx, remote_ip6[1]);
        e->remote.w[2] = WR_READ(ctx, remote_ip6[2]);
        e->remote.w[3] = WR_READ(ctx, remote_ip6[3]);
    } else {
        ip_from_v4(&e->local, WR_READ(ctx, local_ip4));
        ip_from_v4(&e->remote, WR_READ(ctx, remote_ip4));
    }
    e->local_port = (wr_u16)ctx->local_port;
    e->remote_port = (wr_u16)bpf_ntohl(ctx->remote_port);
}

WR_INLINE void watch_states(struct bpf_sock_ops* ctx) {
    bpf_sock_ops_cb_flags_set(ctx, (int)ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* Stops a connection before its SYN: no hook can fail connect() here, but a socket bound to loopback has its route looked up again
 * (tcp_connect calls rebuild_header after this hook) and finds none (IPv6) or one that discards (IPv4), once retried.
 */
WR_INLINE void stop(struct bpf_sock_ops* ctx) {
    char device[4] = {};
    int retries = 1;

    /* By letters: a string would become a map of its own. */
    device[0] = 'l';
    device[1] = 'o';
    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof(device));
    bpf_setsockopt(ctx, SOL_TCP, TCP_SYNCNT, &retries, sizeof(retries));
}

/* A local connection gains nothing from a pacing default. What the application chose stays. */
WR_INLINE void leave_pacing(struct bpf_sock_ops* ctx, const struct wr_config* config) {
    char cubic[8] = {};
    struct bpf_sock* sk = ctx->sk;
    struct tcp_sock* tp;

    /* By letters, as above. */
    cubic[0] = 'c';
    cubic[1] = 'u';
    cubic[2] = 'b';
    cubic[3] = 'i';
    cubic[4] = 'c';
    if (!(config->flags & WR_CONFIG_CUBIC) || !sk) return;
    tp = bpf_skc_to_tcp_sock(sk);
    if (!tp || BPF_CORE_READ_BITFIELD(&tp->inet_conn, icsk_ca_setsockopt)) return;
    bpf_setsockopt(ctx, SOL_TCP, TCP_CONGESTION, cubic, 5);
}

WR_INLINE void handover_key(struct wr_handover_key* key, wr_u64 netns, const struct ip* source, wr_u16 source_port,
                            wr_u16 destination_port) {
    __builtin_memset(key, 0, sizeof(*key));
    key->netns = netns;
    ip_store(&key->source, source);
    key->source_port = source_port;
    key->destination_port = destination_port;
}

WR_INLINE void hand_over(struct bpf_sock_ops* ctx, struct bpf_sock* sk, const struct wr_socket* s, const struct ends* e, wr_u8 kind) {
    struct wr_handover row = {.port = s->asked_port, .kind = kind};
    struct wr_handover_key key;
    struct wr_drawn* drawn;
    long failed;

    row.address = s->asked;
    row.cookie = bpf_get_socket_cookie(ctx);
    if (kind == WR_HANDOVER_OUTBOUND) {
        drawn = bpf_sk_storage_get(&wr_drawn, sk, NULL, 0);
        if (drawn) {
            row.drawn = *drawn;
            bpf_sk_storage_delete(&wr_drawn, sk); /* the acceptor's from now on */
        }
    }
    handover_key(&key, bpf_get_netns_cookie(ctx), &e->local, e->local_port, e->remote_port);
    failed = bpf_map_update_elem(&wr_handover, &key, &row, BPF_NOEXIST);
    if (failed == -EEXIST) {
        /* Two living sockets cannot have the same four-tuple: this is of a dead one whose close was not seen. */
        count(WR_STAT_HANDOVER_EXPIRED);
        failed = bpf_map_update_elem(&wr_handover, &key, &row, BPF_ANY);
    }
    count(failed ? WR_STAT_HANDOVER_FULL : WR_STAT_HANDOVER_ADDED);
}

WR_INLINE void tuple_of(struct wr_tuple* t, wr_u64 source_netns, wr_u64 destination_netns, const struct ip* source,
                        const struct ip* destination) {
    __builtin_memset(t, 0, sizeof(*t));
    t->source_netns = source_netns;
    t->destination_netns = destination_netns;
    ip_store(&t->source, source);
    ip_store(&t->destination, destination);
}

WR_INLINE void announce(struct bpf_sock_ops* ctx, const struct wr_socket* s, const struct ends* e, const struct wr_local* to, wr_u32 kind) {
    struct wr_announced row = {.kind = kind, .source = s->source, .destination = s->destination};
    struct wr_tuple tuple;

    row.time_ns = bpf_ktime_get_ns();
    row.cookie = bpf_get_socket_cookie(ctx);
    tuple_of(&tuple, bpf_get_netns_cookie(ctx), to->netns, &e->local, &e->remote);
    tuple.source_port = e->local_port;
    tuple.destination_port = e->remote_port;
    if (!bpf_map_update_elem(&wr_announced, &tuple, &row, BPF_ANY)) {
        count(WR_STAT_ANNOUNCED);
        return;
    }
    count(WR_STAT_ANNOUNCED_FULL);
    /* Unannounced it would arrive as a stranger's plaintext. */
    stop(ctx);
}

/* Policy may have changed between connect() and now. From here on the socket is in the table that the judge walks, so asking again
 * leaves no gap.
 */
WR_INLINE int still_allowed(const struct wr_socket* s) {
    const struct wr_verdict_row* row = verdict_of(s->source, s->destination, s->chosen_port);

    return row && row->verdict == WR_VERDICT_ALLOW;
}

/* The pod that was decided for, if the connection goes there: another product's connect hook that runs after ours may have led it
 * elsewhere, to where no verdict was asked for.
 */
WR_INLINE const struct wr_local* goes_where_allowed(const struct wr_socket* s, const struct ends* e) {
    const struct wr_local* to = local_at(&e->remote);

    return to && to->id == s->destination && e->remote_port == s->chosen_port ? to : NULL;
}

/* The same for what was led to the pod's own tunnel. */
WR_INLINE int goes_to_tunnel(struct bpf_sock_ops* ctx, const struct wr_config* config, const struct ends* e) {
    const struct wr_pod* pod = pod_of(bpf_get_netns_cookie(ctx));

    return pod && e->remote_port == config->port_outbound && pod_has(pod, &e->remote);
}

/* A SYN about to leave an enrolled pod from a socket that no connect hook saw: MPTCP made before the pod joined, a hook that somebody
 * detached. Only what a connect hook would have left alone goes on.
 */
WR_INLINE void undecided(struct bpf_sock_ops* ctx) {
    const wr_u64 netns = bpf_get_netns_cookie(ctx);
    const struct wr_pod* pod = pod_of(netns);
    const struct wr_config* config;
    struct ends e;

    if (!pod || !(pod->flags & WR_POD_OUTBOUND)) return;
    config = config_row();
    if (!config || !(config->flags & WR_CONFIG_REDIRECT)) return;
    ends_of(ctx, &e);
    if (ip_is_loopback(&e.remote) || pod_has(pod, &e.remote)) return;
    if (config->flags & WR_CONFIG_RANGES && !in_ranges(&e.remote)) return;
    count(WR_STAT_CONNECT_UNSUPPORTED);
    stop(ctx);
}

WR_INLINE void connecting(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct wr_socket* s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    const struct wr_config* config = config_row();
    const struct wr_local* to;
    struct ends e;

    if (!s) {
        undecided(ctx);
        return;
    }
    if (!config || (s->role == WR_ROLE_TUNNEL && s->path == WR_PATH_NONE)) return;
    ends_of(ctx, &e);
    s->state = WR_SOCKET_STARTED;
    switch (s->role) {
        case WR_ROLE_CLIENT:
            if (s->path == WR_PATH_TUNNEL) {
                if (!goes_to_tunnel(ctx, config, &e)) {
                    count(WR_STAT_CONNECT_DENIED);
                    stop(ctx);
                    break;
                }
                hand_over(ctx, sk, s, &e, WR_HANDOVER_OUTBOUND);
                leave_pacing(ctx, config);
            } else if (s->path == WR_PATH_DIRECT) {
                to = goes_where_allowed(s, &e);
                if (!to || !still_allowed(s)) {
                    count(WR_STAT_CONNECT_DENIED);
                    stop(ctx);
                    break;
                }
                leave_pacing(ctx, config);
                /* To itself through a service: the receiving end knows it by its addresses. */
                if (to->netns != bpf_get_netns_cookie(ctx)) announce(ctx, s, &e, to, WR_ANNOUNCE_DIRECT);
            }
            break;
        case WR_ROLE_TUNNEL: hand_over(ctx, sk, s, &e, WR_HANDOVER_CLIENT); break;
        case WR_ROLE_PROBE:
            to = goes_where_allowed(s, &e);
            if (to) announce(ctx, s, &e, to, WR_ANNOUNCE_PROBE);
            break;
    }
    watch_states(ctx);
}

/* Whether the agent alone can tell of this connection: the tunnel reports what it accepted. */
WR_INLINE int is_ours_to_report(const struct wr_socket* s, const struct wr_config* config) {
    if (s->role != WR_ROLE_CLIENT || s->path == WR_PATH_DNS) return 0;
    if (s->path == WR_PATH_NONE) return config->flags & WR_CONFIG_FLOWS_ALL;
    if (!(config->flags & WR_CONFIG_FLOWS)) return 0;
    return s->path != WR_PATH_TUNNEL || s->state == WR_SOCKET_STARTED;
}

/* What the socket knows of itself. */
WR_INLINE void fill_ends(struct bpf_sock_ops* ctx, struct wr_flow_event* event, const struct wr_socket* s, const struct ends* e) {
    event->netns = bpf_get_netns_cookie(ctx);
    ip_store(&event->source, &e->local);
    event->source_port = e->local_port;
    if (s->path == WR_PATH_DIRECT) ip_store(&event->chosen, &e->remote);
}

WR_INLINE void established(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct wr_socket* s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    const struct wr_config* config = config_row();
    struct wr_flow_event* event;
    struct ends e;

    if (!s || !config || s->role != WR_ROLE_CLIENT || s->state != WR_SOCKET_STARTED) return;
    s->connect_us = (wr_u32)((bpf_ktime_get_ns() - s->start_ns) / 1000);
    if (!s->connect_us) s->connect_us = 1; /* 0 says that it never got there */
    s->state = WR_SOCKET_ESTABLISHED;
    if (!is_ours_to_report(s, config) || s->path == WR_PATH_TUNNEL) return;
    event = flow_reserve();
    if (!event) return;
    ends_of(ctx, &e);
    flow_fill(event, s, WR_EVENT_OPEN);
    fill_ends(ctx, event, s, &e);
    event->cookie = bpf_get_socket_cookie(ctx);
    event->srtt_us = ctx->srtt_us >> 3;
    s->state = WR_SOCKET_REPORTED;
    flow_submit(event, config->ring_wakeup_bytes);
}

WR_INLINE void take_handover(struct bpf_sock* sk, wr_u64 netns, const struct ends* e, wr_u8 kind) {
    struct wr_socket s = {.role = kind == WR_HANDOVER_OUTBOUND ? WR_ROLE_TUNNEL : WR_ROLE_SERVER, .path = WR_PATH_TUNNEL};
    struct wr_handover_key key;
    struct wr_handover* row;
    struct wr_drawn drawn;

    handover_key(&key, netns, &e->remote, e->remote_port, e->local_port);
    row = bpf_map_lookup_elem(&wr_handover, &key);
    if (!row || row->kind != kind) return;
    s.asked = row->address;
    s.asked_port = row->port;
    s.state = WR_SOCKET_ESTABLISHED;
    if (!bpf_sk_storage_get(&wr_socket, sk, &s, BPF_SK_STORAGE_GET_F_CREATE)) count(WR_STAT_STORAGE_FULL);
    /* Without it the tunnel draws by itself. */
    drawn = row->drawn;
    if (drawn.port && !bpf_sk_storage_get(&wr_drawn, sk, &drawn, BPF_SK_STORAGE_GET_F_CREATE)) count(WR_STAT_STORAGE_FULL);
    if (!bpf_map_delete_elem(&wr_handover, &key)) count(WR_STAT_HANDOVER_TAKEN);
}

WR_INLINE void accepted(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    const wr_u64 netns = bpf_get_netns_cookie(ctx);
    const struct wr_pod* pod = pod_of(netns);
    const struct wr_config* config;
    const struct wr_local* from;
    struct wr_tuple tuple;
    struct ends e;

    if (!pod || !(pod->flags & (WR_POD_OUTBOUND | WR_POD_INBOUND))) return;
    config = config_row();
    if (!config) return;
    ends_of(ctx, &e);
    if (e.local_port == config->port_outbound) {
        take_handover(sk, netns, &e, WR_HANDOVER_OUTBOUND);
        leave_pacing(ctx, config);
        return;
    }
    if (ip_same(&e.local, &e.remote)) {
        take_handover(sk, netns, &e, WR_HANDOVER_CLIENT);
        return;
    }
    from = local_at(&e.remote);
    tuple_of(&tuple, from ? from->netns : config->host_netns, netns, &e.remote, &e.local);
    tuple.source_port = e.remote_port;
    tuple.destination_port = e.local_port;
    if (bpf_map_delete_elem(&wr_announced, &tuple)) return;
    /* No storage: its addresses are true, and its record is the sender's. */
    count(WR_STAT_ANNOUNCED_TAKEN);
    leave_pacing(ctx, config);
}

WR_INLINE void remove_leftovers(struct bpf_sock_ops* ctx, const struct wr_socket* s, const struct ends* e) {
    const wr_u64 cookie = bpf_get_socket_cookie(ctx), netns = bpf_get_netns_cookie(ctx);
    const struct wr_local* to;
    struct wr_handover_key key;
    struct wr_handover* row;
    struct wr_announced* announced;
    struct wr_tuple tuple;

    if (s->role == WR_ROLE_TUNNEL || (s->role == WR_ROLE_CLIENT && s->path == WR_PATH_TUNNEL)) {
        handover_key(&key, netns, &e->local, e->local_port, e->remote_port);
        row = bpf_map_lookup_elem(&wr_handover, &key);
        if (row && row->cookie == cookie && !bpf_map_delete_elem(&wr_handover, &key)) count(WR_STAT_HANDOVER_EXPIRED);
    } else if (s->role == WR_ROLE_PROBE || s->path == WR_PATH_DIRECT) {
        /* Of an address that is its pod's no more: the agent removes it (agent/node, Maps::drop_stale_announcements). */
        to = local_at(&e->remote);
        if (!to) return;
        tuple_of(&tuple, netns, to->netns, &e->local, &e->remote);
        tuple.source_port = e->local_port;
        tuple.destination_port = e->remote_port;
        announced = bpf_map_lookup_elem(&wr_announced, &tuple);
        if (announced && announced->cookie == cookie && !bpf_map_delete_elem(&wr_announced, &tuple)) count(WR_STAT_ANNOUNCED_EXPIRED);
    }
}

WR_INLINE void closed(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    const wr_u8 last_state = (wr_u8)ctx->args[0];
    struct wr_socket* s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    const struct wr_config* config = config_row();
    struct wr_flow_event* event;
    struct tcp_sock* tp;
    struct ends e;

    if (!s || !config || !s->state) return;
    ends_of(ctx, &e);
    remove_leftovers(ctx, s, &e);
    if (is_ours_to_report(s, config)) {
        tp = bpf_skc_to_tcp_sock(sk);
        event = tp ? flow_reserve() : NULL;
        if (event) {
            flow_fill(event, s, WR_EVENT_CLOSE);
            flow_bytes(event, tp, last_state);
            fill_ends(ctx, event, s, &e);
            event->cookie = bpf_get_socket_cookie(ctx);
            event->error = tp->inet_conn.icsk_inet.sk.sk_err;
            event->last_state = last_state;
            flow_submit(event, config->ring_wakeup_bytes);
        }
    }
    s->state = 0;
}

SEC("sockops")
int wr_sockops(struct bpf_sock_ops* ctx) {
    const wr_u32 op = ctx->op;
    struct bpf_sock* sk;

    if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
        op != BPF_SOCK_OPS_STATE_CB)
        return 1;
    sk = ctx->sk;
    if (!sk) return 1;
    switch (op) {
        case BPF_SOCK_OPS_TCP_CONNECT_CB: connecting(ctx, sk); break;
        case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: established(ctx, sk); break;
        case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: accepted(ctx, sk); break;
        case BPF_SOCK_OPS_STATE_CB:
            if (ctx->args[1] == TCP_CLOSE) closed(ctx, sk);
            break;
    }
    return 1;
}
