/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records of connections: filling one, and the ring's one rule of waking. Below ring_wakeup_bytes nobody is woken (the reader has a timer),
 * above it always: mixing either with the kernel's adaptive default puts a reader to sleep for good, because the default wakes only a
 * reader that has caught up. Records that found no room are counted.
 */
#ifndef WARREN_BPF_FLOW_H
#define WARREN_BPF_FLOW_H

#include "bpf/addr.h"
#include "bpf/stats.h"

/* Everything that the storage knows. Namespace, addresses of the packet (the chosen one too), bytes and times of the end are the caller's.
 */
WR_INLINE void flow_fill(struct wr_flow_event* e, const struct wr_socket* s, wr_u8 kind) {
    __builtin_memset(e, 0, sizeof(*e));
    e->time_ns = bpf_ktime_get_ns();
    e->start_ns = s->start_ns;
    e->asked = s->asked;
    if (s->path == WR_PATH_DIRECT) e->chosen_port = s->chosen_port;
    e->source_id = s->source;
    e->destination_id = s->destination;
    e->policy = s->policy;
    e->rule = s->rule;
    e->connect_us = s->connect_us;
    e->asked_port = s->asked_port;
    e->kind = kind;
    e->path = s->path;
    e->verdict = s->verdict;
    e->reason = s->reason;
    e->direction = WR_DIRECTION_OUTBOUND;
}

/* What the application sent and received, of a socket that connected. bytes_acked counts the SYN, and the FIN once it is acknowledged;
 * bytes_received counts the peer's FIN (Linux tcp_snd_una_update, tcp_rcv_nxt_update). `state` is the last one before CLOSE.
 */
WR_INLINE void flow_bytes(struct wr_flow_event* e, const struct tcp_sock* tp, wr_u8 state) {
    const wr_u64 flags = tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags;
    const int fin_sent = state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_LAST_ACK || state == TCP_CLOSING;
    wr_u64 sent = tp->bytes_acked;
    wr_u64 received = tp->bytes_received;

    if (sent) sent--;
    if (sent && fin_sent && tp->snd_una == tp->write_seq) sent--;
    if (received && flags & (1ULL << bpf_core_enum_value(enum sock_flags, SOCK_DONE))) received--;
    e->bytes_to_destination = sent;
    e->bytes_to_source = received;
    e->srtt_us = tp->srtt_us >> 3; /* the kernel keeps eighths */
    e->retransmits = tp->total_retrans;
}

WR_INLINE struct wr_flow_event* flow_reserve(void) {
    struct wr_flow_event* e = bpf_ringbuf_reserve(&wr_flows, sizeof(*e), 0);

    /* Compared before anything else is called: Linux 6.1 loses track of a record that is spilled unexamined. */
    if (!e) {
        count(WR_STAT_EVENTS_LOST);
        return NULL;
    }
    count(WR_STAT_EVENTS);
    return e;
}

WR_INLINE void flow_submit(struct wr_flow_event* e, wr_u32 wakeup_bytes) {
    const wr_u64 fill = bpf_ringbuf_query(&wr_flows, BPF_RB_AVAIL_DATA);

    bpf_ringbuf_submit(e, fill > wakeup_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
