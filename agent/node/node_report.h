// SPDX-License-Identifier: Apache-2.0
// NodeReport: what the agent knows of its node at one moment, for status, metrics and readiness. A plain value; any thread.
#pragma once

#include "agent/node/attachments.h"
#include "agent/node/conntrack_sweeper.h"
#include "agent/node/enrolment.h"
#include "agent/node/features.h"
#include "agent/node/judge.h"
#include "agent/node/kernel_object.h"
#include "agent/node/kernel_tables.h"
#include "agent/node/kubelet_cgroup.h"
#include "agent/node/maps.h"
#include "agent/node/tunnel_cgroup.h"
#include "agent/node/zds_server.h"

#include <cstddef>
#include <string>
#include <vector>

namespace warren::node {

struct NodeReport {
    bool mesh_synced = false;
    bool settled = false;
    bool tunnel_synced = false;
    std::vector<Feature> features;
    std::string kernel;
    std::string cgroup2_root;
    std::vector<HookReport> hooks;
    AttachmentTotals attachments;
    CheckReport last_check;
    std::vector<MapReport> maps;
    Occupancy handover, announced;
    StatCounts stats{};
    EnrolmentCounts enrolment;
    std::vector<PodStatus> pods;
    std::vector<EnrolledPod> enrolled;
    std::vector<TunnelStatus> tunnels;
    ZdsStats zds;
    std::vector<TunnelCgroups::Report> tunnel_cgroups;
    std::vector<KubeletReport> kubelets;
    VerdictCounts verdicts;
    ServiceCounts services;
    KernelTablesCounts tables;
    JudgeStats judge;
    bool can_judge = false;
    ConntrackSweeper::Status conntrack;
};

}  // namespace warren::node
