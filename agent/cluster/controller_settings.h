// SPDX-License-Identifier: Apache-2.0
// The settings of warren-controller: a YAML file, WARREN_CONTROLLER_* variables, flags; the later wins (base/config.h). Read once by main
// before threads start. An error names the key, the value, what is allowed, and the place.
#pragma once

#include "agent/cluster/address_allocator.h"
#include "agent/cluster/authority_types.h"
#include "agent/cluster/convert.h"
#include "base/config.h"
#include "base/log_filter.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace warren::cluster {

struct ControllerSettings {
    enum class SourceKind : uint8_t { File, Kubernetes } source = SourceKind::File;
    std::string folder = "/etc/warren/mesh";
    std::string kubeconfig;  // empty: the pod's own, or $KUBECONFIG
    std::string kube_context;

    Settings mesh;                           // of the conversion
    std::optional<AddressRanges> addresses;  // for hosts of ServiceEntries, of kind kubernetes; none: they get none
    std::string state = "/var/lib/warren-controller";
    std::string audit;           // empty: STATE/audit.log
    std::string public_folder;   // empty: STATE/public
    AuthorityOptions authority;  // its state and trust domain come from above
    std::vector<std::string> trusted_accounts;

    std::string listen = "[::]:15012";
    std::string plaintext_listen = "[::]:15010";  // only with insecure_demo
    std::vector<std::string> dns_names;           // beside the usual ones
    bool insecure_demo = false;
    bool workload_type = true;
    std::chrono::nanoseconds debounce = std::chrono::milliseconds(50), debounce_most = std::chrono::milliseconds(500);
    std::chrono::nanoseconds stream_age = std::chrono::minutes(30);

    std::string health = "[::]:8080", metrics = "[::]:15014", admin = "127.0.0.1:9876";
    base::log::Filter log_filter;
    base::log::Format log_format = base::log::Format::Text;
    bool dumpable = false;

    base::config::Effective effective;

    [[nodiscard]] std::string tokens_path() const { return state + "/tokens.json"; }
    [[nodiscard]] std::string audit_path() const { return audit.empty() ? state + "/audit.log" : audit; }
    [[nodiscard]] std::string public_path() const { return public_folder.empty() ? state + "/public" : public_folder; }
    // What a client may call us: the reference's names (Kubernetes contract 4.1), ours, and the setting's.
    [[nodiscard]] std::vector<std::string> server_names() const;
};

// args: without the program's name and the command. env: getenv when empty. --help was asked for: effective.help.
[[nodiscard]] base::Result<ControllerSettings> read_controller_settings(std::vector<std::string> args,
                                                                        std::function<const char*(const char*)> env = {});
[[nodiscard]] std::string controller_settings_help();       // of the flags
[[nodiscard]] std::string controller_settings_reference();  // a Markdown table

}  // namespace warren::cluster
