/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What user space and the kernel programs share: rows of every map, records of the ring, enumerations, version. The only header of bpf/
 * that user space sees; plain C that both compilers read: fixed widths, explicit padding, no holes.
 *
 * Conventions. Addresses are 16 bytes in network order, IPv4 mapped (::ffff:a.b.c.d). Ports are host order. Times are CLOCK_MONOTONIC
 * nanoseconds (bpf_ktime_get_ns). A pod is named by the cookie of its network namespace; ids of pods, services and policies are given by
 * the agent, are never reused (those of services while it runs), and 0 means none. Writer and lifetime of each map: bpf/README.md.
 */
#ifndef WARREN_BPF_ABI_H
#define WARREN_BPF_ABI_H

#if defined(__bpf__) || defined(__VMLINUX_H__)
typedef unsigned char wr_u8;
typedef unsigned short wr_u16;
typedef unsigned int wr_u32;
typedef unsigned long long wr_u64;
typedef int wr_s32;
#else
#include <stdint.h>
typedef uint8_t wr_u8;
typedef uint16_t wr_u16;
typedef uint32_t wr_u32;
typedef uint64_t wr_u64;
typedef int32_t wr_s32;
#endif

/* Raised by every change of a pinned map's rows; a newer agent migrates or refuses older pins (agent/node). */
#define WARREN_ABI_VERSION 2

/* getsockopt(SOL_IP, ...) on the tunnel's accepted socket: the endpoint that the kernel drew for a service address, struct wr_drawn.
 * ENOPROTOOPT from any kernel without our program, ENOENT when nothing was drawn. */
#define WARREN_SO_DRAWN_ENDPOINT 0x5744

struct wr_addr {
    wr_u8 b[16];
};

/* wr_config: array, one row. */
enum wr_config_flag {
    WR_CONFIG_REDIRECT = 1,   /* capture at all; off beside a stock node agent */
    WR_CONFIG_DIRECT = 2,     /* the same-node path */
    WR_CONFIG_RANGES = 4,     /* outside wr_ranges nothing needs the tunnel */
    WR_CONFIG_FLOWS = 8,      /* records of enrolled pods' connections */
    WR_CONFIG_FLOWS_ALL = 16, /* of observed pods' too (WR_POD_OBSERVED) */
    WR_CONFIG_CUBIC = 32,     /* local connections leave a pacing default */
};
struct wr_config {
    wr_u32 abi_version;
    wr_u32 flags;
    wr_u64 host_netns;        /* cookie of the node's own namespace */
    wr_u16 port_outbound;     /* 15001 */
    wr_u16 port_plaintext;    /* 15006 */
    wr_u16 port_hbone;        /* 15008 */
    wr_u16 port_dns;          /* 15053 */
    wr_u32 ring_wakeup_bytes; /* wake the reader above this fill; it also reads on a timer */
    wr_u32 pad;
};

/* wr_pods: cookie of a network namespace -> pod. Membership is exactly this map. */
enum wr_pod_flag {
    WR_POD_OUTBOUND = 1, /* what it connects to is captured */
    WR_POD_INBOUND = 2,  /* what reaches it is captured */
    WR_POD_DNS = 4,
    WR_POD_DIRECT = 8,    /* may use the same-node path as source */
    WR_POD_OBSERVED = 16, /* not enrolled: flows only, nothing is captured */
};
struct wr_pod {
    wr_u32 id;
    wr_u32 flags;
    struct wr_addr v4; /* zero: none */
    struct wr_addr v6;
};

/* wr_addrs: address -> the local pod that has it. */
struct wr_local {
    wr_u64 netns;
    wr_u32 id;
    wr_u32 flags; /* wr_pod_flag */
};

/* wr_tunnels, wr_kubelets: id of a cgroup (its inode) -> 1. Processes in the first are never captured; those in the second may reach every
 * enrolled pod of the node from the node's own namespace: probes. */

/* wr_ranges: longest-prefix trie of what may need the tunnel. data: mapped address, prefix length of IPv4 is 96 + n. */
struct wr_range_key {
    wr_u32 prefix_bits;
    struct wr_addr address;
};

/* wr_verdicts: what policy/ decided for (source pod, destination pod, destination port). Port 0: every port without a row of its own. */
enum wr_verdict {
    WR_VERDICT_NONE = 0,
    WR_VERDICT_ALLOW = 1,
    WR_VERDICT_DENY = 2,
    WR_VERDICT_TUNNEL = 3, /* allowed to ask, not to go direct: waypoint, switched off, unknown */
};
struct wr_verdict_key {
    wr_u32 source;
    wr_u32 destination;
    wr_u16 port;
    wr_u16 pad;
};
struct wr_verdict_row {
    wr_u8 verdict;
    wr_u8 reason; /* policy::Reason */
    wr_u16 pad;
    wr_u32 policy; /* the agent's id of the policy that decided, 0: none */
    wr_u32 rule;   /* its rule from 1, 0: the policy as a whole */
};

/* wr_services: a service's address and port -> its endpoints. A changed list gets a new id: rows of wr_endpoints first, then this one, then
 * the old rows go. */
enum wr_service_flag {
    WR_SERVICE_UNIFORM = 1,   /* all weights equal: one draw */
    WR_SERVICE_ALL_LOCAL = 2, /* every candidate is a pod of this node */
    WR_SERVICE_TUNNEL = 4,    /* waypoint, passthrough or unknown: do not draw */
    WR_SERVICE_HINT = 8,      /* the tunnel is ours: a drawn remote endpoint is handed to it */
};
struct wr_service_key {
    struct wr_addr address;
    wr_u16 port;
    wr_u16 pad;
};
struct wr_service_row {
    wr_u32 id;
    wr_u32 count;
    wr_u32 flags;
};
struct wr_endpoint_key {
    wr_u32 service;
    wr_u32 index; /* 0 .. count - 1 */
};
/* Weighted draw by alias: index uniform; stay when a second 32-bit draw is below threshold, else take alias. */
struct wr_endpoint_row {
    struct wr_addr address;
    wr_u32 threshold;
    wr_u32 alias;
    wr_u16 port;
    wr_u16 pad;
};

/* wr_handover: plain hash, from the SYN of a redirected connection to its acceptance. Outbound: application -> tunnel, carries the
 * destination asked for. Inbound: tunnel -> application, carries the true client. */
enum wr_handover_kind {
    WR_HANDOVER_OUTBOUND = 1,
    WR_HANDOVER_CLIENT = 2,
};
struct wr_handover_key {
    wr_u64 netns;
    struct wr_addr source;
    wr_u16 source_port;
    wr_u16 destination_port;
    wr_u32 pad;
};
struct wr_drawn {
    struct wr_addr address; /* zero: nothing was drawn */
    wr_u16 port;
    wr_u16 pad;
    wr_u32 service; /* id of the list it was drawn from */
};
struct wr_handover {
    struct wr_addr address;
    wr_u16 port;
    wr_u8 kind;
    wr_u8 pad;
    struct wr_drawn drawn;
    wr_u32 pad2;
    wr_u64 cookie; /* of the connecting socket: the flow's name on this node */
};

/* wr_announced: plain hash, from the sender's SYN to the receiver's acceptance. */
enum wr_announce_kind {
    WR_ANNOUNCE_DIRECT = 1,
    WR_ANNOUNCE_PROBE = 2,
};
struct wr_tuple {
    wr_u64 source_netns;
    wr_u64 destination_netns;
    struct wr_addr source;
    struct wr_addr destination;
    wr_u16 source_port;
    wr_u16 destination_port;
    wr_u32 pad;
};
struct wr_announced {
    wr_u64 time_ns;
    wr_u64 cookie; /* of the connecting socket */
    wr_u32 kind;
    wr_u32 source; /* pod ids, 0 for the node */
    wr_u32 destination;
    wr_u32 pad;
};

/* wr_listeners: the tunnel's listening sockets, put there by the kernel when the tunnel listens in a pod's namespace. */
struct wr_listener_key {
    wr_u64 netns;
    wr_u16 port;
    wr_u16 family; /* AF_INET or AF_INET6 */
    wr_u32 pad;
};

/* wr_socket: storage of a socket that Warren decided about. Only such sockets have one. */
enum wr_role {
    WR_ROLE_CLIENT = 1,   /* an application's connecting socket */
    WR_ROLE_SERVER = 2,   /* an application's accepted socket */
    WR_ROLE_TUNNEL = 3,   /* the tunnel's socket: accepted from an application, or about to connect to one */
    WR_ROLE_PROBE = 4,    /* the kubelet's */
    WR_ROLE_RESOLVER = 5, /* a datagram socket whose questions go to the tunnel */
};
enum wr_path {
    WR_PATH_NONE = 0,
    WR_PATH_DIRECT = 1,
    WR_PATH_TUNNEL = 2,
    WR_PATH_PASSTHROUGH = 3,
    WR_PATH_PLAINTEXT = 4,
    WR_PATH_DNS = 5,
};
/* 56 bytes at most: the kernel puts 72 before them, and the next slab is half as large again. What the socket itself knows is asked of it:
 * its namespace, its own port, and where it really goes. A drawn endpoint is in wr_drawn, a storage of its own that few sockets need.
 */
struct wr_socket {
    struct wr_addr asked; /* client: destination asked for; server, tunnel: the true client; resolver: the resolver asked */
    wr_u64 start_ns;
    wr_u32 source; /* pod ids */
    wr_u32 destination;
    wr_u32 policy;
    wr_u32 rule;
    wr_u32 connect_us; /* 0: never got there */
    wr_u16 asked_port;
    wr_u16 chosen_port; /* direct: the one that was judged */
    wr_u8 role;
    wr_u8 path;
    wr_u8 verdict;
    wr_u8 reason;
    wr_u8 state; /* wr_socket_state */
    wr_u8 pad[3];
};
enum wr_socket_state {
    WR_SOCKET_STARTED = 1, /* SYN sent, hand-over or announcement written */
    WR_SOCKET_ESTABLISHED = 2,
    WR_SOCKET_REPORTED = 3, /* its opening was put into the ring */
};

/* wr_flows: ring buffer. */
enum wr_event_kind {
    WR_EVENT_OPEN = 1,
    WR_EVENT_CLOSE = 2,
    WR_EVENT_DENIED = 3, /* refused at connect */
    WR_EVENT_SAMPLE = 4, /* not in the ring: what wr_iter_sample writes for a connection that is open */
    WR_EVENT_JUDGED = 5, /* not in the ring: what wr_iter_judge and wr_iter_list write for one that may not go on; error: ECONNABORTED when
                          * the kernel ended it, 0 when user space is to: tuple source, source_port, chosen, chosen_port */
};
enum wr_direction {
    WR_DIRECTION_OUTBOUND = 1,
    WR_DIRECTION_INBOUND = 2,
};
struct wr_flow_event {
    wr_u64 time_ns;
    wr_u64 start_ns;
    wr_u64 cookie;
    wr_u64 netns;
    wr_u64 bytes_to_destination; /* application bytes: SYN and FIN are not counted */
    wr_u64 bytes_to_source;
    struct wr_addr source;
    struct wr_addr asked;
    struct wr_addr chosen; /* zero unless direct */
    wr_u32 source_id;
    wr_u32 destination_id;
    wr_u32 policy;
    wr_u32 rule;
    wr_u32 srtt_us;
    wr_u32 retransmits;
    wr_u32 connect_us;
    wr_s32 error; /* the socket's errno at its end, 0: none */
    wr_u16 source_port;
    wr_u16 asked_port;
    wr_u16 chosen_port;
    wr_u8 kind;
    wr_u8 path;
    wr_u8 verdict;
    wr_u8 reason;
    wr_u8 direction;
    wr_u8 last_state; /* TCP state it left for CLOSE: tells who ended it */
    wr_u8 pad[4];
};

/* wr_stats: per-CPU array, one slot for every way out. Append only. */
enum wr_stat {
    WR_STAT_CONNECT_TUNNEL,
    WR_STAT_CONNECT_DIRECT,
    WR_STAT_CONNECT_DENIED,
    WR_STAT_CONNECT_PASSTHROUGH,
    WR_STAT_CONNECT_SELF,   /* own address or loopback */
    WR_STAT_CONNECT_EXEMPT, /* the tunnel */
    WR_STAT_CONNECT_PROBE,
    WR_STAT_CONNECT_AGENT_PORT,  /* refused: a port of the tunnel asked for by hand */
    WR_STAT_CONNECT_UNSUPPORTED, /* refused: a kind of socket that cannot be captured */
    WR_STAT_VERDICT_MISS,        /* no row: went to the tunnel */
    WR_STAT_DNS,
    WR_STAT_HANDOVER_ADDED,
    WR_STAT_HANDOVER_TAKEN,
    WR_STAT_HANDOVER_FULL,
    WR_STAT_HANDOVER_EXPIRED, /* removed at close: never accepted */
    WR_STAT_ANNOUNCED,
    WR_STAT_ANNOUNCED_TAKEN,
    WR_STAT_ANNOUNCED_FULL,
    WR_STAT_ANNOUNCED_EXPIRED,
    WR_STAT_INBOUND_DIRECT,    /* announced: to the application */
    WR_STAT_INBOUND_PLAINTEXT, /* to the tunnel's 15006 */
    WR_STAT_INBOUND_HBONE,
    WR_STAT_INBOUND_NO_LISTENER, /* dropped: the tunnel is not there */
    WR_STAT_INBOUND_UNKNOWN,     /* dropped: an address of an enrolled pod that the agent has not registered */
    WR_STAT_STORAGE_FULL,        /* refused: no storage for a socket */
    WR_STAT_EVENTS,              /* records written */
    WR_STAT_EVENTS_LOST,         /* ring full */
    WR_STAT_DESTROYED,           /* open connections ended because their verdict changed */
    WR_STAT_COUNT
};

#ifdef __cplusplus
#define WR_SIZE(type, bytes) static_assert(sizeof(struct type) == (bytes), #type)
#else
#define WR_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#endif
WR_SIZE(wr_config, 32);
WR_SIZE(wr_pod, 40);
WR_SIZE(wr_local, 16);
WR_SIZE(wr_range_key, 20);
WR_SIZE(wr_verdict_key, 12);
WR_SIZE(wr_verdict_row, 12);
WR_SIZE(wr_service_key, 20);
WR_SIZE(wr_endpoint_row, 28);
WR_SIZE(wr_handover_key, 32);
WR_SIZE(wr_handover, 56);
WR_SIZE(wr_tuple, 56);
WR_SIZE(wr_announced, 32);
WR_SIZE(wr_listener_key, 16);
WR_SIZE(wr_socket, 56);
WR_SIZE(wr_drawn, 24);
WR_SIZE(wr_flow_event, 144);

#endif
