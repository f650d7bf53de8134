// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/authority_load.h"

#include "agent/cluster/certificate.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::cluster {

namespace {

using base::WallTime;
using base::log::Level;

const base::log::Area kLog("ca");

constexpr size_t kMaxFile = 8UL * 1024 * 1024;
constexpr size_t kMaxPast = 16;  // plugged-in issuers of the past

base::Result<std::string> read_or_nothing(const std::string& path, bool* there = nullptr) {
    auto text = base::read_small_file(path, kMaxFile);
    if (there != nullptr) *there = text.has_value();
    if (text || text.error().code != base::Errc::NotFound) return text;
    return std::string();
}

base::Result<X509Ptr> copy_of(X509* certificate) {
    if (X509_up_ref(certificate) != 1) return openssl_error("certificate");
    return X509Ptr(certificate);
}

base::Result<void> load_generations(AuthoritySnapshot& into, std::string& roots, const AuthorityOptions& options, WallTime now) {
    const Generations generations = TRY(read_generations(options.state, now));
    if (generations.numbers.empty()) return base::Error{base::Errc::NotFound, 0, "", options.state + ": there is no root any more"};
    for (const int number : generations.numbers) {
        const std::string folder = generation_folder(options.state, number);
        auto files = read_issuer_files(folder);
        if (!files) return std::move(files).error();
        auto issuer = load_issuer(*files, now);
        if (!issuer) return std::move(issuer).error().with(folder);
        if (number == generations.signing) into.signing = into.issuers.size();
        into.issuers.push_back(std::move(*issuer));
        roots += files->roots;
    }
    into.rotation.phase = generations.phase;
    into.rotation.next_step = next_step(generations, options);
    return {};
}

// Those that signed before are kept beside the state, so that what they signed is still recognised after a restart.
base::Result<void> remember_issuers(AuthoritySnapshot& into, const AuthorityOptions& options, WallTime now) {
    const std::string path = options.state + "/issuers.pem";
    const std::string text = TRY(read_or_nothing(path));
    auto past = read_certificates(text);
    if (!past) return std::move(past).error().with(path);
    std::string kept;
    for (X509Ptr& one : *past) {
        const auto ends = time_of(X509_get0_notAfter(one.get()));
        const bool known = std::any_of(into.recognised.begin(), into.recognised.end(),
                                       [&](const X509Ptr& x) { return X509_cmp(x.get(), one.get()) == 0; });
        if (known || !ends || *ends <= now || into.recognised.size() >= kMaxPast) continue;
        into.recognised.push_back(std::move(one));
    }
    for (const X509Ptr& one : into.recognised) kept += to_pem(one.get());
    if (kept == text) return {};
    return base::replace_small_file(path, kept);
}

base::Result<void> load_plugged_in(AuthoritySnapshot& into, std::string& roots, const AuthorityOptions& options,
                                   const AuthoritySnapshot* before, WallTime now) {
    auto files = read_issuer_files(options.plugged_in);
    if (!files) return std::move(files).error();
    roots = files->roots;
    auto issuer = load_issuer(*files, now);
    if (!issuer) return std::move(issuer).error().with(options.plugged_in);
    if (before != nullptr && !leads_to(**issuer, before->trust->roots_pem, now))
        return base::Error{base::Errc::Denied, 0, "",
                           options.plugged_in +
                               ": the new ca-cert.pem leads to a root that nobody trusts yet; put the old and the new root "
                               "into root-cert.pem first, and change the issuer when every certificate was renewed"};
    if (before != nullptr && !share_a_root(roots, before->trust->roots_pem))
        return base::Error{base::Errc::Denied, 0, "", options.plugged_in + ": the new root-cert.pem has no root of the old one"};
    into.issuers.push_back(std::move(*issuer));
    return {};
}

base::Result<std::string> own_lists(const AuthoritySnapshot& of, const AuthorityOptions& options, WallTime now) {
    std::string pem;
    const auto number = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
    for (const auto& issuer : of.issuers) {
        const ListSpec spec{&of.revoked.serials, now - options.backdate, now + options.list_lifetime, number};
        pem += to_pem(TRY(make_list(spec, issuer->certificate.get(), issuer->key.get())).get());
    }
    return pem;
}

// The operator's own list beside plugged-in files, handed on as it is.
base::Result<std::string> plugged_in_list(const AuthorityOptions& options) {
    if (options.plugged_in.empty()) return std::string();
    const std::string path = options.plugged_in + "/ca-crl.pem";
    std::string text = TRY(read_or_nothing(path));
    if (text.empty()) return text;
    const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    const X509CrlPtr list(bio ? PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr) : nullptr);
    ERR_clear_error();
    if (!list) return base::invalid(path + " holds no revocation list in PEM");
    if (!text.ends_with('\n')) text += '\n';
    return text;
}

// An operator's mistake in the list must not bring the revoked back: the last good list stays, and there is no start without one.
base::Result<Revocations> load_revoked(const AuthorityOptions& options, const AuthoritySnapshot* before, bool& there) {
    const std::string path = options.state + "/revoked";
    auto text = read_or_nothing(path, &there);
    if (!text) return std::move(text).error();  // which says nothing of the list: it is read again
    auto parsed = parse_revocations(*text);
    if (parsed) return parsed;
    if (before == nullptr) return std::move(parsed).error().with(path);
    WARREN_LOG(kLog, Level::Error, "list of the revoked is not taken; the one before stays", {"file", path},
               {"error", parsed.error().message()});
    there = true;
    return before->revoked;
}

}  // namespace

AuthorityMarks marks_of(const AuthorityOptions& options) {
    AuthorityMarks marks{mark_of(options.state + "/revoked")};
    if (options.plugged_in.empty()) {
        marks.push_back(mark_of(options.state + "/state.json"));
        return marks;
    }
    for (const char* name : {"/ca-cert.pem", "/ca-key.pem", "/cert-chain.pem", "/root-cert.pem", "/ca-crl.pem"})
        marks.push_back(mark_of(options.plugged_in + name));
    return marks;
}

base::Result<std::shared_ptr<const AuthoritySnapshot>> load_authority(const AuthorityOptions& options, const AuthoritySnapshot* before,
                                                                      WallTime now) {
    auto made = std::make_shared<AuthoritySnapshot>();
    auto trust = std::make_shared<Trust>();
    trust->version = before != nullptr ? before->trust->version + 1 : 1;
    if (options.plugged_in.empty())
        TRY(load_generations(*made, trust->roots_pem, options, now));
    else
        TRY(load_plugged_in(*made, trust->roots_pem, options, before, now));
    for (const auto& issuer : made->issuers) made->recognised.push_back(TRY(copy_of(issuer->certificate.get())));
    if (!options.plugged_in.empty()) TRY(remember_issuers(*made, options, now));
    bool listed = false;
    made->revoked = TRY(load_revoked(options, before, listed));
    trust->revocations_pem = TRY(plugged_in_list(options));
    if (listed) {
        trust->revocations_pem += TRY(own_lists(*made, options, now));
        made->lists_due = now + options.list_lifetime / 2;
    }
    const Issuer& signing = *made->issuers[made->signing];
    made->rotation.root_expires = signing.root_not_after;
    made->rotation.issuer_expires = signing.not_after;
    made->trust = std::move(trust);
    return std::shared_ptr<const AuthoritySnapshot>(std::move(made));
}

}  // namespace warren::cluster
