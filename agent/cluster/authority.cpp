// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/authority.h"

#include "agent/cluster/authority_load.h"
#include "agent/cluster/certificate.h"
#include "agent/cluster/state_file.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <mutex>
#include <utility>

#include <openssl/err.h>

namespace warren::cluster {

namespace {

using base::WallTime;
using base::log::Level;
using Phase = RotationState::Phase;

const base::log::Area kLog("ca");

constexpr size_t kMaxUri = 2048;

base::Result<void> check_subject(const Subject& subject) {
    const auto plain = [](const std::string& text) {
        return !text.empty() && text.size() <= kMaxUri && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
    };
    if (subject.purpose == Purpose::Server ? subject.dns.empty() || !subject.uri.empty() : !plain(subject.uri) || !subject.dns.empty())
        return base::invalid("identity " + base::quoted(subject.uri) + " cannot stand in a certificate");
    for (const std::string& name : subject.dns)
        if (!plain(name)) return base::invalid("DNS name " + base::quoted(name) + " cannot stand in a certificate");
    return {};
}

base::Result<void> check_options(const AuthorityOptions& options) {
    if (options.state.empty()) return base::invalid("the authority's state folder is not set");
    if (options.trust_domain.empty() || options.trust_domain.find('/') != std::string::npos)
        return base::invalid("trust domain " + base::quoted(options.trust_domain) + " is empty or holds '/'");
    if (options.default_lifetime.count() <= 0 || options.max_lifetime < options.default_lifetime)
        return base::invalid("certificate lifetimes: the default must be positive and at most the longest");
    if (options.backdate.count() < 0 || options.overlap.count() < 0 || options.list_lifetime.count() <= 0 ||
        options.root_lifetime < options.max_lifetime)
        return base::invalid("authority lifetimes: a root must outlive the longest certificate, and nothing is negative");
    return {};
}

base::Error denied(std::string why) { return {base::Errc::Denied, 0, "", std::move(why)}; }

}  // namespace

base::Result<void> publish(const Trust& trust, const std::string& folder) {
    TRY(base::replace_small_file(folder + "/root-cert.pem", trust.roots_pem, 0644));
    return base::replace_small_file(folder + "/ca-crl.pem", trust.revocations_pem, 0644);
}

struct Authority::Impl {
    AuthorityOptions options;
    const base::Clock& clock;
    std::mutex refresh_mutex;  // one refresh or rotation step at a time
    AuthorityMarks marks;      // under refresh_mutex
    mutable std::mutex mutex;  // the pointer below
    std::shared_ptr<const AuthoritySnapshot> current;

    Impl(AuthorityOptions o, const base::Clock& c) : options(std::move(o)), clock(c) {}

    std::shared_ptr<const AuthoritySnapshot> snapshot() const {
        const std::lock_guard lock(mutex);
        return current;
    }

    // Under refresh_mutex.
    base::Result<bool> load() {
        const WallTime now = clock.wall();
        const auto before = snapshot();
        const AuthorityMarks seen = marks_of(options);
        const bool lists_due = before && before->lists_due != WallTime{} && now >= before->lists_due;
        if (before && seen == marks && !lists_due) return false;
        auto made = TRY(load_authority(options, before.get(), now));
        marks = seen;  // of what was read; what could not be is tried again at the next look
        const std::lock_guard lock(mutex);
        current = std::move(made);
        return true;
    }

    // Those of the first that are not among the second.
    void remove_folders(const std::vector<int>& of, const std::vector<int>& without) const {
        for (const int number : of)
            if (std::find(without.begin(), without.end(), number) == without.end()) {
                std::error_code ignored;
                std::filesystem::remove_all(generation_folder(options.state, number), ignored);
            }
    }

    // Under refresh_mutex; takes the folder's lock.
    base::Result<void> change(const std::function<base::Result<Generations>(Generations)>& step) {
        const base::Fd lock = TRY(lock_state(options.state));
        const Generations before = TRY(read_generations(options.state, clock.wall()));
        const Generations after = TRY(step(before));
        if (after == before) return {};
        if (auto written = write_generations(options.state, after); !written) {
            // The file may be the new one all the same, when only the folder could not be synced; then the new generation is in use.
            const auto now_is = read_generations(options.state, clock.wall());
            if (now_is && !(*now_is == after)) remove_folders(after.numbers, before.numbers);
            return written;
        }
        remove_folders(before.numbers, after.numbers);
        WARREN_LOG(kLog, Level::Info, "authority's generations changed", {"signing", after.signing}, {"roots", after.numbers.size()});
        return {};
    }

    base::Result<Generations> begun(Generations g) {
        if (g.phase != Phase::Steady) return base::Error{base::Errc::Exists, 0, "", "a root rotation is already on"};
        g.numbers.push_back(TRY(create_generation(options, g, clock.wall())));
        g.phase = Phase::Overlap;
        g.since = clock.wall();
        return g;
    }

    base::Result<void> steps_due() {
        const auto now_is = snapshot();
        const WallTime now = clock.wall();
        if (!options.plugged_in.empty() || !now_is) return {};
        const RotationState& r = now_is->rotation;
        const bool aging = r.phase == Phase::Steady && now >= r.root_expires - options.root_lifetime / 5;
        const bool due = r.phase != Phase::Steady && now >= r.next_step;
        if (!aging && !due) return {};
        return change([&](Generations g) -> base::Result<Generations> {
            // Another process may have made the step.
            if (g.phase != r.phase) return g;
            if (aging) return begun(std::move(g));
            return now >= next_step(g, options) ? advanced(std::move(g), now) : std::move(g);
        });
    }
};

Authority::Authority(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Authority::~Authority() = default;

base::Result<std::unique_ptr<Authority>> Authority::open(AuthorityOptions options, const base::Clock& clock) {
    TRY(check_options(options));
    TRY(make_private_folder(options.state));
    auto impl = std::make_unique<Impl>(std::move(options), clock);
    if (impl->options.plugged_in.empty()) {
        Impl& i = *impl;
        TRY(impl->change([&i](Generations g) -> base::Result<Generations> {
            remove_leftovers(i.options.state, g);
            if (!g.numbers.empty()) return g;
            g.signing = TRY(create_generation(i.options, g, i.clock.wall()));
            g.numbers = {g.signing};
            g.since = i.clock.wall();
            return g;
        }));
    }
    TRY(impl->load());
    return std::unique_ptr<Authority>(new Authority(std::move(impl)));
}

base::Result<IssuedCertificate> Authority::sign(std::string_view csr_pem, const Subject& subject, std::chrono::seconds lifetime) const {
    const auto snapshot = impl_->snapshot();
    const AuthorityOptions& options = impl_->options;
    const auto most = std::chrono::duration_cast<std::chrono::seconds>(options.max_lifetime);
    if (lifetime > most)
        return base::invalid("validity_duration of " + std::to_string(lifetime.count()) + " s; at most " + std::to_string(most.count()) +
                             " s");
    if (lifetime.count() <= 0) lifetime = options.default_lifetime;
    TRY(check_subject(subject));
    const KeyPtr key = TRY(key_of_request(csr_pem));
    const Issuer& issuer = *snapshot->issuers[snapshot->signing];
    const WallTime now = impl_->clock.wall(), not_after = std::min<WallTime>(now + lifetime, issuer.not_after);
    if (not_after <= now) return base::Error{base::Errc::Internal, 0, "", "the certificate of the authority itself has expired"};
    IssuedCertificate made;
    made.not_before = now - options.backdate;
    made.not_after = not_after;
    const X509Ptr leaf = TRY(make_leaf({&subject, made.not_before, made.not_after}, key.get(), issuer.certificate.get(), issuer.key.get()));
    made.serial = serial_hex(X509_get0_serialNumber(leaf.get()));
    made.chain.push_back(to_pem(leaf.get()));
    made.chain.insert(made.chain.end(), issuer.chain.begin(), issuer.chain.end());
    made.chain.push_back(snapshot->trust->roots_pem);
    return made;
}

base::Result<Authority::Identity> Authority::make_server(const std::vector<std::string>& dns, std::chrono::seconds lifetime) const {
    const auto snapshot = impl_->snapshot();
    const Subject subject{Purpose::Server, {}, dns};
    TRY(check_subject(subject));
    const Issuer& issuer = *snapshot->issuers[snapshot->signing];
    const WallTime now = impl_->clock.wall();
    Identity made{{}, {}, now - impl_->options.backdate, std::min<WallTime>(now + lifetime, issuer.not_after)};
    if (made.not_after <= now) return base::Error{base::Errc::Internal, 0, "", "the certificate of the authority itself has expired"};
    const KeyPtr key = TRY(make_key(KeyKind::EcP256));
    const X509Ptr leaf = TRY(make_leaf({&subject, made.not_before, made.not_after}, key.get(), issuer.certificate.get(), issuer.key.get()));
    made.chain_pem = to_pem(leaf.get());
    for (const std::string& one : issuer.chain) made.chain_pem += one;
    made.key_pem = to_pem(key.get());
    if (made.key_pem.empty()) return openssl_error("key");
    return made;
}

base::Result<PeerCertificate> Authority::verify(std::string_view certificate_pem) const {
    const auto snapshot = impl_->snapshot();
    auto read = read_certificates(certificate_pem);
    if (!read || read->empty()) return base::invalid("the client certificate does not parse");
    X509* leaf = read->front().get();
    const bool ours = std::any_of(snapshot->recognised.begin(), snapshot->recognised.end(), [&](const X509Ptr& issuer) {
        return X509_check_issued(issuer.get(), leaf) == X509_V_OK && X509_verify(leaf, X509_get0_pubkey(issuer.get())) == 1;
    });
    ERR_clear_error();
    if (!ours) return denied("the client certificate was not issued by this authority");
    const WallTime now = impl_->clock.wall();
    PeerCertificate peer;
    peer.not_after = TRY(time_of(X509_get0_notAfter(leaf)));
    if (peer.not_after <= now || TRY(time_of(X509_get0_notBefore(leaf))) > now) return denied("the client certificate is not valid now");
    peer.serial = serial_hex(X509_get0_serialNumber(leaf));
    if (snapshot->revoked.serials.contains(peer.serial)) return denied("the client certificate " + peer.serial + " is revoked");
    const auto uris = uri_names(leaf);
    if (uris.size() != 1) return denied("the client certificate has not exactly one identity");
    peer.uri = uris.front();
    return peer;
}

bool Authority::node_revoked(std::string_view node) const { return impl_->snapshot()->revoked.nodes.contains(node); }
std::shared_ptr<const Trust> Authority::trust() const { return impl_->snapshot()->trust; }
RotationState Authority::rotation() const { return impl_->snapshot()->rotation; }
const AuthorityOptions& Authority::options() const { return impl_->options; }

base::Result<bool> Authority::refresh() {
    const std::lock_guard lock(impl_->refresh_mutex);
    // A step that fails, on a full disk say, must not keep a revocation from being heard of.
    const auto stepped = impl_->steps_due();
    auto loaded = impl_->load();
    if (loaded && !*loaded && !stepped) return stepped.error();
    return loaded;
}

base::Result<void> Authority::begin_rotation() {
    const std::lock_guard lock(impl_->refresh_mutex);
    if (!impl_->options.plugged_in.empty()) return base::invalid("the root is plugged in: add the new one to root-cert.pem");
    TRY(impl_->change([this](Generations g) { return impl_->begun(std::move(g)); }));
    TRY(impl_->load());
    return {};
}

base::Result<void> Authority::hasten_rotation() {
    const std::lock_guard lock(impl_->refresh_mutex);
    if (!impl_->options.plugged_in.empty()) return base::invalid("the root is plugged in: its files decide");
    TRY(impl_->change([this](Generations g) -> base::Result<Generations> {
        if (g.phase == Phase::Steady) return base::Error{base::Errc::NotFound, 0, "", "no root rotation is on"};
        return advanced(std::move(g), impl_->clock.wall());
    }));
    TRY(impl_->load());
    return {};
}

}  // namespace warren::cluster
