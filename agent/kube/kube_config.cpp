// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/kube_config.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "policy/document.h"
#include "policy/document_yaml.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <optional>
#include <vector>

namespace warren::kube {

using base::Error;
using base::Result;
using policy::Node;

namespace {

constexpr size_t kMaxNamed = 1000;  // clusters, users, contexts of one file

std::optional<std::string> from_base64(std::string_view text) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t bits = 0;
    unsigned count = 0, padding = 0;
    for (const char c : text) {
        if (c == '\n' || c == '\r' || c == ' ') continue;
        if (c == '=') {
            ++padding;
            continue;
        }
        const size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos || padding != 0) return std::nullopt;
        bits = bits << 6 | static_cast<uint32_t>(digit);
        if (++count % 4 == 0) {
            out += {static_cast<char>(bits >> 16 & 0xff), static_cast<char>(bits >> 8 & 0xff), static_cast<char>(bits & 0xff)};
            bits = 0;
        }
    }
    const unsigned left = count % 4;
    if (left == 1 || padding > 2 || (padding != 0 && (left + padding) % 4 != 0)) return std::nullopt;
    if (left == 2) out += static_cast<char>(bits >> 4 & 0xff);
    if (left == 3) out += {static_cast<char>(bits >> 10 & 0xff), static_cast<char>(bits >> 2 & 0xff)};
    return out;
}

// The value under a key of a map; absent also when null or when there is no map.
Node field(Node map, std::string_view key) {
    if (!map.is(Node::Kind::Map)) return {};
    for (Node at = map.first(); at; at = at.next().next())
        if (at.text() == key) return at.next().is(Node::Kind::Null) ? Node() : at.next();
    return {};
}

Result<std::string> text_of(Node map, std::string_view key) {
    const Node node = field(map, key);
    if (!node) return std::string();
    if (!node.is(Node::Kind::Scalar)) return node.refuse("must be a text");
    if (node.text().find_first_of(std::string_view("\r\0", 2)) != std::string_view::npos)
        return node.refuse("has a control character; remove it");
    return std::string(node.text());
}

// The element of a list of {name: ..., <kind>: {...}}.
Result<Node> named(Node root, std::string_view list, std::string_view kind, const std::string& name) {
    const Node all = field(root, list);
    if (all && !all.is(Node::Kind::Sequence)) return all.refuse("must be a list");
    size_t count = 0;
    if (all) {
        for (const Node entry : all) {
            if (++count > kMaxNamed) return entry.refuse("more than 1000 entries");
            if (TRY(text_of(entry, "name")) != name) continue;
            const Node value = field(entry, kind);
            if (value && !value.is(Node::Kind::Map)) return value.refuse("must be a map");
            return value ? value : entry;  // an entry with nothing in it
        }
    }
    return root.refuse("no entry " + base::quoted(name) + " in " + std::string(list));
}

Result<Pem> pem(Node map, std::string_view file_key, std::string_view folder) {
    const std::string data_key = std::string(file_key) + "-data";
    Pem out;
    if (const std::string data = TRY(text_of(map, data_key)); !data.empty()) {
        auto decoded = from_base64(data);
        if (!decoded || decoded->find("-----BEGIN") == std::string::npos) return field(map, data_key).refuse("is not PEM text in base64");
        out.text = std::move(*decoded);
        return out;
    }
    out.file = TRY(text_of(map, file_key));
    if (!out.file.empty() && out.file[0] != '/') out.file = std::string(folder) + '/' + out.file;
    return out;
}

Result<void> refuse_fields(Node map, std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    for (const auto& [key, why] : fields)
        if (const Node node = field(map, key); node && node.text() != "false") return node.refuse(why);
    return {};
}

Result<void> read_cluster(Node cluster, std::string_view folder, KubeConfig& out) {
    TRY(refuse_fields(cluster, {{"insecure-skip-tls-verify", "not supported: name the authority in certificate-authority-data instead"}}));
    out.server = TRY(text_of(cluster, "server"));
    if (out.server.empty()) return cluster.refuse("server is missing; write https://HOST:PORT");
    out.server_name = TRY(text_of(cluster, "tls-server-name"));
    out.proxy = TRY(text_of(cluster, "proxy-url"));
    out.roots = TRY(pem(cluster, "certificate-authority", folder));
    return {};
}

Result<void> read_user(Node user, std::string_view folder, KubeConfig& out) {
    constexpr std::string_view kPlugin = "credential plugins are not supported; use a token or a client certificate";
    TRY(refuse_fields(user, {{"exec", kPlugin},
                             {"auth-provider", kPlugin},
                             {"username", "passwords are not supported; use a token or a client certificate"},
                             {"as", "impersonation is not supported"}}));
    out.certificate = TRY(pem(user, "client-certificate", folder));
    out.key = TRY(pem(user, "client-key", folder));
    if (out.certificate.given() != out.key.given()) return user.refuse("client-certificate and client-key belong together");
    out.token = TRY(text_of(user, "token"));
    out.token_file = TRY(text_of(user, "tokenFile"));
    if (!out.token_file.empty() && out.token_file[0] != '/') out.token_file = std::string(folder) + '/' + out.token_file;
    return {};
}

bool is_loopback(std::string_view host) {
    return host.starts_with("127.") || host.starts_with("[::1]") || host.starts_with("localhost:") || host == "localhost";
}

// A secret in plaintext only to this machine (kubectl proxy, tests).
Result<void> check_server(KubeConfig& config) {
    std::string& server = config.server;
    while (server.ends_with('/')) server.pop_back();
    const bool https = server.starts_with("https://"), http = server.starts_with("http://");
    const std::string rest = server.substr(https ? 8 : http ? 7 : 0);
    const bool odd = rest.empty() || rest[0] == '/' || rest.find_first_of("?#@ \\\"'\n\r\t") != std::string::npos;
    if ((!https && !http) || odd) return base::invalid(config.origin + ": server " + base::quoted(server) + ": write https://HOST:PORT");
    if (http && !is_loopback(rest)) {
        return base::invalid(config.origin + ": server " + base::quoted(server) + ": plaintext only to this machine; use https");
    }
    return {};
}

std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, size_t max_bytes) {
    const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return base::os_error("open", path);
    std::string out;
    std::array<char, 16384> piece;
    for (;;) {
        const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::os_error("read", path);
        if (n == 0) return out;
        out.append(piece.data(), static_cast<size_t>(n));
        if (out.size() > max_bytes) return base::invalid(path + ": more than " + std::to_string(max_bytes) + " bytes");
    }
}

Result<KubeConfig> parse_kubeconfig(std::string_view text, std::string_view name, std::string_view folder, std::string_view context) {
    const policy::Document document = TRY(policy::document_from_yaml(text, name));
    if (document.empty() || !document.root().is(Node::Kind::Map)) return base::invalid(std::string(name) + ": not a kubeconfig file");
    const Node root = document.root();
    std::string wanted(context);
    if (wanted.empty()) wanted = TRY(text_of(root, "current-context"));
    if (wanted.empty()) return root.refuse("no current-context; name a context");
    KubeConfig out;
    out.origin = std::string(name) + ", context " + base::quoted(wanted);
    const Node chosen = TRY(named(root, "contexts", "context", wanted));
    const std::string cluster = TRY(text_of(chosen, "cluster")), user = TRY(text_of(chosen, "user"));
    if (const std::string ns = TRY(text_of(chosen, "namespace")); !ns.empty()) out.ns = ns;
    TRY(read_cluster(TRY(named(root, "clusters", "cluster", cluster)), folder, out));
    if (!user.empty()) TRY(read_user(TRY(named(root, "users", "user", user)), folder, out));
    TRY(check_server(out));
    return out;
}

Result<KubeConfig> load_kubeconfig(const std::string& path, std::string_view context) {
    return parse_kubeconfig(TRY(read_small_file(path)), path, folder_of(path), context);
}

Result<KubeConfig> in_cluster_config(const Environment& env, const std::string& folder) {
    const auto value = [&](const char* name) {
        const char* text = env(name);
        return std::string(text == nullptr ? "" : text);
    };
    const std::string host = value("KUBERNETES_SERVICE_HOST"), port = value("KUBERNETES_SERVICE_PORT");
    if (host.empty() || port.empty()) {
        return Error{base::Errc::NotFound, 0, "",
                     "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give a kubeconfig file"};
    }
    KubeConfig out;
    out.origin = "the pod's service account";
    out.server = "https://" + (host.find(':') == std::string::npos ? host : '[' + host + ']') + ':' + port;
    out.token_file = folder + "/token";
    out.roots.file = folder + "/ca.crt";
    TRY(read_small_file(out.token_file));
    if (auto ns = read_small_file(folder + "/namespace", 1024); ns && !ns->empty()) out.ns = *ns;
    TRY(check_server(out));
    return out;
}

Result<KubeConfig> find_config(const std::string& path, std::string_view context, const Environment& env) {
    if (!path.empty()) return load_kubeconfig(path, context);
    if (const char* list = env("KUBECONFIG"); list != nullptr && *list != '\0') {
        std::string_view rest(list);
        while (!rest.empty()) {
            const std::string one(rest.substr(0, rest.find(':')));
            rest.remove_prefix(std::min(rest.size(), one.size() + 1));
            if (!one.empty() && ::access(one.c_str(), F_OK) == 0) return load_kubeconfig(one, context);
        }
        return base::invalid("KUBECONFIG " + base::quoted(list) + ": no such file");
    }
    if (env("KUBERNETES_SERVICE_HOST") != nullptr) return in_cluster_config(env);
    const char* home = env("HOME");
    return load_kubeconfig(std::string(home == nullptr ? "" : home) + "/.kube/config", context);
}

}  // namespace warren::kube
