/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses inside the programs: four words in network order, the bytes of struct wr_addr, but aligned so that the compiler moves words. */
#ifndef WARREN_BPF_ADDR_H
#define WARREN_BPF_ADDR_H

#include "bpf/kernel.h"

struct ip {
    __be32 w[4];
};

WR_INLINE void ip_from_v4(struct ip* out, __be32 v4) {
    out->w[0] = 0;
    out->w[1] = 0;
    out->w[2] = bpf_htonl(0xffff);
    out->w[3] = v4;
}

WR_INLINE void ip_load(struct ip* out, const struct wr_addr* from) { __builtin_memcpy(out, from, sizeof(*out)); }

WR_INLINE void ip_store(struct wr_addr* out, const struct ip* from) { __builtin_memcpy(out, from, sizeof(*out)); }

WR_INLINE int ip_is_v4(const struct ip* a) { return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == bpf_htonl(0xffff); }

WR_INLINE int ip_is_zero(const struct ip* a) { return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0; }

WR_INLINE int ip_same(const struct ip* a, const struct ip* b) {
    return ((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) | (a->w[3] ^ b->w[3])) == 0;
}

/* 127.0.0.0/8, ::1, and the unspecified addresses, which the kernel takes for loopback when connecting. */
WR_INLINE int ip_is_loopback(const struct ip* a) {
    if (ip_is_v4(a)) return a->w[3] == 0 || (a->w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
    return (a->w[0] | a->w[1] | a->w[2]) == 0 && (a->w[3] == 0 || a->w[3] == bpf_htonl(1));
}

/* The loopback address of the family of `like`. */
WR_INLINE void ip_loopback(struct ip* out, const struct ip* like) {
    if (ip_is_v4(like)) {
        ip_from_v4(out, bpf_htonl(0x7f000001));
    } else {
        out->w[0] = 0;
        out->w[1] = 0;
        out->w[2] = 0;
        out->w[3] = bpf_htonl(1);
    }
}

#endif
