/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the programs need of the kernel: its user-space interface, libbpf's helpers, and partial flavors of the few internal structs that
 * are read. Offsets are fitted at load (CO-RE), so one object serves every kernel from the floor, 5.15, on. Version differences are decided
 * by constants that the loader fills in (LINUX_KERNEL_VERSION), which lets the verifier drop the branch that a kernel does not have.
 */
#ifndef WARREN_BPF_KERNEL_H
#define WARREN_BPF_KERNEL_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define SOL_IP 0
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SOL_IPV6 41
#define SO_BINDTODEVICE 25
#define SO_ORIGINAL_DST 80 /* and IP6T_SO_ORIGINAL_DST of SOL_IPV6 */
#define TCP_SYNCNT 7
#define TCP_CONGESTION 13

#define EPERM 1
#define ENOENT 2
#define EEXIST 17
#define EPROTONOSUPPORT 93
#define EADDRNOTAVAIL 99
#define ECONNREFUSED 111

extern int LINUX_KERNEL_VERSION __kconfig;
#define WR_KERNEL(major, minor) (((major) << 16) + ((minor) << 8))

#define WR_INLINE static __always_inline

/* A 32-bit context field, read here. The verifier refuses arithmetic on a context pointer, which clang makes of the reads in two branches
 * by merging them into one; it cannot merge these.
 */
#define WR_READ(base, field)                                                                                                   \
    ({                                                                                                                         \
        __u32 read_;                                                                                                           \
        asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(read_) : "r"(base), "i"(__builtin_offsetof(__typeof__(*(base)), field))); \
        read_;                                                                                                                 \
    })

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE 7
#define TCP_LAST_ACK 9
#define TCP_CLOSING 11

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
    union {
        __be32 u6_addr32[4];
    } in6_u;
};

struct net {
    __u64 net_cookie; /* 5.12 */
};

typedef struct {
    struct net* net;
} possible_net_t;

struct sock_common {
    unsigned short skc_family;
    volatile unsigned char skc_state;
    __be16 skc_dport;
    __u16 skc_num;
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
    unsigned long skc_flags;
    possible_net_t skc_net;
};

struct sock {
    struct sock_common __sk_common;
    int sk_err;
};

struct inet_sock {
    struct sock sk;
};

struct inet_connection_sock {
    struct inet_sock icsk_inet;
    __u8 icsk_ca_setsockopt : 1;
};

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    __u64 bytes_acked;
    __u64 bytes_received;
    __u32 snd_una;
    __u32 write_seq;
    __u32 srtt_us;
    __u32 total_retrans;
};

enum sock_flags {
    SOCK_DONE = 1,
};

struct seq_file;

struct bpf_iter_meta {
    struct seq_file* seq;
};

struct bpf_iter__tcp {
    struct bpf_iter_meta* meta;
    struct sock_common* sk_common;
};

#pragma clang attribute pop

/* Kernel function of iterators, 6.5; a call is valid only under a comparison with that version. */
extern int bpf_sock_destroy(struct sock_common* sock) __ksym __weak;

#endif
