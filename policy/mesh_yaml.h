// SPDX-License-Identifier: Apache-2.0
// The local mesh file (data-plane contract 10.3): YAML with `workloads`, `policies` and `services`, in the words of the dump of 9.7.
// It is configuration, so it is taken whole or refused whole: any unknown key, wrong type, number out of range or doubled uid or key
// gives one error with file, line, path and the fix; what was in force before stays in force by the caller.
//
//   workload  workloadIps, namespace and services (a map "namespace/hostname" -> {service port: target port}) are required. Defaults are
//             those of the reference: protocol TCP, capacity 1, texts empty, trustDomain and clusterId too.
//   service   name, namespace, hostname, vips ("network/ip") and ports are required. endpoints {uid: {workloadUid, port, status}} name
//             workloads of the same file and become memberships of theirs.
//   policy    every key is required. A string match is tagged (!Exact web, !Prefix, !Suffix, !Presence) or a map of one ({Exact: web}).
//   gateway   {destination: "network/ip" or "namespace/hostname", hboneMtlsPort}
//
// Pure, but for the pool: call from the thread that owns it.
#pragma once

#include "base/result.h"
#include "policy/snapshot.h"

#include <string_view>

namespace warren::policy {

// text: the file's content, at most 64 MiB, no single [...] or {...} above 1 MiB. name: how errors call it. The batch has no removals.
base::Result<Batch> mesh_from_yaml(std::string_view text, std::string_view name, TextPool& pool);

}  // namespace warren::policy
