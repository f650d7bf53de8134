// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/kube_config.h"

#include "tests/catch.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

using namespace warren::kube;

namespace {

// "-----BEGIN X-----" and "-----BEGIN Y-----"
const std::string kFile = R"(
apiVersion: v1
kind: Config
current-context: one
preferences: {}
clusters:
- name: c1
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority-data: LS0tLS1CRUdJTiBYLS0tLS0=
- name: c2
  cluster: {server: "https://[fd00::1]:6443/prefix", tls-server-name: kubernetes, certificate-authority: ca.pem}
users:
- name: u1
  user: {client-certificate-data: LS0tLS1CRUdJTiBZLS0tLS0=, client-key: /keys/u1.key}
- name: u2
  user: {tokenFile: token}
- name: u3
  user: {exec: {command: aws}}
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: prod}}
- {name: two, context: {cluster: c2, user: u2}}
- {name: three, context: {cluster: c1, user: u3}}
- {name: four, context: {cluster: missing, user: u1}}
)";

std::string error_of_text(const std::string& text, std::string_view context = {}) {
    const auto config = parse_kubeconfig(text, "config", "/home", context);
    return config ? "none" : config.error().detail;
}

}  // namespace

TEST_CASE("kube_config: the current context gives server, roots, certificate and namespace") {
    const auto config = parse_kubeconfig(kFile, "config", "/home/.kube");
    REQUIRE(config);
    CHECK(config->server == "https://10.0.0.1:6443");
    CHECK(config->roots.text == "-----BEGIN X-----");
    CHECK(config->certificate.text == "-----BEGIN Y-----");
    CHECK(config->key.file == "/keys/u1.key");
    CHECK(config->ns == "prod");
    CHECK(config->token_file.empty());
}

TEST_CASE("kube_config: another context, with files beside the configuration") {
    const auto config = parse_kubeconfig(kFile, "config", "/home/.kube", "two");
    REQUIRE(config);
    CHECK(config->server == "https://[fd00::1]:6443/prefix");
    CHECK(config->server_name == "kubernetes");
    CHECK(config->roots.file == "/home/.kube/ca.pem");
    CHECK(config->token_file == "/home/.kube/token");
    CHECK(config->ns == "default");
}

TEST_CASE("kube_config: the same as JSON") {
    const auto config = parse_kubeconfig(R"({"current-context":"a","clusters":[{"name":"c","cluster":{"server":"https://h"}}],
        "users":[{"name":"u","user":{"token":"t"}}],"contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}]})",
                                         "config", "/");
    REQUIRE(config);
    CHECK(config->server == "https://h");
    CHECK(config->token == "t");
}

TEST_CASE("kube_config: what is not taken is named with its place") {
    CHECK(error_of_text(kFile, "three") ==
          "config:19: users[2].user.exec: credential plugins are not supported; use a token or a client certificate");
    CHECK(error_of_text(kFile, "four").find("no entry 'missing' in clusters") != std::string::npos);
    CHECK(error_of_text(kFile, "five").find("no entry 'five' in contexts") != std::string::npos);
    CHECK(error_of_text("a: b").find("no current-context") != std::string::npos);
    const auto with = [](const std::string& cluster) {
        return error_of_text("current-context: a\nclusters: [{name: c, cluster: {" + cluster +
                             "}}]\ncontexts: [{name: a, context: {cluster: c}}]\n");
    };
    CHECK(with("server: https://h") == "none");
    CHECK(with("server: https://h, insecure-skip-tls-verify: true").find("not supported") != std::string::npos);
    CHECK(with("server: https://h, insecure-skip-tls-verify: false") == "none");
    CHECK(with("server: http://10.0.0.1").find("plaintext only to this machine") != std::string::npos);
    CHECK(with("server: http://127.0.0.1:80") == "none");
    CHECK(with("server: 'https://h?x'").find("write https://HOST:PORT") != std::string::npos);
    CHECK(with("server: https://h, certificate-authority-data: '*'").find("is not PEM text in base64") != std::string::npos);
    CHECK(with("server: https://h, certificate-authority-data: TFM").find("is not PEM text in base64") != std::string::npos);
}

TEST_CASE("kube_config: a pod finds its own") {
    char folder[] = "/tmp/warren-kube-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    const std::filesystem::path path(folder);
    std::map<std::string, std::string> env = {{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
    const Environment get = [&](const char* name) { return env.count(name) != 0 ? env[name].c_str() : nullptr; };
    CHECK(!in_cluster_config(get, path));  // no token
    std::ofstream(path / "token") << "abc\n";
    std::ofstream(path / "namespace") << "mesh";
    const auto config = in_cluster_config(get, path);
    REQUIRE(config);
    CHECK(config->server == "https://[fd00::1]:443");
    CHECK(config->ns == "mesh");
    CHECK(config->token_file == (path / "token").string());
    env.clear();
    CHECK(in_cluster_config(get, path).error().code == warren::base::Errc::NotFound);
    std::ofstream(path / "config") << kFile;
    env["KUBECONFIG"] = "/nowhere/config:" + (path / "config").string();
    const auto found = find_config("", "", get);
    REQUIRE(found);
    CHECK(found->ns == "prod");
    std::filesystem::remove_all(path);
}
