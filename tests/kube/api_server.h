// SPDX-License-Identifier: Apache-2.0
// A real kube-apiserver with its etcd, on ports and in a folder of their own, gone with the object (and with the test, however that ends).
// The programs come from the cache of the cluster scripts ($KL_CACHE, ~/.cache/warren-cluster); where they have not been built the test is
// skipped. No controllers run: namespaces are never removed, service accounts not made. Authorization is RBAC, and admin() is in
// system:masters. For one thread.
#pragma once

#include "agent/kube/client.h"
#include "agent/kube/kube_config.h"

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tests {

class ApiServer {
  public:
    ApiServer();
    ~ApiServer() = default;
    ApiServer(const ApiServer&) = delete;
    ApiServer& operator=(const ApiServer&) = delete;

    // Down at once; up and ready within a minute, or the test fails.
    void stop_api();
    void start_api();
    // etcd forgets all before now.
    void compact();

    [[nodiscard]] uint16_t port() const { return api_port_; }
    // As administrator, by client certificate; over the port when it is not 0.
    [[nodiscard]] kube::KubeConfig config(uint16_t port = 0) const;
    [[nodiscard]] std::shared_ptr<kube::Endpoint> endpoint(uint16_t port = 0) const;
    [[nodiscard]] kube::Client& admin() { return *admin_; }

    // Applies the objects of a YAML text in order, their status too, and makes their namespaces.
    void apply(std::string_view yaml);
    void remove(std::string_view yaml);
    void install_definitions();  // of the kinds that the mesh reads

  private:
    void make_keys() const;
    [[nodiscard]] pid_t spawn(const std::string& name, const std::vector<std::string>& args) const;

    // Members of their own, for a constructor that fails runs no destructor but theirs.
    struct Folder {
        std::string path;
        ~Folder();
    };
    struct Process {
        pid_t pid = -1;
        void end();
        ~Process() { end(); }
    };

    std::string bin_;
    Folder folder_;
    uint16_t etcd_port_ = 0, peer_port_ = 0, api_port_ = 0;
    Process etcd_, api_;
    std::unique_ptr<kube::Client> admin_, etcd_client_;
};

// Forwards connections to a local port until told to cut them.
class TcpProxy {
  public:
    explicit TcpProxy(uint16_t target);
    ~TcpProxy();
    [[nodiscard]] uint16_t port() const;
    void cut();                 // every connection there is
    void refuse(bool refused);  // new ones

  private:
    struct Impl;
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::tests
