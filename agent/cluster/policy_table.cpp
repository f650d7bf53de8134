// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/policy_table.h"

#include "agent/cluster/convert_authorization.h"

#include <algorithm>
#include <utility>

namespace warren::cluster {

namespace {

std::string namespace_of(const std::string& key) { return key.substr(0, key.find('/')); }

}  // namespace

void PolicyTable::clear() {
    policies_.clear();
    selecting_.clear();
    peers_.clear();
    mesh_modes_ = {};
    dirty_peers_.clear();
    next_ = {};
}

void PolicyTable::touch(const std::string& ns, const LabelMap& selector) {
    if (ns == settings_.root_namespace)
        next_.impact.anywhere.add("", selector, true);
    else
        next_.impact.selectors.add(ns, selector, true);
}

bool PolicyTable::put(const std::string& key, const AuthorizationPolicy* policy, Diagnostics& problems) {
    const std::string ns = namespace_of(key);
    std::optional<Converted> now;
    if (policy != nullptr) {
        if (auto sent = convert_authorization(*policy, settings_, problems)) {
            now.emplace(Converted{std::move(*sent), std::nullopt});
            if (now->sent.scope() == istio::security::WORKLOAD_SELECTOR) now->selector = policy->selector;
        }
    }
    const auto held = policies_.find(key);
    const std::optional<LabelMap> before = held == policies_.end() ? std::nullopt : held->second.selector;
    const std::optional<LabelMap> after = now ? now->selector : std::nullopt;
    if (before != after) {
        if (before) selecting_.remove(ns, *before, key), touch(ns, *before);
        if (after) selecting_.add(ns, *after, key), touch(ns, *after);
    }
    if (now || held != policies_.end()) next_.changed.insert(key);
    const bool enforced = now.has_value();
    if (now)
        policies_.insert_or_assign(key, std::move(*now));
    else if (held != policies_.end())
        policies_.erase(held);
    return enforced;
}

void PolicyTable::put_peer(const std::string& key, const PeerAuthentication* object) {
    const std::string ns = namespace_of(key);
    auto& objects = peers_[ns].objects;
    const auto held = objects.find(key);
    const auto touch_those_of = [&](const PeerAuthentication& of) {
        if (ns == settings_.root_namespace)
            next_.impact.all = true;
        else if (of.selector && !of.selector->empty())
            touch(ns, *of.selector);
        else
            next_.impact.namespaces.insert(ns);
    };
    if (held != objects.end()) touch_those_of(held->second);
    if (object != nullptr) {
        touch_those_of(*object);
        objects.insert_or_assign(key, *object);
    } else if (held != objects.end()) {
        objects.erase(held);
    }
    dirty_peers_.insert(ns);
}

void PolicyTable::settle_namespace(const std::string& ns) {
    Namespace& of = peers_[ns];
    std::vector<const PeerAuthentication*> count;
    count.reserve(of.objects.size());
    for (const auto& [key, object] : of.objects) count.push_back(&object);
    if (ns != settings_.root_namespace)
        if (const auto root = peers_.find(settings_.root_namespace); root != peers_.end())
            for (const auto& [key, object] : root->second.objects) count.push_back(&object);
    of.modes = peer_modes(count, ns, settings_);
    for (const auto& [name, converted] : std::exchange(of.converted, {})) next_.changed.insert(name);
    if (ns == settings_.root_namespace) return;
    for (const auto& [key, object] : of.objects) {
        auto converted = convert_peer_authentication(object, of.modes);
        if (!converted) continue;
        std::string name = converted->namespace_() + '/' + converted->name();
        next_.changed.insert(name);
        of.converted.emplace(std::move(name), std::pair(std::move(*converted), &object));
    }
}

PolicyTable::Settled PolicyTable::settle() {
    if (!dirty_peers_.empty()) {
        if (dirty_peers_.contains(settings_.root_namespace)) {
            peers_[settings_.root_namespace];
            for (const auto& [ns, of] : peers_) dirty_peers_.insert(ns);
        }
        for (const std::string& ns : std::exchange(dirty_peers_, {})) settle_namespace(ns);
        std::erase_if(peers_, [](const auto& of) { return of.second.objects.empty(); });
        const auto root = peers_.find(settings_.root_namespace);
        mesh_modes_ = PeerModes{root == peers_.end() ? nullptr : root->second.modes.mesh, nullptr, {}};
        static_strict_ = static_strict_policy(settings_);
        next_.changed.insert(static_strict_.namespace_() + '/' + static_strict_.name());
    }
    for (const auto& [ns, of] : peers_)
        for (const auto& [name, converted] : of.converted)
            if (policies_.contains(name))
                next_.clashes.emplace(converted.second->meta.key(), converted.second->meta.where + ": PeerAuthentication " +
                                                                        converted.second->meta.key() + ": its ports need the policy name " +
                                                                        name + ", which an AuthorizationPolicy has taken; rename that one");
    return std::exchange(next_, {});
}

const istio::security::Authorization* PolicyTable::find(const std::string& name) const {
    if (!peers_.empty() && name == static_strict_.namespace_() + '/' + static_strict_.name()) return &static_strict_;
    if (const auto policy = policies_.find(name); policy != policies_.end()) return &policy->second.sent;
    const auto of = peers_.find(namespace_of(name));
    if (of == peers_.end()) return nullptr;
    const auto converted = of->second.converted.find(name);
    return converted == of->second.converted.end() ? nullptr : &converted->second.first;
}

const PeerModes& PolicyTable::modes_of(std::string_view ns) const {
    const auto found = peers_.find(ns);
    return found == peers_.end() ? mesh_modes_ : found->second.modes;
}

std::vector<std::string> PolicyTable::names(const std::string& ns, const LabelMap& labels) const {
    std::vector<std::string> out;
    const auto add = [&](const std::string& name) { out.push_back(name); };
    selecting_.each(ns, labels, add);
    if (ns != settings_.root_namespace) selecting_.each(settings_.root_namespace, labels, add);
    std::sort(out.begin(), out.end());
    if (std::string name = peer_policy_key(modes_of(ns), labels, settings_); !name.empty()) out.push_back(std::move(name));
    return out;
}

}  // namespace warren::cluster
