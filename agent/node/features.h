// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, probed once at start by trying, not by version numbers (distributions backport). Plain values for `status`:
// feature, available, used, why not. Nothing here needs fentry, kprobes or the BPF LSM, which hardened kernels refuse.
#pragma once

#include "base/result.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

struct Feature {
    std::string name;
    bool available = false;
    bool used = false;
    bool required = false;  // redirection does not work without it
    std::string why_not = {};
};

struct Features {
    std::string kernel;        // uname -r
    std::string cgroup2_root;  // empty: none mounted
    std::vector<Feature> all;

    [[nodiscard]] const Feature* find(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const;
    // What is required and missing, with the fix; ok when nothing is.
    [[nodiscard]] base::Result<void> sufficient() const;
    // Programs of the object that this kernel cannot load, and why: for KernelObjectSettings.
    [[nodiscard]] std::map<std::string, std::string> programs_to_leave_out() const;
};

struct ProbeSettings {
    std::string bpffs = "/sys/fs/bpf";
    std::string cgroup2_root = {};  // empty: found in /proc/self/mountinfo
};

// Takes some tens of milliseconds: the kernel's types are read. Mounts nothing.
[[nodiscard]] Features probe_features(const ProbeSettings& settings);

}  // namespace warren::node
