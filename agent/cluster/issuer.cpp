// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/issuer.h"

#include "agent/cluster/certificate.h"
#include "agent/cluster/state_file.h"
#include "base/bytes.h"
#include "base/small_file.h"

#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <openssl/err.h>

namespace warren::cluster {

namespace {

constexpr size_t kMaxFile = 1024UL * 1024;
constexpr std::string_view kCert = "ca-cert.pem", kKey = "ca-key.pem", kChain = "cert-chain.pem", kRoots = "root-cert.pem";
constexpr std::string_view kRootKey = "root-key.pem";

base::Result<std::vector<X509Ptr>> certificates_of(const std::string& pem, std::string_view file, bool may_be_empty) {
    auto list = read_certificates(pem);
    if (!list) return std::move(list).error().with(file);
    if (list->empty() && !may_be_empty) return base::invalid(std::string(file) + " holds no certificate in PEM");
    return list;
}

// The verified way from the issuer up to a root; OpenSSL found it, so it is complete.
base::Result<std::vector<X509*>> way_up(X509* from, const std::vector<X509Ptr>& between, const std::vector<X509Ptr>& roots,
                                        base::WallTime now, const X509StorePtr& store, const X509StoreCtxPtr& context) {
    const BorrowedChainPtr untrusted(sk_X509_new_null());
    if (!store || !context || !untrusted) return openssl_error("chain");
    for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
    for (const X509Ptr& one : between) sk_X509_push(untrusted.get(), one.get());
    if (X509_STORE_CTX_init(context.get(), store.get(), from, untrusted.get()) != 1) return openssl_error("chain");
    X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(now));
    ERR_clear_error();
    const bool good = X509_verify_cert(context.get()) == 1;
    X509_STORE_CTX_set0_untrusted(context.get(), nullptr);
    ERR_clear_error();
    if (!good)
        return base::invalid(std::string(kCert) + " does not lead to a root of " + std::string(kRoots) + ": " +
                             X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
    std::vector<X509*> way;
    STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
    way.reserve(static_cast<size_t>(std::max(sk_X509_num(chain), 0)));
    for (int i = 0; i < sk_X509_num(chain); ++i) way.push_back(sk_X509_value(chain, i));
    return way;
}

base::Result<void> write_pem(const std::string& path, std::string pem) {
    if (pem.empty()) return openssl_error("PEM");
    auto written = base::replace_small_file(path, pem);
    base::wipe(pem);
    return written;
}

}  // namespace

base::Result<std::shared_ptr<const Issuer>> load_issuer(IssuerFiles& files, base::WallTime now) {
    auto made = std::make_shared<Issuer>();
    auto own = TRY(certificates_of(files.certificate, kCert, false));
    const auto between = TRY(certificates_of(files.chain, kChain, true));
    const auto roots = TRY(certificates_of(files.roots, kRoots, false));
    auto key = read_private_key(files.key);
    base::wipe(files.key);
    if (!key) return std::move(key).error().with(kKey);
    made->certificate = std::move(own.front());
    made->key = std::move(*key);
    X509* certificate = made->certificate.get();
    if (X509_check_private_key(certificate, made->key.get()) != 1) {
        ERR_clear_error();
        return base::invalid(std::string(kKey) + " is not the key of " + std::string(kCert));
    }
    if (auto good = check_key(made->key.get()); !good) return std::move(good).error().with(kKey);
    if (X509_check_ca(certificate) != 1 || (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0)
        return base::invalid(std::string(kCert) + " is not the certificate of an authority (CA:TRUE, keyCertSign)");
    const X509StorePtr store(X509_STORE_new());
    const X509StoreCtxPtr context(X509_STORE_CTX_new());
    const auto way = TRY(way_up(certificate, between, roots, now, store, context));
    made->not_after = base::WallTime::max();
    for (size_t i = 0; i < way.size(); ++i) {
        const auto ends = TRY(time_of(X509_get0_notAfter(way[i])));
        made->not_after = std::min(made->not_after, ends);
        if (i + 1 == way.size()) made->root_not_after = ends;
        if (!self_signed(way[i])) made->chain.push_back(to_pem(way[i]));
    }
    return std::shared_ptr<const Issuer>(std::move(made));
}

base::Result<IssuerFiles> read_issuer_files(const std::string& folder) {
    const auto read = [&](std::string_view name) { return base::read_small_file(folder + "/" + std::string(name), kMaxFile); };
    IssuerFiles files;
    files.certificate = TRY(read(kCert));
    files.roots = TRY(read(kRoots));
    auto chain = read(kChain);
    if (!chain && chain.error().code != base::Errc::NotFound) return std::move(chain).error();
    if (chain) files.chain = std::move(*chain);
    files.key = TRY(read(kKey));
    return files;
}

base::Result<void> create_issuer(const NewIssuer& wanted) {
    const KeyKind kind = !wanted.rsa ? KeyKind::EcP256 : wanted.rsa_bits > 2048 ? KeyKind::Rsa4096 : KeyKind::Rsa2048;
    const KeyPtr root_key = TRY(make_key(kind)), key = TRY(make_key(kind));
    const std::string generation = std::to_string(wanted.generation);
    const auto spec = [&](const char* what) {
        return AuthoritySpec{wanted.trust_domain, std::string(what) + " " + generation, wanted.not_before, wanted.not_after};
    };
    const X509Ptr root = TRY(make_root(spec("Warren root"), root_key.get()));
    const X509Ptr intermediate = TRY(make_intermediate(spec("Warren issuer"), key.get(), root.get(), root_key.get()));
    const std::string beside = wanted.folder + ".new";
    std::error_code ignored;
    std::filesystem::remove_all(beside, ignored);  // of a creation that a crash cut short
    TRY(make_private_folder(beside));
    const auto at = [&](std::string_view name) { return beside + "/" + std::string(name); };
    TRY(write_pem(at(kRootKey), to_pem(root_key.get())));
    TRY(write_pem(at(kKey), to_pem(key.get())));
    TRY(write_pem(at(kCert), to_pem(intermediate.get())));
    TRY(write_pem(at(kChain), to_pem(intermediate.get())));
    TRY(write_pem(at(kRoots), to_pem(root.get())));
    if (::rename(beside.c_str(), wanted.folder.c_str()) != 0) return base::os_error("rename", wanted.folder);
    return base::sync_folder(std::filesystem::path(wanted.folder).parent_path().string());
}

bool share_a_root(const std::string& a_pem, const std::string& b_pem) {
    const auto a = read_certificates(a_pem), b = read_certificates(b_pem);
    if (!a || !b) return false;
    return std::any_of(a->begin(), a->end(), [&](const X509Ptr& x) {
        return std::any_of(b->begin(), b->end(), [&](const X509Ptr& y) { return X509_cmp(x.get(), y.get()) == 0; });
    });
}

bool leads_to(const Issuer& issuer, const std::string& roots_pem, base::WallTime now) {
    std::string chain;
    for (const std::string& one : issuer.chain) chain += one;
    const auto between = read_certificates(chain), roots = read_certificates(roots_pem);
    if (!between || !roots) return false;
    const X509StorePtr store(X509_STORE_new());
    const X509StoreCtxPtr context(X509_STORE_CTX_new());
    return way_up(issuer.certificate.get(), *between, *roots, now, store, context).has_value();
}

}  // namespace warren::cluster
