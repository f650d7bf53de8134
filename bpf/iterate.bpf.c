// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Walks over the TCP sockets of the namespace that the reader of the iterator opened it in. wr_iter_sample writes a record of each
 * connection the kernel knows about, so that idle and long ones are reported and lost records reconciled. wr_iter_judge asks the verdicts
 * again for each direct connection and ends those that may not go on; wr_iter_list only names them, for kernels before 6.5, where user
 * space ends them. Failure direction: a connection is ended unless a row says that it is allowed.
 */
#include "bpf/flow.h"
#include "bpf/lookup.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

#define ECONNABORTED 103

WR_INLINE void local_end(const struct sock_common* sk, struct ip* local) {
    if (sk->skc_family == AF_INET6) {
        local->w[0] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
        local->w[1] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
        local->w[2] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
        local->w[3] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
    } else {
        ip_from_v4(local, sk->skc_rcv_saddr);
    }
}

WR_INLINE void remote_end(const struct sock_common* sk, struct ip* remote) {
    if (sk->skc_family == AF_INET6) {
        remote->w[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
        remote->w[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
        remote->w[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
        remote->w[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
    } else {
        ip_from_v4(remote, sk->skc_daddr);
    }
}

WR_INLINE void fill(struct wr_flow_event* e, struct sock_common* sk, const struct wr_socket* s, wr_u8 kind) {
    struct ip end;

    flow_fill(e, s, kind);
    e->netns = sk->skc_net.net->net_cookie;
    local_end(sk, &end);
    ip_store(&e->source, &end);
    if (s->path == WR_PATH_DIRECT) {
        remote_end(sk, &end);
        ip_store(&e->chosen, &end);
    }
    e->source_port = sk->skc_num;
    e->cookie = bpf_get_socket_cookie(sk);
    e->last_state = sk->skc_state;
}

SEC("iter/tcp")
int wr_iter_sample(struct bpf_iter__tcp* ctx) {
    struct sock_common* sk = ctx->sk_common;
    struct wr_flow_event event;
    struct wr_socket* s;
    struct tcp_sock* tp;

    if (!sk) return 0;
    s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    if (!s || s->role != WR_ROLE_CLIENT || s->path == WR_PATH_DNS || !s->state) return 0;
    tp = bpf_skc_to_tcp_sock(sk);
    if (!tp) return 0;
    fill(&event, sk, s, WR_EVENT_SAMPLE);
    flow_bytes(&event, tp, sk->skc_state);
    bpf_seq_write(ctx->meta->seq, &event, sizeof(event));
    return 0;
}

/* Both pods must still be who they were when this began: their ids are never reused, their addresses and namespaces are. */
WR_INLINE int may_go_on(const struct sock_common* sk, const struct wr_socket* s) {
    const struct wr_pod *source = pod_of(sk->skc_net.net->net_cookie), *destination;
    const struct wr_verdict_row* row;
    const struct wr_local* to;
    struct ip remote;

    remote_end(sk, &remote);
    to = local_at(&remote);
    if (!source || source->id != s->source || !to || to->id != s->destination) return 0;
    destination = pod_of(to->netns);
    if (!destination || destination->id != s->destination) return 0;
    row = verdict_of(s->source, s->destination, s->chosen_port);
    return row && row->verdict == WR_VERDICT_ALLOW;
}

WR_INLINE int is_condemned(const struct sock_common* sk, const struct wr_socket* s) {
    return s && s->role == WR_ROLE_CLIENT && s->path == WR_PATH_DIRECT && s->state && !may_go_on(sk, s);
}

SEC("iter/tcp")
int wr_iter_judge(struct bpf_iter__tcp* ctx) {
    struct sock_common* sk = ctx->sk_common;
    struct wr_flow_event event;
    struct wr_socket* s;

    if (!sk) return 0;
    s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    if (!is_condemned(sk, s)) return 0;
    fill(&event, sk, s, WR_EVENT_JUDGED);
    if (LINUX_KERNEL_VERSION >= WR_KERNEL(6, 5) && !bpf_sock_destroy(sk)) {
        event.error = ECONNABORTED;
        count(WR_STAT_DESTROYED);
    }
    bpf_seq_write(ctx->meta->seq, &event, sizeof(event));
    return 0;
}

SEC("iter/tcp")
int wr_iter_list(struct bpf_iter__tcp* ctx) {
    struct sock_common* sk = ctx->sk_common;
    struct wr_flow_event event;
    struct wr_socket* s;

    if (!sk) return 0;
    s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    if (!is_condemned(sk, s)) return 0;
    fill(&event, sk, s, WR_EVENT_JUDGED);
    bpf_seq_write(ctx->meta->seq, &event, sizeof(event));
    return 0;
}
