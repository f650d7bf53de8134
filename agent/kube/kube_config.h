// SPDX-License-Identifier: Apache-2.0
// How to reach an API server and as whom: a kubeconfig file, or what a pod finds in its own file system. Plain values; the functions read
// files when they say so, have no thread affinity, and their errors name the file, the line, the field and the fix.
//
// Not taken, each with an error instead of a guess: credential plugins (exec, auth-provider), user name and password, impersonation, and
// insecure-skip-tls-verify.
#pragma once

#include "base/result.h"

#include <functional>
#include <string>
#include <string_view>

namespace warren::kube {

// PEM text, or the file to read it from at each connection; at most one of them is set.
struct Pem {
    std::string text, file;

    [[nodiscard]] bool given() const { return !text.empty() || !file.empty(); }
};

struct KubeConfig {
    std::string origin;       // for messages: "FILE, context NAME" or "the pod's service account"
    std::string server;       // "https://HOST[:PORT][/PREFIX]", no slash at the end
    std::string server_name;  // that the certificate must have, when it is not the server's host
    std::string proxy;        // "" goes direct, whatever the environment says
    Pem roots;                // neither: the machine's
    Pem certificate, key;     // of the client, both or none
    std::string token;
    std::string token_file;  // re-read while in use; counts more than token
    std::string ns = "default";
};

using Environment = std::function<const char*(const char*)>;

// Pure. Relative file names in it are taken from the folder. An empty context is the file's current one.
base::Result<KubeConfig> parse_kubeconfig(std::string_view text, std::string_view name, std::string_view folder,
                                          std::string_view context = {});
base::Result<KubeConfig> load_kubeconfig(const std::string& path, std::string_view context = {});
// The folder is where the kubelet puts token, ca.crt and namespace.
base::Result<KubeConfig> in_cluster_config(const Environment& env,
                                           const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");
// The path if not empty, else the first existing file of $KUBECONFIG, else the pod's own, else ~/.kube/config. (Of several files in
// $KUBECONFIG one is read; they are not merged.)
base::Result<KubeConfig> find_config(const std::string& path, std::string_view context, const Environment& env);

// A whole file, bounded; for tokens and configurations.
base::Result<std::string> read_small_file(const std::string& path, size_t max_bytes = size_t{1} << 20);

}  // namespace warren::kube
