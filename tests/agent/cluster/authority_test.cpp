// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/authority.h"

#include "agent/cluster/node_name.h"
#include "agent/cluster/revocations.h"
#include "tests/agent/cluster/ca_fixture.h"
#include "tests/agent/cluster/trouble.h"
#include "ztunnel/credential.h"
#include "ztunnel/crl.h"

#include <sys/stat.h>

#include <filesystem>
#include <set>

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using cluster::KeyKind;
using Phase = cluster::RotationState::Phase;

namespace {

std::string read(const std::string& path) {
    auto text = base::read_small_file(path, 1 << 20);
    REQUIRE(text);
    return std::move(*text);
}

bool changed(base::Result<bool> refreshed) {
    if (!refreshed) FAIL(refreshed.error().message());
    return *refreshed;
}

size_t count(const std::string& text, const std::string& what) {
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
}
size_t certificates(const std::string& pem) { return count(pem, "-----BEGIN CERTIFICATE-----"); }

void openssl(const std::string& arguments) {
    const auto [good, out] = run_command("openssl " + arguments);
    INFO(out);
    REQUIRE(good);
}

// A root, and an issuer under it, by the openssl command, in the files istio names.
void plug_in(const TempDir& dir, const std::string& name, const std::string& newkey, const std::string& roots_of = "") {
    const std::string base = dir.file(name), at = base + "/";
    std::filesystem::create_directories(base);
    openssl("req -x509 -newkey " + newkey + " -nodes -days 400 -subj /O=corp/CN=" + name + " -keyout " + at + "root.key -out " + at +
            "root.pem -addext keyUsage=critical,keyCertSign,cRLSign");
    dir.write("ca.ext",
              "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
              "authorityKeyIdentifier=keyid\n");
    openssl("req -newkey " + newkey + " -nodes -subj /O=corp/CN=issuer-" + name + " -keyout " + at + "ca-key.pem -out " + at + "ca.csr");
    openssl("x509 -req -in " + at + "ca.csr -CA " + at + "root.pem -CAkey " + at + "root.key -CAcreateserial -days 300 -extfile " +
            dir.file("ca.ext") + " -out " + at + "ca-cert.pem");
    dir.write(name + "/cert-chain.pem", read(at + "ca-cert.pem") + read(at + "root.pem"));
    dir.write(name + "/root-cert.pem", read(at + "root.pem") + (roots_of.empty() ? "" : read(dir.file(roots_of) + "/root.pem")));
}

}  // namespace

TEST_CASE("authority: a certificate leads to the root, for openssl too, with the fields of the contract") {
    CaWorld w;
    w.options.key = GENERATE(KeyKind::EcP256, KeyKind::Rsa2048);
    const auto authority = w.open();
    const auto made = w.sign(*authority);
    REQUIRE(made.chain.size() == 3);
    CHECK(certificates(made.chain.front()) == 1);
    CHECK(certificates(made.chain.back()) == 1);
    const auto [good, out] = w.verified(made, authority->trust()->roots_pem, "-purpose sslserver");
    INFO(out);
    CHECK(good);
    const std::string text = run_command("openssl x509 -noout -text -in " + w.dir.file("leaf.pem")).second;
    CHECK(text.find("X509v3 Subject Alternative Name: critical\n                URI:spiffe://cluster.local/ns/prod/sa/web\n") !=
          std::string::npos);
    CHECK(text.find("Subject: \n") != std::string::npos);
    CHECK(text.find("TLS Web Server Authentication, TLS Web Client Authentication") != std::string::npos);
    CHECK(text.find("Digital Signature, Key Encipherment") != std::string::npos);
    CHECK(text.find("CA:FALSE") != std::string::npos);
    CHECK(made.not_before == w.clock.wall() - 2min);
    CHECK(made.not_after == w.clock.wall() + 24h);
    CHECK(made.serial.size() == 32);
}

TEST_CASE("authority: lifetimes: the default, what was asked for, more than the most is an error, never past the issuer") {
    CaWorld w;
    w.options.root_lifetime = 24h * 100;
    const auto authority = w.open();
    CHECK(w.sign(*authority, -5s).not_after == w.clock.wall() + 24h);
    CHECK(w.sign(*authority, 90s).not_after == w.clock.wall() + 90s);
    CHECK(w.sign(*authority, 24h * 90).not_after == w.clock.wall() + 24h * 90);
    const auto more = authority->sign(fresh_request().csr_pem, kWebSubject, 24h * 90 + 1s);
    REQUIRE_FALSE(more);
    CHECK(more.error().code == base::Errc::Invalid);
    w.clock.advance(24h * 50);
    CHECK(w.sign(*authority, 24h * 90).not_after == w.clock.wall() + 24h * 50);
    w.clock.advance(24h * 51);
    CHECK(authority->sign(fresh_request().csr_pem, kWebSubject, 0s).error().code == base::Errc::Internal);
}

TEST_CASE("authority: of a request only the key counts, and what is wrong with it is said") {
    CaWorld w;
    const auto authority = w.open();
    const std::string key = w.dir.file("k.pem"), csr = w.dir.file("r.csr");
    const auto request = [&](const std::string& newkey, const std::string& more = "") {
        openssl("req -new -newkey " + newkey + " -nodes -keyout " + key + " -out " + csr + " " + more);
        return read(csr);
    };
    const auto error = [&](const std::string& pem) {
        const auto made = authority->sign(pem, kWebSubject, 0s);
        if (made) return std::string("no error");
        CHECK(made.error().code == base::Errc::Invalid);
        return made.error().message();
    };
    // It asks to be somebody else, an authority even.
    const std::string greedy = request("ec -pkeyopt ec_paramgen_curve:P-384",
                                       "-subj /CN=admin -addext basicConstraints=critical,CA:TRUE -addext "
                                       "subjectAltName=URI:spiffe://cluster.local/ns/kube-system/sa/admin,DNS:istiod");
    const auto made = authority->sign(greedy, kWebSubject, 0s);
    REQUIRE(made);
    w.dir.write("leaf.pem", made->chain.front());
    const std::string text = run_command("openssl x509 -noout -text -in " + w.dir.file("leaf.pem")).second;
    CHECK(text.find("admin") == std::string::npos);
    CHECK(text.find("istiod") == std::string::npos);
    CHECK(text.find("CA:TRUE") == std::string::npos);
    CHECK(error(request("rsa:2048", "-subj /")) == "no error");
    CHECK(error(request("rsa:1024", "-subj /")).find("1024 bits") != std::string::npos);
    CHECK(error(request("ec -pkeyopt ec_paramgen_curve:secp256k1", "-subj /")).find("P-256") != std::string::npos);
    openssl("genpkey -algorithm ed25519 -out " + key);
    openssl("req -new -key " + key + " -subj / -out " + csr);
    CHECK(error(read(csr)).find("neither EC") != std::string::npos);
    CHECK(error("").find("empty") != std::string::npos);
    CHECK(error("hello").find("one PEM block") != std::string::npos);
    CHECK(error(greedy + greedy).find("one PEM block") != std::string::npos);
    CHECK(error(std::string(20'000, 'x')).find("20000 bytes") != std::string::npos);
    std::string damaged = greedy;
    damaged[damaged.size() - 60] = damaged[damaged.size() - 60] == 'A' ? 'B' : 'A';
    CHECK(error(damaged).starts_with("csr"));
}

TEST_CASE("authority: serials and keys do not repeat, and an identity that cannot stand in a certificate is refused") {
    CaWorld w;
    const auto authority = w.open();
    std::set<std::string> serials;
    for (int i = 0; i < 50; ++i) serials.insert(w.sign(*authority).serial);
    CHECK(serials.size() == 50);
    for (const char* uri : {"", "spiffe://a b", "spiffe://a\n", "sp\xc3\xa4"})
        CHECK_FALSE(authority->sign(fresh_request().csr_pem, {cluster::Purpose::Workload, uri, {}}, 0s));
}

TEST_CASE("authority: the root outlives the process, its files are nobody else's") {
    CaWorld w;
    const std::string roots = w.open()->trust()->roots_pem;
    const auto made = w.sign(*w.open());
    CHECK(w.open()->trust()->roots_pem == roots);
    CHECK(w.verified(made, roots).first);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(w.options.state)) {
        struct stat info{};
        REQUIRE(::stat(entry.path().c_str(), &info) == 0);
        INFO(entry.path());
        CHECK((info.st_mode & 077) == 0);
    }
    // The root's key may be taken away.
    std::filesystem::remove(w.options.state + "/generation-1/root-key.pem");
    CHECK(w.verified(w.sign(*w.open()), roots).first);
    REQUIRE(::chmod(w.options.state.c_str(), 0777) == 0);
    const auto open_to_all = cluster::Authority::open(w.options, w.clock);
    REQUIRE_FALSE(open_to_all);
    CHECK(open_to_all.error().message().find("written by others") != std::string::npos);
}

TEST_CASE("authority: trap 38: a lost or half-written state never makes a second root in silence") {
    CaWorld w;
    const std::string roots = w.open()->trust()->roots_pem;
    std::filesystem::remove(w.options.state + "/state.json");
    CHECK(w.open()->trust()->roots_pem == roots);
    w.dir.write("state/state.json", "{\"phase\": \"ste");
    const auto damaged = cluster::Authority::open(w.options, w.clock);
    REQUIRE_FALSE(damaged);
    CHECK(damaged.error().message().find("state.json") != std::string::npos);
}

TEST_CASE("authority: a root is rotated with an overlap in which old and new certificates verify everywhere") {
    CaWorld w;
    const auto authority = w.open();
    const std::string old_root = authority->trust()->roots_pem;
    const auto before = w.sign(*authority);
    REQUIRE(authority->begin_rotation());
    CHECK(authority->begin_rotation().error().code == base::Errc::Exists);
    CHECK(authority->rotation().phase == Phase::Overlap);
    const std::string both = authority->trust()->roots_pem;
    CHECK(certificates(both) == 2);
    // The old root signs still: a peer that has not heard of the new one believes what is made now.
    const auto during = w.sign(*authority);
    CHECK(certificates(during.chain.back()) == 2);
    CHECK(w.verified(during, old_root).first);
    w.clock.advance(47h);
    CHECK_FALSE(changed(authority->refresh()));
    w.clock.advance(1h);
    CHECK(changed(authority->refresh()));
    CHECK(authority->rotation().phase == Phase::Retiring);
    const auto after = w.sign(*authority, 24h * 90);
    CHECK_FALSE(w.verified(after, old_root).first);
    const auto live = w.sign(*authority);
    const auto still = w.sign(*w.open());  // a restart in between changes nothing
    w.clock.advance(-25h);                 // the certificate of before is renewed a day after it was made
    CHECK(w.verified(before, both).first);
    w.clock.advance(25h);
    for (const auto* one : {&live, &after, &still}) {
        const auto [good, out] = w.verified(*one, both);
        INFO(out);
        CHECK(good);
    }
    w.clock.advance(24h * 90);
    CHECK(changed(authority->refresh()));
    CHECK(authority->rotation().phase == Phase::Steady);
    CHECK(certificates(authority->trust()->roots_pem) == 1);
    CHECK(authority->trust()->roots_pem != old_root);
    CHECK_FALSE(std::filesystem::exists(w.options.state + "/generation-1"));
    CHECK(w.verified(w.sign(*authority), authority->trust()->roots_pem).first);
}

TEST_CASE("authority: a rotation by another process is followed, each step may be hastened, and an old root begins one itself") {
    CaWorld w;
    const auto daemon = w.open();
    const auto command = w.open();
    REQUIRE(command->begin_rotation());
    CHECK(changed(daemon->refresh()));
    CHECK(daemon->rotation().phase == Phase::Overlap);
    REQUIRE(command->hasten_rotation());
    CHECK(changed(daemon->refresh()));
    CHECK(daemon->rotation().phase == Phase::Retiring);
    REQUIRE(command->hasten_rotation());
    CHECK(changed(daemon->refresh()));
    CHECK(daemon->rotation().phase == Phase::Steady);
    CHECK(command->hasten_rotation().error().code == base::Errc::NotFound);
    w.clock.advance(w.options.root_lifetime * 81 / 100);
    CHECK(changed(daemon->refresh()));
    CHECK(daemon->rotation().phase == Phase::Overlap);
}

TEST_CASE("authority: plugged-in files sign, are reloaded, and an issuer that nobody trusts yet is refused") {
    CaWorld w;
    const char* kind = GENERATE("ec -pkeyopt ec_paramgen_curve:prime256v1", "rsa:2048");
    plug_in(w.dir, "one", kind);
    w.clock.advance(1min);  // the command's clock goes on
    w.options.plugged_in = w.dir.file("plugged");
    std::filesystem::copy(w.dir.file("one"), w.options.plugged_in);
    const auto authority = w.open();
    const auto made = w.sign(*authority);
    REQUIRE(made.chain.size() == 3);
    const std::string first_root = read(w.dir.file("one/root.pem"));
    CHECK(w.verified(made, first_root).first);
    CHECK_FALSE(changed(authority->refresh()));
    CHECK_FALSE(authority->begin_rotation());

    plug_in(w.dir, "two", kind, "one");
    w.clock.advance(1min);
    const auto copy = [&](std::initializer_list<const char*> names) {
        for (const char* name : names) w.dir.write(std::string("plugged/") + name, read(w.dir.file("two/") + name));
    };
    copy({"ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"});
    const auto hasty = authority->refresh();
    REQUIRE_FALSE(hasty);
    CHECK(hasty.error().message().find("root-cert.pem") != std::string::npos);
    CHECK(w.verified(w.sign(*authority), first_root).first);
    // As it should be: the roots first, then the issuer.
    for (const char* name : {"ca-cert.pem", "ca-key.pem", "cert-chain.pem"})
        w.dir.write(std::string("plugged/") + name, read(w.dir.file("one/") + name));
    CHECK(changed(authority->refresh()));
    CHECK(certificates(authority->trust()->roots_pem) == 2);
    const auto node = w.sign(*authority, 0s, {cluster::Purpose::Node, cluster::node_uri("cluster.local", "n1"), {}});
    copy({"ca-cert.pem", "ca-key.pem", "cert-chain.pem"});
    CHECK(changed(authority->refresh()));
    CHECK_FALSE(w.verified(w.sign(*authority), first_root).first);
    CHECK(w.verified(w.sign(*authority), read(w.dir.file("two/root.pem"))).first);
    // What the issuer of before signed is recognised, after a restart as well.
    CHECK(authority->verify(node.chain.front()));
    CHECK(w.open()->verify(node.chain.front()));
    // A key of somebody else: all stays.
    w.dir.write("plugged/ca-key.pem", read(w.dir.file("one/ca-key.pem")));
    const auto wrong = authority->refresh();
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().message().find("ca-key.pem") != std::string::npos);
    CHECK(w.verified(w.sign(*authority), read(w.dir.file("two/root.pem"))).first);
}

TEST_CASE("authority: istio's self-signed root plugged in signs by itself, without intermediates") {
    CaWorld w;
    plug_in(w.dir, "one", "rsa:2048");
    w.clock.advance(1min);
    w.options.plugged_in = w.dir.file("one");
    w.dir.write("one/ca-cert.pem", read(w.dir.file("one/root.pem")));
    w.dir.write("one/ca-key.pem", read(w.dir.file("one/root.key")));
    std::filesystem::remove(w.dir.file("one/cert-chain.pem"));
    const auto made = w.sign(*w.open());
    CHECK(made.chain.size() == 2);
    CHECK(w.verified(made, read(w.dir.file("one/root.pem"))).first);
}

TEST_CASE("authority: revoked serials become signed lists that openssl and the tunnel read") {
    CaWorld w;
    const auto authority = w.open();
    const auto bad = w.sign(*authority), good = w.sign(*authority);
    CHECK(authority->trust()->revocations_pem.empty());
    w.dir.write("state/revoked", "# stolen\nserial " + bad.serial + " laptop\nserial 00:0a\nnode rack-9\n");
    CHECK(changed(authority->refresh()));
    const std::string lists = authority->trust()->revocations_pem;
    const auto check = [&](const cluster::IssuedCertificate& one) {
        w.clock.advance(3min);  // lists are back-dated like everything; certificates are not older than them
        const auto result = w.verified(one, authority->trust()->roots_pem, "-crl_check -CRLfile " + w.dir.write("crl.pem", lists));
        w.clock.advance(-3min);
        return result;
    };
    const auto refused = check(bad);
    CHECK_FALSE(refused.first);
    CHECK(refused.second.find("revoked") != std::string::npos);
    const auto passed = check(good);
    INFO(passed.second);
    CHECK(passed.first);
    const auto tunnel = ztunnel::RevocationList::parse(lists);
    REQUIRE(tunnel);
    CHECK((*tunnel)->lists() == 1);
    CHECK_FALSE(authority->verify(bad.chain.front()));
    CHECK(authority->verify(good.chain.front()));
    CHECK(authority->node_revoked("rack-9"));
    CHECK_FALSE(authority->node_revoked("rack-8"));
    // A mistake brings nobody back; time renews the list.
    w.dir.write("state/revoked", "serial xyz\n");
    CHECK(changed(authority->refresh()));
    CHECK_FALSE(authority->verify(bad.chain.front()));
    CHECK_FALSE(cluster::Authority::open(w.options, w.clock));
    w.clock.advance(24h * 4);
    CHECK(changed(authority->refresh()));
    CHECK(authority->trust()->revocations_pem != lists);
    REQUIRE(cluster::publish(*authority->trust(), w.dir.path()));
    CHECK(read(w.dir.file("ca-crl.pem")) == authority->trust()->revocations_pem);
    CHECK(read(w.dir.file("root-cert.pem")) == authority->trust()->roots_pem);
}

TEST_CASE("authority: a rotation step that fails does not keep a revocation from being heard of") {
    CaWorld w;
    const auto authority = w.open();
    w.clock.advance(w.options.root_lifetime * 81 / 100);
    // Nobody can take the lock, so the new root that is due cannot be made.
    REQUIRE(std::filesystem::remove(w.dir.file("state/lock")));
    REQUIRE(std::filesystem::create_directory(w.dir.file("state/lock")));
    CHECK_FALSE(authority->refresh());
    w.dir.write("state/revoked", "node rack-9\n");
    CHECK(changed(authority->refresh()));
    CHECK(authority->node_revoked("rack-9"));
    CHECK_FALSE(authority->refresh());
    REQUIRE(std::filesystem::remove(w.dir.file("state/lock")));
    CHECK(changed(authority->refresh()));
    CHECK(authority->rotation().phase == Phase::Overlap);
}

TEST_CASE("authority: files that could not be read for a moment are read again") {
    CaWorld w;
    const auto authority = w.open();
    w.dir.write("state/revoked", "node rack-9\n");
    {
        const NoDescriptors none;
        CHECK_FALSE(authority->refresh());
        CHECK_FALSE(authority->refresh());
    }
    CHECK(changed(authority->refresh()));
    CHECK(authority->node_revoked("rack-9"));
    CHECK_FALSE(changed(authority->refresh()));
}

TEST_CASE("authority: a generation that cannot be written down leaves no keys behind; what a crash left goes at the start") {
    CaWorld w;
    std::filesystem::create_directory(w.options.state);
    // Nine names are there after the start; six more are a generation, and the state's file would be one too many.
    SmallDisk disk(w.options.state, 15);
    const auto authority = w.open();
    const auto entries = [&] {
        std::set<std::string> names;
        for (const auto& one : std::filesystem::directory_iterator(w.options.state)) names.insert(one.path().filename().string());
        return names;
    };
    const auto before = entries();
    const std::string state = w.dir.file("state/state.json"), kept = read(state);
    if (disk.mounted()) {
        CHECK_FALSE(authority->begin_rotation());
        CHECK_FALSE(authority->begin_rotation());
        CHECK(entries() == before);
        CHECK(read(state) == kept);
        disk.grow();
    }
    CHECK(authority->begin_rotation());
    CHECK(entries().contains("generation-2"));
    // After a crash.
    std::filesystem::create_directory(w.dir.file("state/generation-9"));
    std::filesystem::create_directory(w.dir.file("state/generation-3.new"));
    for (const char* name : {"state.json.aB3xYz", "issuers.pem.0a0B0c", "mine.aB3xYz", "state.json.backup", "state.json.202611"})
        w.dir.write("state/" + std::string(name), "x");
    const auto again = w.open();
    const auto after = entries();
    for (const char* gone : {"generation-9", "generation-3.new", "state.json.aB3xYz", "issuers.pem.0a0B0c"})
        CHECK_FALSE(after.contains(gone));
    for (const char* stays : {"generation-1", "generation-2", "mine.aB3xYz", "state.json.backup", "state.json.202611", "state.json"})
        CHECK(after.contains(stays));
    CHECK(again->rotation().phase == Phase::Overlap);
}

TEST_CASE("authority: only its own valid certificates are recognised") {
    CaWorld w, other;
    other.options.trust_domain = w.options.trust_domain;
    const auto authority = w.open(), foreign = other.open();
    const auto made = w.sign(*authority, 1h);
    const auto peer = authority->verify(made.chain.front());
    REQUIRE(peer);
    CHECK(peer->uri == kWebSubject.uri);
    CHECK(peer->serial == made.serial);
    // The other authority has the same names in its certificates.
    CHECK(authority->verify(other.sign(*foreign).chain.front()).error().code == base::Errc::Denied);
    CHECK_FALSE(authority->verify("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    CHECK_FALSE(authority->verify(""));
    w.clock.advance(61min);
    CHECK_FALSE(authority->verify(made.chain.front()));
}

TEST_CASE("authority: settings that cannot work are refused by name") {
    CaWorld w;
    const auto error = [&](auto change) {
        auto options = w.options;
        change(options);
        const auto made = cluster::Authority::open(options, w.clock);
        return made ? std::string("no error") : made.error().message();
    };
    CHECK(error([](auto& o) { o.state = ""; }).find("state folder") != std::string::npos);
    CHECK(error([](auto& o) { o.trust_domain = "a/b"; }).find("trust domain") != std::string::npos);
    CHECK(error([](auto& o) { o.default_lifetime = 0s; }).find("lifetimes") != std::string::npos);
    CHECK(error([](auto& o) { o.root_lifetime = 1h; }).find("lifetimes") != std::string::npos);
    CHECK(error([&](auto& o) { o.plugged_in = w.dir.file("none"); }).find("none/ca-cert.pem") != std::string::npos);
}

TEST_CASE("revocations: words, colons, comments; the line at fault is named") {
    const auto good = cluster::parse_revocations("serial 0:ab # c\n\n#x\r\nnode a.b  \nserial 0F\n");
    REQUIRE(good);
    CHECK(good->serials == std::set<std::string>{"AB", "0F"});
    CHECK(good->nodes.contains("a.b"));
    for (const char* bad : {"serial", "serial 0", "serial g", "node A", "user x", "serial 11111111111111111111111111111111111111111"}) {
        const auto parsed = cluster::parse_revocations("# one\n" + std::string(bad));
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().message().starts_with("line 2"));
    }
}
