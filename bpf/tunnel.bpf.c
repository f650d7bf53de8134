// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The tunnel's own cgroup: the kernel answers it as packet rules and IP_TRANSPARENT would, so any ambient tunnel works unchanged. Failure
 * direction: without an answer the tunnel gets the kernel's error and refuses the connection; without a listener in the table nothing
 * reaches it (inbound.bpf.c drops).
 */
#include "bpf/lookup.h"
#include "bpf/stats.h"

char _license[] __weak SEC("license") = "Dual BSD/GPL";

struct sockaddr_v4 {
    __u16 family;
    __be16 port;
    __be32 address;
    wr_u64 zero;
};

struct sockaddr_v6 {
    __u16 family;
    __be16 port;
    __be32 flowinfo;
    __be32 address[4];
    __u32 scope;
};

/* A foreign source address is the true client's, which the tunnel wants the application to see. The socket gets the pod's own address and
 * a port of the kernel's choice; the client is remembered for the SYN hook to hand over. Returns whether to rewrite to *own.
 */
WR_INLINE int takes_foreign(struct bpf_sock_addr* ctx, const struct ip* wanted, wr_u16 port, struct ip* own) {
    struct wr_socket s = {.role = WR_ROLE_TUNNEL, .path = WR_PATH_TUNNEL, .asked_port = port};
    const struct wr_pod* pod;
    struct wr_socket* storage;

    if (ctx->protocol != IPPROTO_TCP || ip_is_loopback(wanted)) return 0;
    pod = pod_of(bpf_get_netns_cookie(ctx));
    if (!pod || !(pod->flags & (WR_POD_OUTBOUND | WR_POD_INBOUND)) || pod_has(pod, wanted) || !pod_own(pod, wanted, own)) return 0;
    ip_store(&s.asked, wanted);
    storage = bpf_sk_storage_get(&wr_socket, ctx->sk, &s, BPF_SK_STORAGE_GET_F_CREATE);
    if (!storage) {
        /* The application then sees the pod itself, as from a tunnel without this hook. */
        count(WR_STAT_STORAGE_FULL);
        return 1;
    }
    __builtin_memcpy(storage, &s, sizeof(s));
    return 1;
}

SEC("cgroup/bind4")
int wr_bind4(struct bpf_sock_addr* ctx) {
    struct ip wanted, own;

    ip_from_v4(&wanted, WR_READ(ctx, user_ip4));
    if (takes_foreign(ctx, &wanted, bpf_ntohs(ctx->user_port), &own)) {
        ctx->user_ip4 = own.w[3];
        ctx->user_port = 0;
    }
    return 1;
}

SEC("cgroup/bind6")
int wr_bind6(struct bpf_sock_addr* ctx) {
    struct ip wanted, own;

    wanted.w[0] = WR_READ(ctx, user_ip6[0]);
    wanted.w[1] = WR_READ(ctx, user_ip6[1]);
    wanted.w[2] = WR_READ(ctx, user_ip6[2]);
    wanted.w[3] = WR_READ(ctx, user_ip6[3]);
    if (takes_foreign(ctx, &wanted, bpf_ntohs(ctx->user_port), &own)) {
        ctx->user_ip6[0] = own.w[0];
        ctx->user_ip6[1] = own.w[1];
        ctx->user_ip6[2] = own.w[2];
        ctx->user_ip6[3] = own.w[3];
        ctx->user_port = 0;
    }
    return 1;
}

/* Succeeds with `size` bytes already written at optval. */
WR_INLINE int answered(struct bpf_sockopt* ctx, int size) {
    /* Volatile: as one store of eight bytes the verifier refuses them. */
    *(volatile __s32*)&ctx->optlen = size;
    *(volatile __s32*)&ctx->retval = 0;
    return 1;
}

/* In the family of the question; what does not fit it keeps the kernel's own error. */
WR_INLINE int answer_address(struct bpf_sockopt* ctx, const struct ip* address, wr_u16 port) {
    void *value = ctx->optval, *end = ctx->optval_end;

    if (ctx->level == SOL_IP) {
        struct sockaddr_v4* a = value;

        if (!ip_is_v4(address) || (void*)(a + 1) > end) return 1;
        a->family = AF_INET;
        a->port = bpf_htons(port);
        a->address = address->w[3];
        a->zero = 0;
        return answered(ctx, sizeof(*a));
    } else {
        struct sockaddr_v6* a = value;

        if ((void*)(a + 1) > end) return 1;
        a->family = AF_INET6;
        a->port = bpf_htons(port);
        a->flowinfo = 0;
        a->address[0] = address->w[0];
        a->address[1] = address->w[1];
        a->address[2] = address->w[2];
        a->address[3] = address->w[3];
        a->scope = 0;
        return answered(ctx, sizeof(*a));
    }
}

WR_INLINE int answer_drawn(struct bpf_sockopt* ctx, struct bpf_sock* sk) {
    const struct wr_socket* s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    const struct wr_drawn* drawn = s && s->role == WR_ROLE_TUNNEL ? bpf_sk_storage_get(&wr_drawn, sk, NULL, 0) : NULL;
    struct wr_drawn* out = ctx->optval;
    struct ip address;

    if (drawn) {
        ip_load(&address, &drawn->address);
        if ((void*)(out + 1) > ctx->optval_end) return 1;
        ip_store(&out->address, &address);
        out->port = drawn->port;
        out->pad = 0;
        out->service = drawn->service;
        return answered(ctx, sizeof(*out));
    }
    if (LINUX_KERNEL_VERSION >= WR_KERNEL(5, 18)) bpf_set_retval(-ENOENT);
    return 1;
}

SEC("cgroup/getsockopt")
int wr_getsockopt(struct bpf_sockopt* ctx) {
    const int level = ctx->level, name = ctx->optname;
    const struct wr_config* config;
    const struct wr_socket* s;
    struct bpf_sock* sk;
    struct ip local;

    if (name != SO_ORIGINAL_DST && name != WARREN_SO_DRAWN_ENDPOINT) return 1;
    if (level != SOL_IP && !(level == SOL_IPV6 && name == SO_ORIGINAL_DST)) return 1;
    sk = ctx->sk;
    if (!sk || sk->protocol != IPPROTO_TCP || !pod_of(bpf_get_netns_cookie(ctx))) return 1;
    if (name == WARREN_SO_DRAWN_ENDPOINT) return answer_drawn(ctx, sk);
    s = bpf_sk_storage_get(&wr_socket, sk, NULL, 0);
    if (s && s->role == WR_ROLE_TUNNEL && s->state == WR_SOCKET_ESTABLISHED) {
        ip_load(&local, &s->asked);
        return answer_address(ctx, &local, s->asked_port);
    }
    config = config_row();
    if (s || !config || sk->state != TCP_ESTABLISHED || sk->src_port == config->port_outbound) return 1;
    /* Given to the listener by inbound.bpf.c: the socket's own address is the one that was asked for. */
    if (sk->family == AF_INET6) {
        local.w[0] = WR_READ(sk, src_ip6[0]);
        local.w[1] = WR_READ(sk, src_ip6[1]);
        local.w[2] = WR_READ(sk, src_ip6[2]);
        local.w[3] = WR_READ(sk, src_ip6[3]);
    } else {
        ip_from_v4(&local, WR_READ(sk, src_ip4));
    }
    return answer_address(ctx, &local, (wr_u16)sk->src_port);
}

/* Only the tunnel is in this cgroup, so who listens here in a pod's namespace is the tunnel. A slot empties by itself when its socket dies.
 */
SEC("sockops")
int wr_tunnel_ops(struct bpf_sock_ops* ctx) {
    struct wr_listener_key key = {};
    const struct wr_config* config;
    wr_u16 port;

    if (ctx->op != BPF_SOCK_OPS_TCP_LISTEN_CB) return 1;
    config = config_row();
    port = (wr_u16)ctx->local_port;
    if (!config || (port != config->port_plaintext && port != config->port_hbone)) return 1;
    key.netns = bpf_get_netns_cookie(ctx);
    key.port = port;
    key.family = (wr_u16)ctx->family;
    bpf_sock_hash_update(ctx, &wr_listeners, &key, BPF_ANY);
    return 1;
}
