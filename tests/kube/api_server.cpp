// SPDX-License-Identifier: Apache-2.0
#include "tests/kube/api_server.h"

#include "base/fd.h"
#include "tests/catch.h"
#include "tests/kube/objects.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace warren::tests {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

std::string programs() {
    const auto env = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
    std::string cache = env("KL_CACHE");
    if (cache.empty()) cache = (env("XDG_CACHE_HOME").empty() ? env("HOME") + "/.cache" : env("XDG_CACHE_HOME")) + "/warren-cluster";
    for (const char* name : {"/bin/etcd", "/bin/kube-apiserver"}) {
        if (::access((cache + name).c_str(), X_OK) == 0) continue;
        std::fprintf(stderr, "skipped: no %s%s; build the cluster's programs first\n", cache.c_str(), name);
        std::fflush(nullptr);
        std::_Exit(77);
    }
    return cache + "/bin";
}

// One that nobody has now; the server that gets it binds it in a moment.
uint16_t free_port() {
    const base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

std::string text_of(const std::string& path) {
    auto text = kube::read_small_file(path);
    REQUIRE(text);
    return *text;
}

constexpr std::string_view kKeys = R"(set -e; cd "$0"; exec > openssl.log 2>&1
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
crt() { key "$1"; printf 'subjectAltName=%s\n' "$3" > "$1.ext"; openssl req -new -key "$1.key" -subj "$2" |
  openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt"; }
key ca; openssl req -x509 -new -key ca.key -subj /CN=ca -days 2 -out ca.crt -addext keyUsage=critical,keyCertSign
crt server /CN=kube-apiserver DNS:kubernetes,IP:127.0.0.1
crt admin /O=system:masters/CN=admin DNS:admin
openssl genrsa -out sa.key 2048; openssl rsa -in sa.key -pubout -out sa.pub)";

}  // namespace

ApiServer::ApiServer() : bin_(programs()) {
    char name[] = "/tmp/warren-api-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    folder_.path = name;
    make_keys();
    etcd_port_ = free_port();
    peer_port_ = free_port();
    api_port_ = free_port();
    const std::string client = "http://127.0.0.1:" + std::to_string(etcd_port_), peer = "http://127.0.0.1:" + std::to_string(peer_port_);
    etcd_.pid = spawn("etcd", {"--data-dir", folder_.path + "/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
                               "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
                               "--unsafe-no-fsync"});
    kube::KubeConfig etcd_config;
    etcd_config.server = client;
    etcd_client_ = std::make_unique<kube::Client>(*kube::Endpoint::create(etcd_config));
    admin_ = std::make_unique<kube::Client>(endpoint(), kube::Limits{.total = 30s});
    start_api();
}

ApiServer::Folder::~Folder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
}

void ApiServer::make_keys() const {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::execl("/bin/bash", "bash", "-c", std::string(kKeys).c_str(), folder_.path.c_str(), nullptr);
        ::_exit(127);
    }
    int status = -1;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(status == 0);
}

pid_t ApiServer::spawn(const std::string& name, const std::vector<std::string>& args) const {
    const std::string path = bin_ + '/' + name, out = folder_.path + '/' + name + ".log";
    std::vector<char*> argv = {const_cast<char*>(path.c_str())};
    for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    const pid_t parent = ::getpid(), pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(0);  // it was faster
        const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        ::dup2(fd, 1);
        ::dup2(fd, 2);
        ::execv(path.c_str(), argv.data());
        ::_exit(127);
    }
    return pid;
}

void ApiServer::Process::end() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    pid = -1;
}

void ApiServer::stop_api() { api_.end(); }

void ApiServer::start_api() {
    const auto file = [this](const char* name) { return "=" + folder_.path + '/' + name; };
    api_.pid = spawn("kube-apiserver",
                     {"--etcd-servers=http://127.0.0.1:" + std::to_string(etcd_port_), "--bind-address=127.0.0.1",
                      "--advertise-address=127.0.0.1", "--secure-port=" + std::to_string(api_port_), "--client-ca-file" + file("ca.crt"),
                      "--tls-cert-file" + file("server.crt"), "--tls-private-key-file" + file("server.key"), "--authorization-mode=RBAC",
                      "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                      "--service-account-key-file" + file("sa.pub"), "--service-account-signing-key-file" + file("sa.key"),
                      "--service-cluster-ip-range=10.96.0.0/16", "--disable-admission-plugins=ServiceAccount",
                      "--endpoint-reconciler-type=none", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"});
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    for (;;) {
        if (const auto ready = admin_->get("/readyz"); ready && *ready == "ok") return;
        if (std::chrono::steady_clock::now() > deadline) {
            std::ifstream log(folder_.path + "/kube-apiserver.log");
            for (std::string line; std::getline(log, line);) UNSCOPED_INFO(line);
            FAIL("the API server is not ready");
        }
        std::this_thread::sleep_for(50ms);
    }
}

void ApiServer::compact() {
    const auto version = admin_->get("/api/v1/namespaces?limit=1");
    REQUIRE(version);
    const std::string revision = json::parse(*version)["metadata"]["resourceVersion"];
    const auto done = etcd_client_->call({kube::Method::Post, "/v3/kv/compaction", R"({"physical":true,"revision":")" + revision + "\"}"});
    if (!done) FAIL(done.error().message());
}

kube::KubeConfig ApiServer::config(uint16_t port) const {
    kube::KubeConfig out;
    out.server = "https://127.0.0.1:" + std::to_string(port == 0 ? api_port_ : port);
    out.roots.text = text_of(folder_.path + "/ca.crt");
    out.certificate.text = text_of(folder_.path + "/admin.crt");
    out.key.file = folder_.path + "/admin.key";
    return out;
}

std::shared_ptr<kube::Endpoint> ApiServer::endpoint(uint16_t port) const {
    auto out = kube::Endpoint::create(config(port));
    REQUIRE(out);
    return *out;
}

void ApiServer::apply(std::string_view yaml) {
    for (json& object : objects_of(yaml)) {
        const std::string ns = object["metadata"].value("namespace", "");
        const auto post = [&](const std::string& path, const json& body) {
            const auto reply = admin_->exchange({kube::Method::Post, path, body.dump()});
            REQUIRE(reply);
            if (!reply->ok() && reply->status != 409) FAIL(path << ": " << reply->body);
        };
        if (!ns.empty()) post("/api/v1/namespaces", {{"metadata", {{"name", ns}}}});
        const kube::Resource resource = resource_of(object);
        const std::string path = kube::object_path(resource, ns, object["metadata"]["name"].get<std::string>());
        json status = object.value("status", json());
        object.erase("status");
        const auto there = admin_->exchange({.path = path});
        REQUIRE(there);
        if (there->status == 404) {
            post(kube::collection_path(resource, resource.versions.front(), ns), object);
        } else {
            const auto merged = admin_->merge(path, object.dump());
            if (!merged) FAIL(merged.error().message());
        }
        if (status.is_null()) continue;
        const auto merged = admin_->merge(path + "/status", json{{"status", status}}.dump());
        if (!merged) FAIL(merged.error().message());
    }
}

void ApiServer::remove(std::string_view yaml) {
    for (const json& object : objects_of(yaml)) {
        if (object["kind"] == "Namespace") continue;  // needs a controller
        const kube::Resource resource = resource_of(object);
        const std::string path =
            kube::object_path(resource, object["metadata"].value("namespace", ""), object["metadata"]["name"].get<std::string>());
        const auto gone = admin_->call({kube::Method::Delete, path, R"({"gracePeriodSeconds":0})"});
        if (!gone && gone.error().code != base::Errc::NotFound) FAIL(gone.error().message());
    }
}

namespace {

// Who owns a field of a status depends on what its lists are: as the Gateway API has them, with the conditions that a new Gateway gets.
json gateway_schema() {
    const json text = {{"type", "string"}};
    const json any = {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
    const auto keyed = [](const char* key, json properties) {
        return json{{"type", "array"},
                    {"x-kubernetes-list-type", "map"},
                    {"x-kubernetes-list-map-keys", json::array({key})},
                    {"items", {{"type", "object"}, {"required", json::array({key})}, {"properties", std::move(properties)}}}};
    };
    const json conditions = keyed("type", {{"type", text},
                                           {"status", text},
                                           {"reason", text},
                                           {"message", text},
                                           {"lastTransitionTime", {{"type", "string"}, {"format", "date-time"}}},
                                           {"observedGeneration", {{"type", "integer"}}}});
    const json listeners = keyed("name", {{"name", text},
                                          {"attachedRoutes", {{"type", "integer"}}},
                                          {"supportedKinds", {{"type", "array"}, {"items", any}}},
                                          {"conditions", conditions}});
    json first = json::array();
    for (const char* type : {"Accepted", "Programmed"})
        first.push_back({{"type", type},
                         {"status", "Unknown"},
                         {"reason", "Pending"},
                         {"message", "nobody yet"},
                         {"lastTransitionTime", "1970-01-01T00:00:00Z"}});
    const json status = {
        {"type", "object"},
        {"default", {{"conditions", first}}},
        {"properties", {{"conditions", conditions}, {"listeners", listeners}, {"addresses", {{"type", "array"}, {"items", any}}}}}};
    return {{"openAPIV3Schema", {{"type", "object"}, {"properties", {{"spec", any}, {"status", status}}}}}};
}

}  // namespace

void ApiServer::install_definitions() {
    for (const kube::Resource& resource : custom_kinds()) {
        json schema = {{"openAPIV3Schema", {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}}};
        if (resource.kind == "Gateway") schema = gateway_schema();
        json version = {{"name", "v1"}, {"served", true}, {"storage", true}, {"schema", schema}};
        version["subresources"]["status"] = json::object();
        const json definition = {{"apiVersion", "apiextensions.k8s.io/v1"},
                                 {"kind", "CustomResourceDefinition"},
                                 {"metadata",
                                  {{"name", resource.plural + '.' + resource.group},
                                   {"annotations", {{"api-approved.kubernetes.io", "unapproved, for tests"}}}}},
                                 {"spec",
                                  {{"group", resource.group},
                                   {"scope", resource.namespaced ? "Namespaced" : "Cluster"},
                                   {"names", {{"plural", resource.plural}, {"kind", resource.kind}, {"listKind", resource.kind + "List"}}},
                                   {"versions", json::array({version})}}}};
        const auto made = admin_->call({kube::Method::Post, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition.dump()});
        if (!made) FAIL(made.error().message());
    }
    for (const kube::Resource& resource : custom_kinds()) {
        const auto deadline = std::chrono::steady_clock::now() + 30s;
        while (!admin_->get(kube::collection_path(resource, "v1", ""))) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            std::this_thread::sleep_for(20ms);
        }
    }
}

}  // namespace warren::tests
