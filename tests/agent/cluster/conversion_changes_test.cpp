// SPDX-License-Identifier: Apache-2.0
// Conversion followed change by change gives what a conversion from nothing gives, byte for byte: over the recorded sets of objects, and
// over thousands of random changes of every kind.
#include "agent/cluster/conversion.h"

#include "agent/cluster/keys.h"
#include "agent/cluster/object_store.h"
#include "agent/cluster/read_objects.h"
#include "tests/catch.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <tuple>

using namespace warren;
using namespace warren::cluster;

namespace {

namespace fs = std::filesystem;

std::string bytes_of(const google::protobuf::MessageLite& message) {
    std::string out;
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
    coded.Trim();
    return out;
}

using Bytes = std::map<std::string, std::string>;  // "w" workload, "s" service, "a" authorization and its name -> bytes

class Mirror final : public OutputSink {
  public:
    Bytes held;
    size_t calls = 0;

    void begin_whole() override { held.clear(); }
    void end_whole() override {}
    void set_workload(const std::string& uid, Workload& workload) override { set('w' + uid, workload); }
    void set_service(const std::string& key, istio::workload::Service& service) override { set('s' + key, service); }
    void set_authorization(const std::string& key, const istio::security::Authorization& policy) override { set('a' + key, policy); }
    void remove_workload(const std::string& uid) override { held.erase('w' + uid); }
    void remove_service(const std::string& key) override { held.erase('s' + key); }
    void remove_authorization(const std::string& key) override { held.erase('a' + key); }

  private:
    void set(const std::string& name, const google::protobuf::MessageLite& message) {
        ++calls;
        held.insert_or_assign(name, bytes_of(message));
    }
};

Bytes from_nothing(const Objects& objects, const Settings& settings, Diagnostics& problems) {
    const Outputs outputs = convert(objects, settings, problems);
    Bytes out;
    for (const auto& [name, message] : outputs.workloads) out.emplace('w' + name, bytes_of(message));
    for (const auto& [name, message] : outputs.services) out.emplace('s' + name, bytes_of(message));
    for (const auto& [name, message] : outputs.authorizations) out.emplace('a' + name, bytes_of(message));
    return out;
}

// A store, what follows it, and the comparison.
struct World {
    explicit World(const Settings& s) : settings(s), conversion(s) {}

    void set(ObjectKind kind, Objects fragment, const ObjectMeta& meta) {
        const std::string key = meta.key();
        REQUIRE(store.upsert(kind, fragment));
        pending.insert_or_assign({kind, key}, false);
    }
    void remove(ObjectKind kind, const std::string& key) {
        if (store.remove(kind, key)) pending.insert_or_assign({kind, key}, true);
    }
    // The last store of one update: what the source would deliver.
    void update() {
        std::vector<Change> changes;
        for (const auto& [what, removed] : pending)
            changes.push_back({what.first, what.second, removed, removed ? 0 : store.position(what.first, what.second)});
        pending.clear();
        mirror.calls = 0;
        conversion.update(store.objects(), changes, mirror);
        follow(conversion, told);
    }
    // By object: what is told, in no order, and of which one of that name.
    using Told = std::map<std::pair<ObjectKind, std::string>, std::set<std::tuple<std::string, int64_t, ConditionType, std::string>>>;
    static void follow(Conversion& from, Told& to) {
        for (const StatusChange& change : from.take_status_changes()) {
            const std::pair of{change.kind, change.key};
            to.erase(of);
            if (change.removed) REQUIRE(change.told.empty());
            std::string details;
            for (const GatewayAddress& address : change.gateway.addresses) details += ' ' + address.value;
            for (const auto& listener : change.gateway.listeners) details += ' ' + listener.name + listener.told.front().reason;
            for (const auto& told : change.told) {
                REQUIRE((change.gone & set_of(told.type)) == 0);
                to[of].emplace(change.uid, change.generation, told.type,
                               (told.status ? "True " : "False ") + told.reason + told.message + details);
            }
        }
    }
    // The first difference, or nothing.
    std::string difference() const {
        Diagnostics now, fresh;
        conversion.report(now);
        const Bytes want = from_nothing(store.objects(), settings, fresh);
        for (const auto& [name, bytes] : want) {
            const auto held = mirror.held.find(name);
            if (held == mirror.held.end()) return name + " is missing";
            if (held->second != bytes) return name + " is not the same";
        }
        for (const auto& [name, bytes] : mirror.held)
            if (!want.contains(name)) return name + " is still there";
        Conversion anew(settings);
        Mirror nobody;
        Told wanted;
        anew.update(store.objects(), {}, nobody);
        follow(anew, wanted);
        if (told != wanted) return "what authors are told differs";
        if (now.errors() != fresh.errors() || now.warnings() != fresh.warnings()) return "the problems differ";
        return "";
    }

    const Settings settings;
    ObjectStore store;
    Conversion conversion;
    Mirror mirror;
    Told told;
    std::map<std::pair<ObjectKind, std::string>, bool> pending;
};

// Objects out of small pools of names and labels, so that most changes concern others.
class Maker {
  public:
    explicit Maker(uint32_t seed) : random_(seed) {}

    size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
    bool chance(unsigned percent) { return below(100) < percent; }

    void change(World& world) {
        const auto kind = static_cast<ObjectKind>(pick_kind());
        ObjectMeta meta = meta_of(kind);
        if (chance(25)) return world.remove(kind, meta.key());
        Objects one;
        fill(kind, meta, one);
        world.set(kind, std::move(one), meta);
    }

  private:
    template <class T>
    const T& of(const std::vector<T>& pool) {
        return pool[below(pool.size())];
    }
    std::string number(const char* stem, size_t n) { return stem + std::to_string(below(n)); }

    size_t pick_kind() {
        // Pods most, as in life; every kind often enough.
        return chance(40) ? 0 : below(kObjectKinds);
    }

    ObjectMeta meta_of(ObjectKind kind) {
        static const std::vector<std::string> kNamespaces = {"a", "b", "c", "istio-system"};
        static const std::vector<std::string> kStems = {"p", "n", "", "s", "l", "we", "se", "wp", "class", "ap", "pa"};
        static const std::vector<size_t> kCounts = {30, 4, 0, 8, 8, 6, 6, 3, 2, 10, 8};
        ObjectMeta out;
        const auto index = static_cast<size_t>(kind);
        const bool no_namespace = kind == ObjectKind::Node || kind == ObjectKind::Namespace || kind == ObjectKind::GatewayClass;
        if (!no_namespace) out.ns = of(kNamespaces);
        out.name = kind == ObjectKind::Namespace ? of(kNamespaces) : number(kStems[index].c_str(), kCounts[index]);
        if (kind == ObjectKind::GatewayClass && chance(40)) out.name = "istio-waypoint";
        // One hostname, whichever object: Service and ServiceEntry meet.
        out.created_ns = static_cast<int64_t>(below(3));
        out.uid = "u" + out.name;
        out.generation = static_cast<int64_t>(below(3));
        out.held.types = static_cast<ConditionSet>(below(16));
        out.where = "t:" + std::to_string(index);
        out.labels = labels(kind);
        if (chance(20)) out.annotations["networking.istio.io/traffic-distribution"] = chance(50) ? "PreferClose" : "PreferSameNode";
        if (chance(30)) out.annotations["ambient.istio.io/redirection"] = "enabled";
        if (kind == ObjectKind::AuthorizationPolicy && chance(15)) out.annotations["istio.io/dry-run"] = chance(80) ? "true" : "what";
        if (kind == ObjectKind::AuthorizationPolicy && chance(10)) out.name = "converted_peer_authentication_pa1";
        return out;
    }

    LabelMap labels(ObjectKind kind) {
        LabelMap out;
        if (chance(80)) out["app"] = number("app", 3);
        if (chance(40)) out["tier"] = number("t", 2);
        if (chance(20)) out["istio.io/use-waypoint"] = chance(15) ? "none" : number("wp", 3);
        if (chance(5)) out["istio.io/use-waypoint-namespace"] = "b";
        if (chance(10)) out["istio.io/use-waypoint-canary"] = number("wp", 3);
        if (chance(8)) out["istio.io/ingress-use-waypoint"] = "true";
        if (chance(6)) out["gateway.networking.k8s.io/gateway-name"] = number("wp", 3);
        if (chance(6)) out["istio.io/rev"] = chance(50) ? "default" : "other";
        if (kind == ObjectKind::Node) out["topology.kubernetes.io/zone"] = number("z", 3);
        if (kind == ObjectKind::Namespace) out["team"] = number("x", 2);
        if (kind == ObjectKind::Gateway && chance(30)) out["topology.istio.io/network"] = number("net", 2);
        if (kind == ObjectKind::Namespace && chance(10)) out["topology.istio.io/network"] = number("net", 2);
        if ((kind == ObjectKind::Gateway || kind == ObjectKind::GatewayClass) && chance(60))
            out["istio.io/waypoint-for"] = of<std::string>({"service", "workload", "all", "none"});
        if (kind == ObjectKind::EndpointSlice && chance(90)) out["kubernetes.io/service-name"] = number("s", 8);
        return out;
    }

    base::IpAddr ip() { return *base::IpAddr::parse("10.0.0." + std::to_string(1 + below(20))); }

    LabelMap selector() {
        LabelMap out;
        if (chance(85)) out["app"] = number("app", 3);
        if (chance(25)) out["tier"] = number("t", 2);
        return out;
    }
    std::optional<LabelMap> policy_selector() { return chance(60) ? std::optional(selector()) : std::nullopt; }

    void fill(ObjectKind kind, const ObjectMeta& meta, Objects& to) {
        switch (kind) {
            case ObjectKind::Pod: return to.pods.push_back(pod(meta));
            case ObjectKind::Node: return to.nodes.push_back({meta});
            case ObjectKind::Namespace: return to.namespaces.push_back({meta});
            case ObjectKind::Service: return to.services.push_back(service(meta));
            case ObjectKind::EndpointSlice: return to.slices.push_back(slice(meta));
            case ObjectKind::WorkloadEntry: return to.workload_entries.push_back({meta, entry()});
            case ObjectKind::ServiceEntry: return to.service_entries.push_back(service_entry(meta));
            case ObjectKind::Gateway: return to.gateways.push_back(gateway(meta));
            case ObjectKind::GatewayClass: return to.gateway_classes.push_back({meta});
            case ObjectKind::AuthorizationPolicy: return to.authorization_policies.push_back(authorization(meta));
            case ObjectKind::PeerAuthentication: break;
        }
        PeerAuthentication out{meta, policy_selector(), static_cast<MtlsMode>(below(4)), {}};
        while (chance(40)) out.ports[static_cast<uint16_t>(8080 + below(2))] = static_cast<MtlsMode>(1 + below(3));
        to.peer_authentications.push_back(out);
    }

    Pod pod(const ObjectMeta& meta) {
        Pod out;
        out.meta = meta;
        out.service_account = number("sa", 2);
        out.node = number("n", 4);
        out.phase = chance(90) ? "Running" : "Succeeded";
        out.ready = chance(80);
        out.host_network = chance(5);
        if (chance(95)) out.ips.push_back(ip());
        out.tcp_ports = {{"http", static_cast<uint16_t>(8080 + below(2))}};
        return out;
    }

    KubeService service(const ObjectMeta& meta) {
        KubeService out;
        out.meta = meta;
        out.external_name = chance(5);
        out.publish_not_ready = chance(10);
        out.internal_local = chance(10);
        if (chance(75)) out.selector = selector();
        out.cluster_ips = {ip()};
        out.ip_families = {"IPv4"};
        out.ports.push_back({"http", false, 80, 0, "http", {}});
        if (chance(40)) out.ports.push_back({"metrics", false, 9090, static_cast<uint16_t>(9090 + below(2)), "", {}});
        return out;
    }

    EndpointSlice slice(const ObjectMeta& meta) {
        EndpointSlice out;
        out.meta = meta;
        out.fqdn = chance(5);
        out.tcp_ports = {{"http", 8080}};
        for (size_t i = below(4); i > 0; --i) {
            SliceEndpoint endpoint;
            endpoint.ips = {ip()};
            endpoint.first = endpoint.ips.front().to_string();
            endpoint.ready = chance(80);
            endpoint.is_pod = chance(60);
            endpoint.pod_ns = chance(90) ? meta.ns : "b";
            endpoint.pod_name = number("p", 30);
            endpoint.pod_uid = chance(90) ? "u" + endpoint.pod_name : "";
            out.endpoints.push_back(endpoint);
        }
        return out;
    }

    EntrySpec entry() {
        EntrySpec out;
        out.address = chance(80) ? ip().to_string() : "vm" + std::to_string(below(3)) + ".example.com";
        if (chance(40)) out.ports["http"] = static_cast<uint16_t>(8000 + below(3));
        if (chance(60)) out.labels = labels(ObjectKind::WorkloadEntry);
        if (chance(15)) out.network = number("net", 2);
        if (chance(30)) out.locality = "r/z" + std::to_string(below(2));
        out.weight = static_cast<uint32_t>(below(3));
        out.service_account = number("sa", 2);
        return out;
    }

    ServiceEntry service_entry(const ObjectMeta& meta) {
        ServiceEntry out;
        out.meta = meta;
        for (size_t i = 1 + below(3); i > 0; --i)
            out.hosts.push_back(chance(30) ? number("s", 8) + "." + of<std::string>({"a", "b", "c"}) + ".svc.cluster.local"
                                           : number("host", 4) + ".example.com");
        if (chance(15)) out.hosts.push_back("*.example.com");
        if (chance(15)) out.meta.annotations["istio.io/connect-strategy"] = "RACE_FIRST_TCP_CONNECT";
        if (chance(40)) out.addresses.push_back({ip(), {}});
        out.ports.push_back({"http", "HTTP", 80, static_cast<uint16_t>(chance(50) ? 8080 : 0)});
        out.resolution = static_cast<Resolution>(below(5));
        for (size_t i = below(3); i > 0; --i) out.endpoints.push_back(entry());
        out.has_workload_selector = out.endpoints.empty() && chance(50);
        if (out.has_workload_selector) out.workload_selector = selector();
        return out;
    }

    Gateway gateway(const ObjectMeta& meta) {
        Gateway out;
        out.meta = meta;
        out.class_name = chance(70) ? number("class", 2) : "istio-remote";
        Listener listener;
        listener.name = "mesh";
        listener.protocol = chance(90) ? "HBONE" : "HTTP";
        listener.port = 15008;
        listener.from = static_cast<Listener::From>(below(3));
        listener.selector.match_labels["team"] = number("x", 2);
        out.listeners.push_back(listener);
        out.spec_addresses = {{false, ip().to_string()}};
        out.status_addresses = {{chance(30), chance(50) ? "wp.example.com" : ip().to_string()}};
        out.programmed = chance(80);
        return out;
    }

    PolicyTarget target() {
        static const std::string kGroup = "gateway.networking.k8s.io";
        switch (below(4)) {
            case 0: return {kGroup, "Gateway", chance(10) ? "b" : "", number("wp", 3)};
            case 1: return {kGroup, "GatewayClass", "", chance(70) ? "istio-waypoint" : number("class", 2)};
            case 2: return {"", "Service", "", number("s", 8)};
            default: return {"networking.istio.io", "ServiceEntry", "", number("se", 6)};
        }
    }

    AuthorizationPolicy authorization(const ObjectMeta& meta) {
        AuthorizationPolicy out;
        out.meta = meta;
        out.selector = policy_selector();
        while (chance(20)) out.targets.push_back(target());
        out.has_target = !out.targets.empty();
        out.action = static_cast<AuthorizationAction>(below(chance(10) ? 4 : 2));
        RuleSpec rule;
        MatchSpec match;
        match.ports.is.good = {static_cast<uint16_t>(8000 + below(4))};
        match.ports.is.given = true;
        if (chance(20)) match.http = {"methods"};
        rule.to.push_back(match);
        out.rules.push_back(rule);
        return out;
    }

    std::mt19937 random_;
};

void wander(uint32_t seed, const Settings& settings, size_t steps) {
    Maker maker(seed);
    World world(settings);
    for (size_t i = 0; i < 150; ++i) maker.change(world);
    world.pending.clear();
    world.update();
    for (size_t step = 0; step < steps; ++step) {
        for (size_t n = 1 + maker.below(3); n > 0; --n) maker.change(world);
        if (world.pending.empty()) continue;
        world.update();
        if (const std::string found = world.difference(); !found.empty()) {
            INFO("seed " << seed << ", step " << step);
            FAIL(found);
        }
    }
    CHECK(world.conversion.from_nothing() < steps / 2);
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("conversion: thousands of random changes give what a conversion from nothing gives") {
    wander(1, {}, 2'000);
    Settings discovery;
    discovery.discovery = {{{{"team", "x1"}}, {}}};
    wander(2, discovery, 800);
    Settings own;
    own.service_entries = Settings::Visibility::Namespace;
    own.dry_run_policies = true;
    own.network = "here";
    wander(3, own, 1'500);
}

TEST_CASE("conversion: every recorded set of objects, one object after the other, in any order") {
    const fs::path folder = fs::path(WARREN_SOURCE_DIR) / "tests/golden/conversion";
    std::mt19937 random(7);
    for (const auto& file : fs::directory_iterator(folder)) {
        const std::string name = file.path().filename();
        if (!name.ends_with(".in.yaml")) continue;
        INFO(name);
        ObjectReader reader;
        reader.add(read_file(folder / "_nodes.yaml"), "_nodes.yaml");
        reader.add(read_file(file.path()), name);
        std::vector<std::function<void(World&)>> steps;
        each_kind([&](ObjectKind kind, auto list) {
            for (const auto& object : reader.objects().*list) {
                steps.push_back([kind, list, object](World& world) {
                    Objects one;
                    (one.*list).push_back(object);
                    world.set(kind, std::move(one), object.meta);
                });
            }
        });
        std::shuffle(steps.begin(), steps.end(), random);
        World world({});
        for (const auto& step : steps) {
            step(world);
            world.update();
            CHECK(world.difference() == "");
        }
        Diagnostics ignored;
        CHECK(world.mirror.held == from_nothing(reader.objects(), world.settings, ignored));
        each_kind([&](ObjectKind kind, auto list) {
            for (const auto& object : reader.objects().*list) {
                world.remove(kind, object.meta.key());
                world.update();
                CHECK(world.difference() == "");
            }
        });
        CHECK(world.mirror.held.empty());
    }
}

TEST_CASE("conversion: a change costs what depends on it, not the mesh") {
    World world({});
    const auto pod = [](size_t i, const char* app) {
        Pod out;
        out.meta.ns = "a";
        out.meta.name = "p" + std::to_string(i);
        out.meta.labels["app"] = app;
        out.node = "n1";
        out.phase = "Running";
        out.ips = {*base::IpAddr::parse("10.0.0.1")};
        return out;
    };
    const auto set = [&](ObjectKind kind, auto list, const auto& object) {
        Objects one;
        (one.*list).push_back(object);
        world.set(kind, std::move(one), object.meta);
    };
    for (size_t i = 0; i < 500; ++i) set(ObjectKind::Pod, &Objects::pods, pod(i, i < 3 ? "few" : "many"));
    world.pending.clear();
    world.update();
    CHECK(world.mirror.calls == 500);

    set(ObjectKind::Pod, &Objects::pods, pod(100, "other"));
    world.update();
    CHECK(world.mirror.calls == 1);

    KubeService service;
    service.meta.ns = "a";
    service.meta.name = "few";
    service.selector["app"] = "few";
    service.ports.push_back({"http", false, 80, 8080, "", {}});
    set(ObjectKind::Service, &Objects::services, service);
    world.update();
    CHECK(world.mirror.calls == 4);  // the service, and the three that it selects
    service.internal_local = true;
    set(ObjectKind::Service, &Objects::services, service);
    world.update();
    CHECK(world.mirror.calls == 1);  // nothing that its members are told
    CHECK(world.conversion.from_nothing() == 1);
    CHECK(world.difference() == "");
}
