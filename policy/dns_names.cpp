// SPDX-License-Identifier: Apache-2.0
#include "policy/dns_names.h"

#include <algorithm>

namespace warren::policy {

namespace {

constexpr size_t kMaxName = 253;  // RFC 1035 2.3.4; bounds the wildcards tried for one question

std::string normal(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::string out(name);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string join(std::string_view name, std::string_view domain) { return std::string(name).append(".").append(domain); }

// "a.b" of "a.b.domain"; empty when the name is not properly inside the domain.
std::string_view strip(std::string_view name, std::string_view domain) {
    if (domain.empty() || name.size() <= domain.size() + 1 || !name.ends_with(domain)) return {};
    const size_t dot = name.size() - domain.size() - 1;
    return name[dot] == '.' ? name.substr(0, dot) : std::string_view();
}

std::vector<std::string> search_list(std::string_view ns, const NameSettings& settings) {
    if (!settings.search_domains.empty()) {
        std::vector<std::string> list;
        for (const std::string& domain : settings.search_domains) list.push_back(normal(domain));
        return list;
    }
    const std::string svc = join("svc", settings.cluster_domain);
    return {join(ns, svc), svc, settings.cluster_domain};
}

// Contract 8.7 step 5: client namespace, canonical (the last), preferred namespace, first.
const ServiceEntry* select(const std::vector<const ServiceEntry*>& entries, const Text& ns, const NameSettings& settings) {
    const std::string svc = join(".svc", settings.cluster_domain);
    const ServiceEntry* canonical = nullptr;
    const ServiceEntry* preferred = nullptr;
    const ServiceEntry* first = nullptr;
    for (const ServiceEntry* entry : entries) {
        const Service& service = *entry->service;
        if (service.vips.empty() && !service.hostname.view().ends_with(svc)) continue;
        if (!service.visible_to(&ns)) continue;
        if (service.ns == ns) return entry;
        if (service.canonical) canonical = entry;
        if (preferred == nullptr && !settings.preferred_namespace.empty() && service.ns == settings.preferred_namespace) preferred = entry;
        if (first == nullptr) first = entry;
    }
    if (canonical != nullptr) return canonical;
    return preferred != nullptr ? preferred : first;
}

bool is_type(base::IpAddr ip, AddressType type) { return ip.is_v4() == (type == AddressType::V4); }

bool has_type(const Service& service, AddressType type, const NameSettings& settings) {
    if (type == AddressType::V6) return settings.ipv6 && service.ip_families != IpFamilies::V4Only;
    return service.ip_families != IpFamilies::V6Only;
}

std::vector<base::IpAddr> addresses_of(const ServiceEntry& entry, const Workload& client, AddressType type) {
    std::vector<base::IpAddr> list;
    const Service& service = *entry.service;
    for (const NetworkAddress& vip : service.vips)
        if (is_type(vip.ip, type) && vip.network == client.network) list.push_back(vip.ip);
    if (!service.vips.empty()) return list;
    entry.endpoints.for_each([&](const Text&, const Endpoint& endpoint) {
        const Workload& workload = *endpoint.workload;
        if (workload.status != Health::Healthy && !service.allows_unhealthy()) return;
        const auto ip =
            std::find_if(workload.addresses.begin(), workload.addresses.end(), [&](base::IpAddr a) { return is_type(a, type); });
        if (ip != workload.addresses.end()) list.push_back(*ip);
    });
    return list;
}

void shuffle(std::vector<base::IpAddr>& list, Random& random) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
}

struct NameMatch {
    const ServiceEntry* entry = nullptr;
    bool wildcard = false;
    std::string stripped;
};

NameMatch find_match(const Snapshot& snapshot, const std::string& name, const Text& ns, const NameSettings& settings) {
    for (NameCandidate& candidate : name_candidates(name, ns, settings)) {
        for (const std::string& host : with_wildcards(candidate.name))
            if (const ServiceEntry* entry = select(snapshot.services_by_hostname(host), ns, settings))
                return {entry, host.starts_with("*."), std::move(candidate.stripped)};
    }
    return {};
}

}  // namespace

std::vector<std::string> kube_expansions(std::string_view name, std::string_view ns, std::string_view cluster_domain) {
    if (name.empty()) return {};
    const std::string svc = join("svc", cluster_domain);
    switch (std::count(name.begin(), name.end(), '.') + 1) {
        case 1: return {join(join(name, ns), svc)};
        case 2: return {join(name, svc), join(join(name, ns), svc)};
        case 3:
            if (name.ends_with(".svc")) return {join(name, cluster_domain), join(name, svc)};
            return {join(name, svc)};
        case 4:
            if (name.ends_with(".svc")) return {join(name, cluster_domain)};
            return {};
        default: return {};
    }
}

std::vector<std::string> with_wildcards(std::string_view name) {
    std::vector<std::string> list{std::string(name)};
    for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
        list.push_back("*" + std::string(name.substr(dot)));
    return list;
}

std::vector<NameCandidate> name_candidates(std::string_view name, std::string_view ns, const NameSettings& settings) {
    std::vector<NameCandidate> list;
    auto add = [&](std::string candidate, std::string_view stripped) {
        for (const NameCandidate& c : list)
            if (c.name == candidate) return;
        list.push_back({std::move(candidate), std::string(stripped)});
    };
    auto add_all = [&](std::string_view base, std::string_view stripped) {
        add(std::string(base), stripped);
        for (std::string& expansion : kube_expansions(base, ns, settings.cluster_domain)) add(std::move(expansion), stripped);
    };
    add_all(name, {});
    for (const std::string& domain : search_list(ns, settings))
        if (const std::string_view rest = strip(name, domain); !rest.empty()) add_all(rest, rest);
    return list;
}

NameAnswer resolve_name(const Snapshot& snapshot, const NameQuestion& question, const NameSettings& settings, Random& random) {
    NameAnswer answer;
    const std::string name = normal(question.name);
    if (name.empty() || name.size() > kMaxName || question.client == nullptr) return answer;
    const NameMatch match = find_match(snapshot, name, question.client->ns, settings);
    if (match.entry == nullptr) return answer;
    answer.kind = NameAnswer::Kind::NoData;
    answer.service = match.entry->service;
    if (!has_type(*answer.service, question.type, settings)) return answer;
    answer.addresses = addresses_of(*match.entry, *question.client, question.type);
    if (answer.addresses.empty()) return answer;
    shuffle(answer.addresses, random);
    answer.kind = NameAnswer::Kind::Addresses;
    if (!match.wildcard) answer.cname = match.stripped;
    return answer;
}

}  // namespace warren::policy
